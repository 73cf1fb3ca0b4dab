//! Egress: allows outbound traffic to the names and addresses of service entries, or to all
//! destinations (`outboundTrafficPolicy.mode: ALLOW_ANY`).
//!
//! HTTP requests are checked by host, TLS connections by server name, and other connections by
//! destination address. The client chooses the name, and this check does not prove that the
//! destination owns it: that depends on where Envoy sends the traffic. A service entry with
//! `addresses` and without a resolution requires both a matching name and a matching address.

pub mod registry;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::egress::registry::{Registry, Unknown};
use crate::spec::document::Document;
use crate::spec::egress::{EgressFields, EgressSettings, Port};
use crate::spec::explain::ExplainSettings;
use crate::spec::policy::Policy;
use crate::spec::service_entry::Protocol;
use crate::value::host_name::{self, without_port};

/// The egress filter's part of a document.
#[derive(Debug, Default)]
pub struct Egress {
    registry: Registry,
    allows_any: bool,
    /// The settings in `egress` of the document
    pub settings: EgressSettings,
    /// `explain` of the document
    pub explain: Option<Arc<ExplainSettings>>,
}

/// The decision about a request or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A service entry matches: the traffic is allowed.
    Known {
        /// The index of the service entry; `None` if only the address matches
        entry: Option<usize>,
    },
    /// No service entry matches, and the mode `ALLOW_ANY` allows the traffic.
    Passthrough,
    /// The traffic is rejected.
    Refused(Reason),
}

/// Why a request or a connection is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A service entry has the name, but not the destination address.
    AddressMismatch,
    /// There is no name, and no service entry has the address for plain TCP.
    NoName,
    /// There is no name or the host is an IP address, and no service entry has the address for this
    /// port.
    UnknownAddress,
    /// No service entry has the name.
    UnknownName,
    /// A service entry has the name, but not for this port and protocol.
    UnknownPort,
}

impl Reason {
    /// The name of the reason in snake case, as in the name of its counter.
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
    fn filters(_: &Json) -> Filters {
        Filter::Egress.into()
    }

    fn new(document: &Document) -> Self {
        let EgressFields { entries, allows_any, settings, .. } = &document.egress;
        Self {
            registry: Registry::new(entries),
            allows_any: *allows_any,
            settings: *settings,
            explain: document.explain.clone(),
        }
    }
}

impl Egress {
    /// Decides about a request by its `authority`. `is_connect` is true for the method CONNECT.
    /// `destination` is the address and port that the client connected to.
    ///
    /// CONNECT opens a tunnel to the port in the authority, so a port with any protocol matches.
    #[inline]
    pub fn request(
        &self,
        authority: &[u8],
        is_connect: bool,
        destination: Option<SocketAddr>,
    ) -> Decision {
        let host = without_port(authority);
        let stated_port = authority.get(host.len()..).and_then(|rest| rest.strip_prefix(b":"));
        let stated_port = stated_port.and_then(|port| std::str::from_utf8(port).ok()?.parse().ok());
        let port = match self.settings.port {
            _ if is_connect => stated_port,
            Port::Authority if host.len() == authority.len() => Some(80),
            Port::Authority => stated_port,
            Port::Destination => destination.map(|destination| destination.port()),
            Port::Fixed(port) => Some(port),
        };
        let address = destination.map(|destination| destination.ip());
        let any = [Protocol::Http, Protocol::Tls, Protocol::Tcp];
        let protocols = if is_connect { &any[..] } else { &[Protocol::Http] };
        self.decide(host_name::of_authority(host), protocols, port, address)
    }

    /// Decides about a connection by the server name of its ClientHello, empty if there is none.
    /// `destination` is the address and port that the client connected to.
    ///
    /// If a service entry has the address for plain TCP, any server name is allowed, as in Istio. A
    /// server name with a dot at the end is not a name, unlike a host (RFC 6066 section 3).
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

    /// Why traffic with this decision is stopped; `None` if it is allowed or only reported
    /// (`egress.mode`).
    pub fn refuses(&self, decision: Decision) -> Option<Reason> {
        match decision {
            Decision::Refused(reason) if !self.settings.only_reports => Some(reason),
            _ => None,
        }
    }

    /// Decides about a name or an address. One of `protocols` must match; there is at least one.
    fn decide(
        &self,
        name: &[u8],
        protocols: &[Protocol],
        port: Option<u16>,
        address: Option<IpAddr>,
    ) -> Decision {
        let mut reason = Reason::NoName;
        for protocol in protocols {
            match self.find(name, *protocol, port, address) {
                Ok(entry) => return Decision::Known { entry },
                // An address mismatch is more specific than the reasons for the other protocols.
                Err(found) if reason != Reason::AddressMismatch => reason = found,
                Err(_) => {}
            }
        }
        if self.allows_any { Decision::Passthrough } else { Decision::Refused(reason) }
    }

    /// The index of the matching service entry; `None` if only the address matches.
    fn find(
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
        // No service entry has port 0.
        match self.registry.find(name, protocol, port.unwrap_or(0), address) {
            Ok(entry) => Ok(Some(entry)),
            // A host that is an IP address is allowed only if the client connected to this address.
            Err(Unknown::Name) if let Some(host) = parse_ip_host(name) => {
                match has_address(Some(host)) {
                    true if address.map(|address| address.to_canonical()) == Some(host) => Ok(None),
                    true => Err(Reason::AddressMismatch),
                    false => Err(Reason::UnknownAddress),
                }
            }
            Err(unknown) => Err(unknown.into()),
        }
    }
}

/// The IP address of a host, with or without brackets; `None` for a name.
fn parse_ip_host(host: &[u8]) -> Option<IpAddr> {
    let text = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    std::str::from_utf8(text).ok()?.parse().ok().map(|address: IpAddr| address.to_canonical())
}
