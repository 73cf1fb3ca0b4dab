//! The host in a proxy-wasm module.

mod abi;
mod calls;
mod clock;
mod contexts;
mod envoy;
mod http;
mod kind;
mod logger;
mod memory;
mod timer;

/// The SDK, for [`module!`](crate::module).
#[doc(hidden)]
pub use proxy_wasm as sdk;

pub use contexts::start;
pub use envoy::Envoy;
