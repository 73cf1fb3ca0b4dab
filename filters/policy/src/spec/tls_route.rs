//! `TLSRoute`: routes TLS connections that Envoy does not terminate, by their server name.

use std::rc::Rc;

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::lookup::name_table::NameTable;
use crate::request::connection::Connection;
use crate::spec::destination::{self, Destination, Naming};
use crate::spec::scope::{Scope, is_for_proxy};
use crate::spec::split::{Choice, Split, read_weight};
use crate::value::address::{AddressRange, AddressSet};
use crate::value::server_name::{self, ServerName};

/// A route, compiled.
#[derive(Debug)]
pub struct TlsRoute {
    matches: Vec<TlsMatch>,
    /// Names of the clusters that receive the connections
    pub split: Split<Box<str>>,
}

/// One entry of `match[]`. One of the server names and one of the subnets must match; without
/// subnets, all addresses match.
#[derive(Debug)]
struct TlsMatch {
    /// Place in the document, used in logs
    name: Box<str>,
    sni_hosts: Vec<Box<str>>,
    subnets: AddressSet,
    /// Destination port; `None` is any port
    port: Option<u16>,
}

impl TlsRoute {
    /// Reads the route at `path`. `hosts` contains the hosts of the virtual service in lower case;
    /// `None` if they have an error. Returns `None` for a route that does not apply to this proxy.
    ///
    /// As in Istio, rejects a route without match or destination, a match without `sniHosts`, and
    /// server names that are not within the hosts.
    pub fn read(
        node: &Node<'_>,
        path: &str,
        hosts: Option<&[String]>,
        naming: &Naming,
        scope: &Scope<'_>,
    ) -> Result<Option<Self>, Reported> {
        let object = node.object::<Self>()?;
        let matches = object.required_elements("match").and_then(|nodes| {
            all(nodes.iter().enumerate().map(|(index, node)| {
                read_match(node, format!("{path}.match[{index}]").into(), hosts, scope)
            }))
        });
        let split = object
            .required("route")
            .and_then(|list| read_split(&list, &object.required_elements("route")?, naming));
        let matches: Vec<_> = matches?.into_iter().flatten().collect();
        let split = split?;
        Ok((!matches.is_empty()).then_some(Self { matches, split }))
    }
}

fields!(TlsRoute, "A route of TLS connections.", {
    "match" required: Kind::RequiredList(&Kind::Object(TlsMatch::schema)) =>
        "Matches, of which a connection must satisfy one.";
    "route" required: Kind::RequiredList(&Kind::Object(TlsDestination::schema)) =>
        "Destinations of the connections, selected by weight.";
});

fields!(TlsMatch, "Conditions on a TLS connection; all of them must hold.", {
    "sniHosts" required: Kind::RequiredList(&Kind::Text) =>
        "Server names, *.SUFFIX, or * for any; one of them must match.";
    "destinationSubnets": Kind::TEXTS =>
        "Address ranges, of which one must contain the address that the client connected to; any \
         address if absent.";
    "port": Kind::Integer(0, 65535) =>
        "Port that the client connected to; any port if absent or 0.";
    "sourceLabels": Kind::TEXT_MAP => "Labels that the workload of this proxy must have.";
    "sourceNamespace": Kind::Text => "Namespace that the workload of this proxy must be in.";
    "gateways": Kind::TEXTS =>
        "Gateways of which this proxy must serve one; replaces those of the virtual service.";
});

/// `RouteDestination` of a TLS route.
struct TlsDestination;

fields!(TlsDestination as "TlsRouteDestination", "A destination with its weight.", {
    "destination" required: Kind::Object(Destination::schema) => "Destination of the connections.";
    "weight": Kind::Integer(0, i32::MAX as i64) =>
        "Share of the connections, relative to the sum of all weights; 0 if absent.";
});

/// Reads a match. Returns `None` for a match that does not apply to this proxy.
fn read_match(
    node: &Node<'_>,
    name: Box<str>,
    hosts: Option<&[String]>,
    scope: &Scope<'_>,
) -> Result<Option<TlsMatch>, Reported> {
    let object = node.object::<TlsMatch>()?;
    let sni_hosts = object.required_elements("sniHosts").and_then(|nodes| {
        all(nodes.iter().map(|node| {
            let text = node.string()?.to_ascii_lowercase();
            server_name::check_pattern(&text).map_err(|reason| node.invalid(reason))?;
            let is_within = |host: &String| server_name::is_within(&text, host);
            if hosts.is_some_and(|hosts| !hosts.iter().any(is_within)) {
                return Err(node.invalid("is not within the hosts of the virtual service"));
            }
            Ok(text.into())
        }))
    });
    let subnets = object.list("destinationSubnets", AddressRange::read);
    let port = object.port("port");
    let is_for_this_proxy = is_for_proxy(&object, scope);
    let (sni_hosts, subnets) = (sni_hosts?, AddressSet::new(subnets?));
    let read = TlsMatch { name, sni_hosts, subnets, port: port? };
    Ok(is_for_this_proxy?.then_some(read))
}

