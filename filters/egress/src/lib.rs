//! `egress.wasm`: lets only registered services be called, as a network filter and as an HTTP filter.

#[cfg(target_family = "wasm")]
mod plugin;
pub mod stream;
