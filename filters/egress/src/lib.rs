//! `egress.wasm`: allows calls of registered services only, as a network filter and as an HTTP
//! filter.

pub mod worker;
pub mod stream;
mod plugin;
