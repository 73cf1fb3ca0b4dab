//! `sni.wasm`: routes TLS connections by server name, and compares the names at all layers. The
//! same module is a network filter and an HTTP filter.

pub mod worker;
pub mod connection;
pub mod request;
mod plugin;
