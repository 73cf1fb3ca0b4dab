//! `TLSRoute`: where the connections go whose TLS Envoy does not end, by their server name.

use std::rc::Rc;

use crate::document::node::Node;
use crate::lookup::name_table::NameTable;
use crate::request::connection::Connection;
use crate::spec::destination::{self, Naming};
use crate::spec::http_match::{Scope, is_for_proxy};
use crate::spec::http_route::{read_weight, split_by_weight};
use crate::spec::split::{Choice, Split};
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
    /// Reads the route at `path` of a virtual service with these hosts, in lower case. `None` after an
    /// error, and for a route that is not for this proxy.
    ///
    /// As Istio refuses them: a route without match or destination, a match without `sniHosts`, and
    /// server names that are not within the hosts.
    pub fn read(
        node: &Node<'_>,
        path: &str,
        hosts: &[String],
        naming: &Naming,
        scope: &Scope<'_>,
    ) -> Option<Self> {
        let mut object = node.object()?;
        let mut matches = Vec::new();
        for (index, node) in object.required_list("match").iter().enumerate() {
            let name = format!("{path}.match[{index}]");
            matches.extend(read_match(node, name.into(), hosts, scope));
        }
        let split = match object.required_list("route").as_slice() {
            [] => None,
            routes => object.field("route").and_then(|node| read_split(&node, routes, naming)),
        };
        Some(Self { matches, split: split? }).filter(|route| !route.matches.is_empty())
    }
}

fn read_match(
    node: &Node<'_>,
    name: Box<str>,
    hosts: &[String],
    scope: &Scope<'_>,
) -> Option<TlsMatch> {
    let mut object = node.object()?;
    let mut sni_hosts = Vec::new();
    for node in object.required_list("sniHosts") {
        let Some(text) = node.string() else { continue };
        let text = text.to_ascii_lowercase();
        if let Err(reason) = server_name::check_pattern(&text) {
            node.invalid(reason);
        } else if !hosts.iter().any(|host| server_name::is_within(&text, host)) {
            node.invalid("is not within the hosts of the virtual service");
        } else {
            sni_hosts.push(text.into());
        }
    }
    let subnets = object.list("destinationSubnets");
    let subnets = AddressSet::new(subnets.iter().filter_map(AddressRange::read).collect());
    let port = object.port("port");
    is_for_proxy(&mut object, scope).then_some(TlsMatch { name, sni_hosts, subnets, port })
}

fn read_split(node: &Node<'_>, routes: &[Node<'_>], naming: &Naming) -> Option<Split<Box<str>>> {
    let read = |node: &Node<'_>| {
        let mut object = node.object()?;
        let destination = object.required("destination");
        let weight = object.field("weight").map_or(Some(0), |node| read_weight(&node));
        let destination = destination::read(&destination?, naming)?;
        let sampling_name = destination.sampling_name().into();
        Some(Choice { weight: weight?, sampling_name, target: destination.cluster.into() })
    };
    let choices: Vec<_> = routes.iter().map(read).collect();
    split_by_weight(node, choices.into_iter().collect::<Option<Vec<_>>>()?)
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
