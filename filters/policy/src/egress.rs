//! Egress: who may be called from here. Names and addresses that service entries make known, or
//! (`outboundTrafficPolicy.mode: ALLOW_ANY`) everything.
//!
//! An HTTP request is known by its host, a TLS connection by its server name, any other connection by
//! the address that it is for. A name is what a client says: whether the traffic goes to whom the name
//! belongs is a question of where Envoy sends it. An entry with `addresses` and without a resolution
//! asks for both, the name and the address.

pub mod registry;

use std::net::{IpAddr, SocketAddr};

use crate::document::filter::Filter;
use crate::egress::registry::{Registry, Unknown};
use crate::spec::document::Document;
use crate::spec::egress::{EgressFields, EgressSettings, Port};
use crate::spec::policy::Policy;
use crate::spec::service_entry::Protocol;
use crate::value::host_name::without_port;

/// The egress filter's part of a document.
#[derive(Debug, Default)]
pub struct Egress {
    registry: Registry,
    allows_any: bool,
    /// `egress`
    pub settings: EgressSettings,
}

/// Whether a request or connection passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is known and passes.
    Known {
        /// The index of the service entry; `None` if it is known by its address
        entry: Option<usize>,
    },
    /// It is not known, and passes as everything does (`ALLOW_ANY`).
    Passthrough,
    /// It is refused.
    Refused(Reason),
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The name is known, but is called at an address that is not one of its entry.
    AddressMismatch,
    /// It gives no name, and no plain TCP is known at its address.
    NoName,
    /// It goes by its address, which is not known for this port.
    UnknownAddress,
    /// No service entry has the name.
    UnknownName,
    /// The name is known, but not for this port and protocol.
    UnknownPort,
}

impl Reason {
    /// The reason in words, in snake case as in the name of its counter.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddressMismatch => "address_mismatch",
            Self::NoName => "no_name",
            Self::UnknownAddress => "unknown_address",
            Self::UnknownName => "unknown_name",
            Self::UnknownPort => "unknown_port",
        }
    }
}

impl From<Unknown> for Reason {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Address => Self::AddressMismatch,
            Unknown::Name => Self::UnknownName,
            Unknown::Port => Self::UnknownPort,
        }
    }
}

impl Policy for Egress {
    const FILTER: Filter = Filter::Egress;

    fn new(document: &Document) -> Self {
        let EgressFields { entries, allows_any, settings } = &document.egress;
        Self { registry: Registry::new(entries), allows_any: *allows_any, settings: *settings }
    }
}

impl Egress {
    /// Decides about a request by its `authority`. `is_connect` is for the method CONNECT, `destination`
    /// is where the client connected to.
    ///
    /// CONNECT asks for a tunnel to a port that it names, so whatever the protocol of that port is.
    #[inline]
    pub fn request(
        &self,
        authority: &[u8],
        is_connect: bool,
        destination: Option<SocketAddr>,
    ) -> Decision {
        let host = without_port(authority);
        let own_port = authority.get(host.len()..).and_then(|rest| rest.strip_prefix(b":"));
        let own_port = own_port.and_then(|port| std::str::from_utf8(port).ok()?.parse().ok());
        let port = match self.settings.port {
            _ if is_connect => own_port,
            Port::Authority if host.len() == authority.len() => Some(80),
            Port::Authority => own_port,
            Port::Destination => destination.map(|destination| destination.port()),
            Port::Fixed(port) => Some(port),
        };
        let address = destination.map(|destination| destination.ip());
        let any = [Protocol::Http, Protocol::Tls, Protocol::Tcp];
        let protocols = if is_connect { &any[..] } else { &[Protocol::Http] };
        self.decide(host, protocols, port, address)
    }

    /// Decides about a connection by the server name of its ClientHello, which is empty without one.
    /// `destination` is where the client connected to.
    ///
    /// An address that is known for plain TCP passes whatever is said there, as in Istio.
    pub fn connection(&self, server_name: &[u8], destination: Option<SocketAddr>) -> Decision {
        let port = match self.settings.port {
            Port::Fixed(port) => Some(port),
            Port::Authority | Port::Destination => {
                destination.map(|destination| destination.port())
            }
        };
        let address = destination.map(|destination| destination.ip());
        if let (Some(address), Some(port)) = (address, port)
            && self.registry.has_address(address, Protocol::Tcp, port)
        {
            return Decision::Known { entry: None };
        }
        self.decide(server_name, &[Protocol::Tls], port, address)
    }

    /// `protocols` are all that will do, of which there is at least one.
    fn decide(
        &self,
        name: &[u8],
        protocols: &[Protocol],
        port: Option<u16>,
        address: Option<IpAddr>,
    ) -> Decision {
        let mut reason = Reason::NoName;
        for protocol in protocols {
            match self.look_up(name, *protocol, port, address) {
                Ok(entry) => return Decision::Known { entry },
                // A mismatch says more than that the name is not known for another protocol.
                Err(found) if reason != Reason::AddressMismatch => reason = found,
                Err(_) => {}
            }
        }
        if self.allows_any { Decision::Passthrough } else { Decision::Refused(reason) }
    }

    fn look_up(
        &self,
        name: &[u8],
        protocol: Protocol,
        port: Option<u16>,
        address: Option<IpAddr>,
    ) -> Result<Option<usize>, Reason> {
        let has_address = |address: Option<IpAddr>| {
            let known = |address| Some(self.registry.has_address(address, protocol, port?));
            address.and_then(known).unwrap_or(false)
        };
        if name.is_empty() {
            return match has_address(address) {
                _ if !self.settings.goes_by_address => Err(Reason::NoName),
                true => Ok(None),
                false => Err(Reason::UnknownAddress),
            };
        }
        // No port has the number 0.
        match self.registry.find(name, protocol, port.unwrap_or(0), address) {
            Ok(entry) => Ok(Some(entry)),
            // A host that is an address stands for itself, where the client goes there too.
            Err(Unknown::Name) if let Some(host) = literal(name) => match has_address(Some(host)) {
                true if address.map(|address| address.to_canonical()) == Some(host) => Ok(None),
                true => Err(Reason::AddressMismatch),
                false => Err(Reason::UnknownAddress),
            },
            Err(unknown) => Err(unknown.into()),
        }
    }
}

/// The address that a host is, where it is one.
fn literal(host: &[u8]) -> Option<IpAddr> {
    let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    std::str::from_utf8(bare).ok()?.parse().ok().map(|address: IpAddr| address.to_canonical())
}
