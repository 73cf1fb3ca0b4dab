//! Everything that Sluice asks of Envoy, behind traits that a fake can stand in for.

pub mod attributes;
#[cfg(target_family = "wasm")]
pub mod calls;
pub mod delay;
#[cfg(target_family = "wasm")]
pub mod envoy;
pub mod fake;
pub mod foreign;
pub mod host;
pub mod http;
pub mod log_rate;
pub mod network;
pub mod random;
pub mod shared_data;
