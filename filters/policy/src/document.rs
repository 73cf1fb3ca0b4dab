//! Bytes in, every error out. Knows nothing of Istio.

pub mod field_name;
pub mod fields;
pub mod filter;
pub mod json;
pub mod node;
pub mod parse;
pub mod protobuf_struct;
pub mod report;
pub mod shorten;
