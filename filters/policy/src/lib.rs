//! Istio traffic policy, compiled once and asked on every request.

pub mod duration;
pub mod header;
pub mod header_ops;
pub mod host_name;
pub mod json;
pub mod node;
pub mod pattern;
pub mod percent;
pub mod report;
pub mod string_match;
