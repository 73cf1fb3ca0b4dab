//! The sni filter: routes TLS connections by server name, and compares the names at all layers. The
//! same filter is a network filter and an HTTP filter.

pub mod worker;
pub mod connection;
pub mod request;
mod plugin;
