//! The listeners of a rendered Envoy: one for each port in the conditions of rules, and one for
//! clients of all other ports.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;

use super::conditions::Conditions;
use super::left_out::LeftOut;
use super::part::Part;

/// Ports below this number need privileges.
const UNPRIVILEGED: u16 = 1024;

/// What is added to a port that needs privileges.
const OFFSET: u16 = 10_000;

/// The addresses on which the proxy listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Envoy's administration
    pub admin: SocketAddr,
    /// HTTP requests
    pub http: SocketAddr,
    /// TLS connections
    pub tls: SocketAddr,
    /// Ports of listeners for rules with a port
    pub mapped: Vec<PortMapping>,
}

/// A port in rules and the port of its listener: `80=10080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    called: u16,
    listener: u16,
}

impl FromStr for PortMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
        let ports =
            text.split_once('=').and_then(|(called, own)| Some((port(called)?, port(own)?)));
        let (called, listener) = ports.ok_or("must be PORT=PORT, such as 80=10080")?;
        Ok(Self { called, listener })
    }
}

/// The kind of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP requests
    Http,
    /// TLS connections, which Envoy does not terminate
    Tls,
    /// Other connections
    Tcp,
}

impl Kind {
    /// The field of a VirtualService with its routes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it accepts
    pub kind: Kind,
    /// The port in rules that it is for; `None` for all ports that no rule has
    pub port: Option<u16>,
    /// The port that clients call, as the filters see it
    pub called: u16,
    /// Its address
    pub address: SocketAddr,
}

impl Listener {
    /// Its name in Envoy.
    pub fn name(&self) -> String {
        let name = self.kind.name();
        self.port.map_or(name.to_owned(), |port| format!("{name}-{port}"))
    }

    /// The port in rules that it is for, if it is not its own.
    pub fn mapped_port(&self) -> Option<u16> {
        self.port.filter(|port| *port != self.address.port())
    }

    /// Returns whether it has requests or connections for a route.
    pub fn has(&self, route: &Part<'_>) -> bool {
        let matches = route.elements("match");
        matches.is_empty()
            || matches.iter().any(|own| own.port("port").is_none_or(|port| port == self.called))
    }
}

/// The listeners for the rules of a document. `fixed` is its `proxy.port`.
///
/// # Errors
/// Two listeners with the same address, or a mapping that no rule needs.
pub fn plan(
    conditions: &Conditions<'_>,
    kinds: &[Kind],
    fixed: Option<u16>,
    addresses: &Addresses,
    left_out: &mut LeftOut,
) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut mapped = addresses.mapped.clone();
    for kind in kinds {
        let routes = conditions.routes(kind.name());
        let mut ports: BTreeSet<_> =
            routes.iter().flat_map(matches).filter_map(|own| own.port("port")).collect();
        let has_other_ports = |route: &Part<'_>| {
            let matches = matches(route);
            matches.is_empty() || matches.iter().any(|own| own.port("port").is_none())
        };
        if let Some(fixed) = fixed.filter(|_| *kind != Kind::Tcp) {
            for own in routes.iter().flat_map(matches) {
                if own.port("port").is_some_and(|port| port != fixed) {
                    let reason = format!("is for clients of another port; proxy.port is {fixed}");
                    left_out.add(&format!("{}.port", own.path), reason);
                }
            }
            ports.clear();
        }
        // Routes of the Gateway API are for all ports.
        let has_gateway_rules = *kind == Kind::Http && !conditions.gateway_rules().is_empty();
        let needs_other =
            ports.is_empty() || has_gateway_rules || routes.iter().any(has_other_ports);
        let (other, ip) = match kind {
            Kind::Http => (Some(addresses.http), addresses.http.ip()),
            Kind::Tls => (Some(addresses.tls), addresses.tls.ip()),
            Kind::Tcp => (None, addresses.http.ip()),
        };
        if let Some(address) = other.filter(|_| needs_other) {
            let called = fixed.unwrap_or(address.port());
            listeners.push(Listener { kind: *kind, port: None, called, address });
        }
        for port in ports {
            mapped.retain(|own| own.called != port);
            let own = addresses.mapped.iter().find(|own| own.called == port);
            let default = match other {
                // The listener for other ports may have this port itself.
                Some(address) if address.port() == port => port,
                _ if port < UNPRIVILEGED => port + OFFSET,
                _ => port,
            };
            let address = SocketAddr::new(ip, own.map_or(default, |own| own.listener));
            // The listener for other ports has this one.
            let is_same = |own: &Listener| own.kind == *kind && own.address == address;
            if !(address.port() == port && listeners.iter().any(is_same)) {
                listeners.push(Listener { kind: *kind, port: Some(port), called: port, address });
            }
        }
    }
    check(&listeners, addresses.admin)?;
    match mapped.first() {
        Some(own) => Err(format!("--port-map {}: no rule has this port", own.called)),
        None => Ok(listeners),
    }
}

fn matches<'a>(route: &Part<'a>) -> Vec<Part<'a>> {
    route.elements("match")
}

/// Checks that all listeners have an address of their own.
fn check(listeners: &[Listener], admin: SocketAddr) -> Result<(), String> {
    let mut used = vec![(admin, "--admin".to_owned())];
    for listener in listeners {
        let own = match (listener.kind, listener.port) {
            (Kind::Http, None) => "--listen".to_owned(),
            (Kind::Tls, None) => "--listen-tls".to_owned(),
            (kind, Some(port)) => format!("port {port} of {} rules", kind.name()),
            (Kind::Tcp, None) => continue,
        };
        if let Some((address, other)) = used.iter().find(|(used, _)| *used == listener.address) {
            return Err(format!(
                "{other} and {own} need the same address {address}; use --port-map, --listen, \
                 --listen-tls or --admin"
            ));
        }
        used.push((listener.address, own));
    }
    Ok(())
}
