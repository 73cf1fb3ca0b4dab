//! `TLSRoute`: where connections go whose TLS Envoy does not terminate, by their server name.

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
    /// The names of the clusters that it sends connections to
    pub split: Split<Box<str>>,
}

/// One entry of `match[]`. The lists of server names and subnets are enough with one that fits, and
/// no subnets stand for all.
#[derive(Debug)]
struct TlsMatch {
    /// Its place in the document, for logs
    name: Box<str>,
    sni_hosts: Vec<Box<str>>,
    subnets: AddressSet,
    /// 0 is any
    port: Option<u16>,
}

impl TlsRoute {
    /// Reads the route at `path`. `hosts` are those of its virtual service, in lower case, unless
    /// they have an error. `None` for a route that is not for this proxy.
    ///
    /// Istio refuses the same: a route without match or destination, a match without `sniHosts`, and
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
        "Conditions; the route is taken when one of them is fulfilled.";
    "route" required: Kind::RequiredList(&Kind::Object(TlsDestination::schema)) =>
        "Where connections are sent, by weight.";
});

fields!(TlsMatch, "Conditions on a TLS connection that must all be fulfilled.", {
    "sniHosts" required: Kind::RequiredList(&Kind::Text) =>
        "Server names, *.SUFFIX or *; one of them must match.";
    "destinationSubnets": Kind::TEXTS =>
        "Ranges of addresses; the address that the client called must be in one of them.";
    "port": Kind::Integer(0, 65535) => "The port that the client called; any if absent or 0.";
    "sourceLabels": Kind::TEXT_MAP => "Labels of the proxy's workload.";
    "sourceNamespace": Kind::Text => "The namespace of the proxy's workload.";
    "gateways": Kind::TEXTS => "Gateways, in place of those of the virtual service.";
});

/// `RouteDestination` of a TLS route.
struct TlsDestination;

fields!(TlsDestination as "TlsRouteDestination", "A destination with its weight.", {
    "destination" required: Kind::Object(Destination::schema) => "Where connections are sent.";
    "weight": Kind::Integer(0, i32::MAX as i64) => "The share, out of the sum of all weights.";
});

/// Reads a match; `None` for one that is not for this proxy.
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

/// The routes of all virtual services, found by server name.
#[derive(Debug, Default)]
pub struct TlsRoutes {
    matches: Vec<(TlsMatch, Rc<Split<Box<str>>>)>,
    /// The matches with a pattern, by its key, in order
    by_pattern: NameTable<Vec<usize>>,
}

impl TlsRoutes {
    /// Enters the routes in their order.
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

    /// The matches that are never reached, each with an earlier one that is for all of its server names
    /// and has no other condition; both by their places in the document.
    ///
    /// Istio's Envoy takes the most specific name whatever the order, so that there they are reached.
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

    /// The first match for a connection, in the order of the document: its name for logs, and the
    /// clusters. Only the pattern `*` is for connections without a server name.
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
