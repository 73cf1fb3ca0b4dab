//! The egress filter, for networks and for HTTP: allows calls of registered services only.

pub mod worker;
pub mod stream;
mod plugin;
