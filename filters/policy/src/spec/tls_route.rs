//! `TLSRoute`: routes TLS connections that Envoy does not terminate, by their server name.
//!
//! The order of the matches is the one that Istio's Envoy has. Sources:
//! `buildSidecarOutboundTLSFilterChainOpts` of istiod makes a filter chain of each match, on the
//! listeners of its port. `FilterChainMatch` of Envoy chooses the chain by the most specific range
//! that contains the destination address, then by the most specific server name. It does not go
//! back to a wider range if no chain of the narrower one has the server name. Of two matches with
//! the same name and range, istiod keeps the first.

use std::cell::{Cell, LazyCell};
use std::sync::Arc;

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::lookup::address_ranges::AddressRanges;
use crate::lookup::name_table::NameTable;
use crate::request::connection::Connection;
use crate::sort::sort;
use crate::spec::destination::{self, ClusterName, Destination, Naming};
use crate::spec::scope::{Scope, is_for_proxy, read_port};
use crate::spec::split::{Choice, Split, read_weight};
use crate::value::address::AddressRange;
use crate::value::server_name::{self, HostPatterns, ServerName};

/// A route, compiled.
#[derive(Debug)]
pub struct TlsRoute {
    matches: Vec<TlsMatch>,
    /// Names of the clusters that receive the connections
    pub split: Split<ClusterName>,
}

/// One entry of `match[]`. One of the server names and one of the subnets must match; without
/// subnets, all addresses match.
#[derive(Debug)]
struct TlsMatch {
    /// Place in the document, used in logs
    name: Box<str>,
    sni_hosts: Vec<Box<str>>,
    subnets: Vec<AddressRange>,
    /// Destination port; `None` is any port
    port: Option<u16>,
}

impl TlsRoute {
    /// Reads the route at `path`. `hosts` contains the hosts of the virtual service; `None` if they
    /// have an error. Returns `None` for a route that does not apply to this proxy.
    ///
    /// As in Istio, rejects a route without match or destination, a match without `sniHosts`, and
    /// server names that are not within the hosts.
    pub fn read(
        node: &Node<'_>,
        path: &str,
        hosts: Option<&HostPatterns>,
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
    "sniHosts" required: Kind::RequiredList(&Kind::SERVER_NAME) =>
        "Server names, *.SUFFIX, or * for any; one of them must match.";
    "destinationSubnets": Kind::ADDRESSES =>
        "Address ranges, of which one must contain the address that the client connected to; any \
         address if absent.";
    "port": Kind::Integer(0, 65535) =>
        "Port that the client connected to; any port if absent or 0.";
    "sourceLabels": Kind::LABELS => "Labels that the workload of this proxy must have.";
    "sourceNamespace": Kind::OPTIONAL_LABEL => "Namespace that the workload of this proxy must be in.";
    "gateways": Kind::GATEWAYS =>
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
    hosts: Option<&HostPatterns>,
    scope: &Scope<'_>,
) -> Result<Option<TlsMatch>, Reported> {
    let object = node.object::<TlsMatch>()?;
    let sni_hosts = object.required_elements("sniHosts").and_then(|nodes| {
        all(nodes.iter().map(|node| {
            let text = node.string()?.to_ascii_lowercase();
            server_name::check_pattern(&text).map_err(|reason| node.invalid(reason))?;
            if hosts.is_some_and(|hosts| !hosts.include(&text)) {
                return Err(node.invalid("is not within the hosts of the virtual service"));
            }
            Ok(text.into())
        }))
    });
    let subnets = object.list("destinationSubnets", AddressRange::read);
    let port = read_port(&object, scope);
    let is_for_this_proxy = is_for_proxy(&object, scope);
    let (port, has_port) = port?;
    let read = TlsMatch { name, sni_hosts: sni_hosts?, subnets: subnets?, port };
    Ok((is_for_this_proxy? && has_port).then_some(read))
}

fn read_split(
    list: &Node<'_>,
    routes: &[Node<'_>],
    naming: &Naming,
) -> Result<Split<ClusterName>, Reported> {
    let read = |node: &Node<'_>| {
        let object = node.object::<TlsDestination>()?;
        let destination = object.required("destination");
        let destination = destination.and_then(|node| destination::read(&node, naming));
        let weight = object.optional("weight", read_weight);
        let destination = destination?;
        let sampling_name = destination.sampling_name().into();
        let weight = weight?.unwrap_or_default();
        Ok(Choice { weight, sampling_name, target: destination.cluster })
    };
    Split::try_new(all(routes.iter().map(read))?).map_err(|reason| list.error(reason))
}

impl TlsMatch {
    /// The patterns that the match is entered with. Beside `*`, istiod ignores all other names.
    fn patterns(&self) -> &[Box<str>] {
        let any = self.sni_hosts.iter().position(|pattern| &**pattern == "*");
        any.map_or(&self.sni_hosts, |any| self.sni_hosts.get(any..=any).unwrap_or_default())
    }
}

/// A match in the index, with the clusters of its route.
#[derive(Debug)]
struct Entered {
    own: TlsMatch,
    /// Indices of its subnets in [`TlsRoutes::ranges`], sorted; empty for any address
    ranges: Vec<usize>,
    split: Arc<Split<ClusterName>>,
}

impl Entered {
    fn has_range(&self, range: Option<usize>) -> bool {
        range.map_or(self.ranges.is_empty(), |range| self.ranges.binary_search(&range).is_ok())
    }

