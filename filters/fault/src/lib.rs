//! `fault.wasm`: delays and aborts requests as an Istio VirtualService says.

#[cfg(target_family = "wasm")]
mod plugin;
pub mod stream;
