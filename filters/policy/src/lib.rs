//! Istio traffic policy, compiled once and asked on every request.

pub mod bytes;
pub mod document;
pub mod value;
pub mod request;
pub mod lookup;
pub mod spec;
pub mod router;
pub mod fault;
pub mod mirror;
pub mod sni;
pub mod egress;
pub mod outlier;
pub mod desk;
#[cfg(test)]
mod testing;