    /// Returns whether the match has all connections to this range and port. `None` is any.
    fn covers(&self, range: Option<usize>, port: Option<u16>) -> bool {
        self.has_range(range) && (self.own.port.is_none() || self.own.port == port)
    }
}

/// Maximum number of comparisons of a match with earlier matches, for a notice. Their number can
/// grow with the square of the number of matches.
const MAX_COMPARISONS: usize = 1_000_000;

/// TLS routes of all virtual services, indexed by server name and destination address.
#[derive(Debug, Default)]
pub struct TlsRoutes {
    matches: Vec<Entered>,
    /// Indices of the matches with a server name pattern, by the key of the pattern, in order
    by_pattern: NameTable<Vec<usize>>,
    /// The subnets of all matches
    ranges: AddressRanges,
    /// For each of `ranges`, the ports of the matches that have it, sorted, without repetitions
    ports: Vec<Vec<Option<u16>>>,
}

impl TlsRoutes {
    /// Creates the index; `routes` is in the order of the document.
    pub fn new(routes: Vec<TlsRoute>) -> Self {
        let subnets = routes.iter().flat_map(|route| &route.matches).flat_map(|own| &own.subnets);
        let ranges = AddressRanges::new(subnets.copied().collect());
        let mut ports = vec![Vec::new(); ranges.len()];
        let (mut matches, mut by_pattern) = (Vec::new(), NameTable::<Vec<usize>>::default());
        for TlsRoute { matches: own_matches, split } in routes {
            let split = Arc::new(split);
            for own in own_matches {
                for pattern in own.patterns() {
                    let key = server_name::key(pattern);
                    by_pattern.entry(key.as_bytes(), Vec::new).push(matches.len());
                }
                let mut own_ranges: Vec<usize> =
                    own.subnets.iter().filter_map(|subnet| ranges.index(subnet)).collect();
                sort(&mut own_ranges, Ord::cmp);
                for range in &own_ranges {
                    ports.get_mut(*range).into_iter().for_each(|known| known.push(own.port));
                }
                matches.push(Entered { own, ranges: own_ranges, split: Arc::clone(&split) });
            }
        }
        for own in &mut ports {
            sort(own, Ord::cmp);
            own.dedup();
        }
        Self { matches, by_pattern, ranges, ports }
    }

    /// Returns the places of the matches that are never reached: earlier matches have all of their
    /// server names, subnets and ports. The second place is that of one of these earlier matches.
    ///
    /// After [`MAX_COMPARISONS`], only the matches are returned that were found until then.
    pub fn unreachable(&self) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        let comparisons = Cell::new(0_usize);
        for (index, entered) in self.matches.iter().enumerate() {
            if comparisons.get() > MAX_COMPARISONS {
                break;
            }
            let Entered { own, ranges, .. } = entered;
            let earlier = |pattern: &str, range: Option<usize>| {
                let indices = self.by_pattern.get(server_name::key(pattern).as_bytes())?;
                let mut earlier = indices.iter().take_while(|earlier| **earlier < index);
                earlier.find_map(|earlier| {
                    let earlier = self.matches.get(*earlier)?;
                    comparisons.set(comparisons.get().saturating_add(1));
                    earlier.covers(range, own.port).then_some(&*earlier.own.name)
                })
            };
            let any = ranges.is_empty().then_some(None);
            let ranges = || any.into_iter().chain(ranges.iter().copied().map(Some));
            let places = own
                .patterns()
                .iter()
                .flat_map(|pattern| ranges().map(move |range| (pattern, range)));
            let by: Option<Vec<&str>> =
                places.map(|(pattern, range)| earlier(pattern, range)).collect();
            found.extend(by.and_then(|by| Some((&*own.name, *by.first()?))));
        }
        found
    }

    /// Returns the match of a connection: its name in logs, and its clusters. Only the pattern `*`
    /// matches connections without a server name.
    #[inline]
    pub fn find(
        &self,
        name: Option<&ServerName>,
        connection: &dyn Connection,
    ) -> Option<(&str, &Split<ClusterName>)> {
        // Each attribute is read at most once, and only if a match needs it.
        let port = LazyCell::new(|| connection.destination_port());
        let has_port = |own: &Option<u16>| own.is_none_or(|own| *port == Some(own));
        let range = self.range(connection, has_port);
        server_name::keys(name.map_or("", ServerName::as_str)).find_map(|key| {
            let indices = self.by_pattern.get(key.as_bytes())?;
            let mut entered = indices.iter().filter_map(|index| self.matches.get(*index));
            let holds = |one: &&Entered| one.has_range(range) && has_port(&one.own.port);
            entered.find(holds).map(|Entered { own, split, .. }| (&*own.name, &**split))
        })
    }

    /// The most specific subnet of a match that contains the destination address. `has_port` says
    /// whether a match has the port of the connection.
    fn range(
        &self,
        connection: &dyn Connection,
        has_port: impl Fn(&Option<u16>) -> bool,
    ) -> Option<usize> {
        if self.ranges.is_empty() {
            return None;
        }
        let mut ranges = self.ranges.containing(connection.destination_ip()?);
        ranges.find(|range| self.ports.get(*range).is_some_and(|own| own.iter().any(&has_port)))
    }
}

#[cfg(test)]
mod tests;
