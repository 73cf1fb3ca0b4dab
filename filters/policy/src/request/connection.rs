//! A TCP connection as the policy sees it.

use std::net::IpAddr;

/// What a network filter can learn about a connection. Asked only when a rule needs it, since every
/// answer costs a call into Envoy.
pub trait Connection {
    /// The address that the client connected to.
    fn destination_ip(&self) -> Option<IpAddr>;

    /// The port that the client connected to.
    fn destination_port(&self) -> Option<u16>;

    /// The client's address without its port, as text.
    fn source_address(&self) -> Option<Vec<u8>>;
}
