//! The TCP connection that a policy decides about.

use std::net::IpAddr;

/// The attributes of a connection. Each one is read only when a rule needs it, because each read is
/// a call to Envoy.
pub trait Connection {
    /// The address that the client connected to.
    fn destination_ip(&self) -> Option<IpAddr>;

    /// The port that the client connected to.
    fn destination_port(&self) -> Option<u16>;

    /// The client's address without its port, as text.
    fn source_address(&self) -> Option<Vec<u8>>;
}
