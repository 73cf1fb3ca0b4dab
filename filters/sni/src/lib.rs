//! `sni.wasm`: routes TLS connections by server name, and holds the names at all layers against each
//! other. The same module is a network filter and an HTTP filter.

pub mod connection;
#[cfg(target_family = "wasm")]
mod plugin;
pub mod request;
pub mod shared;