fn read_split(
    list: &Node<'_>,
    routes: &[Node<'_>],
    naming: &Naming,
) -> Result<Split<Box<str>>, Reported> {
    let read = |node: &Node<'_>| {
        let object = node.object::<TlsDestination>()?;
        let destination = object.required("destination");
        let destination = destination.and_then(|node| destination::read(&node, naming));
        let weight = object.optional("weight", read_weight);
        let destination = destination?;
        let sampling_name = destination.sampling_name().into();
        let weight = weight?.unwrap_or_default();
        Ok(Choice { weight, sampling_name, target: destination.cluster.into() })
    };
    Split::try_new(all(routes.iter().map(read))?).map_err(|reason| list.error(reason))
}

impl TlsMatch {
    fn holds(&self, connection: &dyn Connection) -> bool {
        let is_inside = |address| self.subnets.contains(address);
        (self.subnets.is_empty() || connection.destination_ip().is_some_and(is_inside))
            && self.port.is_none_or(|port| connection.destination_port() == Some(port))
    }
}

/// TLS routes of all virtual services, indexed by server name.
#[derive(Debug, Default)]
pub struct TlsRoutes {
    matches: Vec<(TlsMatch, Rc<Split<Box<str>>>)>,
    /// Indices of the matches with a server name pattern, by the key of the pattern, in order
    by_pattern: NameTable<Vec<usize>>,
}

impl TlsRoutes {
    /// Creates the index; `routes` is in the order of the document.
    pub fn new(routes: Vec<TlsRoute>) -> Self {
        let mut entered = Self::default();
        for TlsRoute { matches, split } in routes {
            let split = Rc::new(split);
            for one in matches {
                let index = entered.matches.len();
                for pattern in &one.sni_hosts {
                    let key = server_name::key(pattern);
                    entered.by_pattern.entry(key.as_bytes(), Vec::new).push(index);
                }
                entered.matches.push((one, Rc::clone(&split)));
            }
        }
        entered
    }

    /// Returns the places of the matches that are never reached. Earlier matches without other
    /// conditions include all of their server names; the second place is that of one of these
    /// earlier matches.
    ///
    /// Istio's Envoy selects the most specific name independent of the order, so it reaches them.
    pub fn unreachable(&self) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for (index, (one, _)) in self.matches.iter().enumerate() {
            let earlier = |pattern: &str| {
                let indices = server_name::keys(server_name::key(pattern));
                let mut indices =
                    indices.flat_map(|key| self.by_pattern.get(key.as_bytes())).flatten();
                indices.find_map(|earlier| {
                    let (earlier, _) = self.matches.get(*earlier).filter(|_| *earlier < index)?;
                    (earlier.subnets.is_empty() && earlier.port.is_none()).then_some(&*earlier.name)
                })
            };
            let by: Option<Vec<&str>> =
                one.sni_hosts.iter().map(|pattern| earlier(pattern)).collect();
            found.extend(by.and_then(|by| Some((&*one.name, *by.first()?))));
        }
        found
    }

    /// Returns the first match for a connection in the order of the document: its name in logs, and
    /// its clusters. Only the pattern `*` matches connections without a server name.
    #[inline]
    pub fn find(
        &self,
        name: Option<&ServerName>,
        connection: &dyn Connection,
    ) -> Option<(&str, &Split<Box<str>>)> {
        let mut first: Option<usize> = None;
        for key in server_name::keys(name.map_or("", ServerName::as_str)) {
            let indices = self.by_pattern.get(key.as_bytes()).map_or(&[][..], Vec::as_slice);
            let earlier = indices.iter().take_while(|index| first.is_none_or(|it| **index < it));
            let holds = |index: &&usize| {
                self.matches.get(**index).is_some_and(|(one, _)| one.holds(connection))
            };
            first = earlier.copied().find(|index| holds(&index)).or(first);
        }
        let (found, split) = self.matches.get(first?)?;
        Some((&found.name, split))
    }
}

#[cfg(test)]
mod tests;
