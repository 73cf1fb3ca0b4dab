//! `fault.wasm`: delays and aborts requests as an Istio VirtualService says.

mod limits;
#[cfg(target_family = "wasm")]
mod plugin;
pub mod stream;
