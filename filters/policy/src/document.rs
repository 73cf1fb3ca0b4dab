//! Bytes in, every error out. Knows nothing of Istio.

pub mod filter;
pub mod json;
pub mod node;
pub mod protobuf_struct;
pub mod report;
