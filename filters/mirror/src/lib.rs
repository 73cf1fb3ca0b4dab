//! `mirror.wasm`: decides which requests are copied and where to, as an Istio VirtualService says.

mod comparison;
#[cfg(target_family = "wasm")]
mod plugin;
pub mod stream;
