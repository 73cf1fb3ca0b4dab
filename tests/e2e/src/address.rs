//! Addresses in Envoy's format.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// Writes an `Address`.
pub fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

/// Reads an `Address`.
pub fn socket_address(address: &Value) -> Option<SocketAddr> {
    let address = &address["socket_address"];
    let ip = address["address"].as_str()?.parse().ok()?;
    Some(SocketAddr::new(ip, address["port_value"].as_u64()?.try_into().ok()?))
}
