//! The destinations of rules: clusters, their endpoints, and the copies of mirrors.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use sluice_policy::document::filter::Filter;
use sluice_policy::document::json::Json;
use sluice_policy::document::node::Node;
use sluice_policy::document::parse::parse;
use sluice_policy::document::report::Report;
use sluice_policy::spec::destination::{self, ClusterTemplate, Destination, Naming};
use sluice_policy::value::host_name::{aliases, qualify};

use crate::tree::{Tree, Value};

/// An address to connect to or to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// An IP address or a name
    pub address: String,
    /// The port
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip().to_string(), port: address.port() }
    }
}

/// A cluster of Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name
    pub name: String,
    /// The host, complete
    pub host: String,
    /// Where its endpoints come from
    pub source: EndpointSource,
    /// Its endpoints: IP addresses, or names for DNS
    pub endpoints: Vec<Endpoint>,
}

/// Where the endpoints of a cluster come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointSource {
    /// From `--endpoint`
    Flag,
    /// From a ServiceEntry
    ServiceEntry,
    /// From DNS: the endpoint is the host itself
    Dns,
}

/// One of the copies of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// The place of the mirror in the list of its route
    pub index: usize,
    /// The cluster that gets the copy
    pub cluster: String,
}

/// An endpoint that the user gives: `HOST[/SUBSET]=ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenEndpoint {
    host: String,
    subset: Option<String>,
    endpoint: Endpoint,
}

impl std::str::FromStr for GivenEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(place, address)| {
            let (host, subset) =
                place.split_once('/').map_or((place, None), |(host, subset)| (host, Some(subset)));
            let (address, port) = address.rsplit_once(':')?;
            let address = address.trim_start_matches('[').trim_end_matches(']').to_owned();
            let is_complete = !host.is_empty() && !address.is_empty();
            let port = port.parse().ok().filter(|port| *port > 0)?;
            let endpoint = Endpoint { address, port };
            let (host, subset) = (host.to_owned(), subset.map(str::to_owned));
            is_complete.then_some(Self { host, subset, endpoint })
        });
        parts.ok_or_else(|| {
            "must be HOST[/SUBSET]=ADDRESS:PORT, such as payment/v1=10.0.0.1:8080".to_owned()
        })
    }
}

/// The destinations in a document.
pub struct Destinations<'a> {
    document: &'a Tree,
    naming: Naming,
}

impl<'a> Destinations<'a> {
    /// The destinations in a document that has no errors.
    pub fn new(document: &'a Tree) -> Self {
        let namespace = document.field("namespace").and_then(Tree::as_str).map(str::to_owned);
        let template = document.field("clusterName").and_then(|pattern| {
            let json = Json::String(pattern.as_str().unwrap_or_default().to_owned());
            ClusterTemplate::read(&Node::root(&json, &Report::new(Filter::Router))).ok()
        });
        Self { document, naming: Naming { namespace, template: template.unwrap_or_default() } }
    }

    fn read(&self, tree: &Tree) -> Option<Destination> {
        let json = parse(tree.to_json().as_bytes()).ok()?;
        destination::read(&Node::root(&json, &Report::new(Filter::Router)), &self.naming).ok()
    }

    fn routes(&self, kind: &'a str) -> impl Iterator<Item = &'a Tree> {
        let services = self.document.field("virtualServices").map_or(&[][..], Tree::elements);
        services.iter().flat_map(move |service| service.field(kind).map_or(&[][..], Tree::elements))
    }

    /// The clusters of all routes and mirrors, sorted by name.
    pub fn clusters(&self, given: &[GivenEndpoint]) -> Vec<Cluster> {
        let mut clusters = BTreeMap::new();
        let routes = self.routes("http").chain(self.routes("tls"));
        for route in routes {
            let list = |name| route.field(name).map_or(&[][..], Tree::elements);
            let entries = list("route").iter().chain(list("mirrors"));
            let destinations = entries.filter_map(|entry| entry.field("destination"));
            for tree in destinations.chain(route.field("mirror")) {
                let Some(destination) = self.read(tree) else { continue };
                let (source, endpoints) = self.endpoints(&destination, given);
                let Destination { cluster: name, host, .. } = destination;
                clusters.insert(name.clone(), Cluster { name, host, source, endpoints });
            }
        }
        clusters.into_values().collect()
    }

    fn endpoints(
        &self,
        to: &Destination,
        given: &[GivenEndpoint],
    ) -> (EndpointSource, Vec<Endpoint>) {
        let host = |host: &str| qualify(host, self.naming.namespace.as_deref());
        let of_host = || given.iter().filter(|given| host(&given.host) == to.host);
        let own: Vec<_> = of_host().filter(|given| given.subset == to.subset).collect();
        // A host without a subset has the endpoints of all its subsets.
        let own = if own.is_empty() && to.subset.is_none() { of_host().collect() } else { own };
        if !own.is_empty() {
            let endpoints = own.iter().map(|given| given.endpoint.clone()).collect();
            return (EndpointSource::Flag, endpoints);
        }
        let entries = self.document.field("serviceEntries").map_or(&[][..], Tree::elements);
        for entry in entries {
            let hosts = entry.field("hosts").map_or(&[][..], Tree::elements).iter();
            if hosts.filter_map(Tree::as_str).any(|name| host(name) == to.host) {
                let endpoints = self.endpoints_of_entry(entry, to);
                if !endpoints.is_empty() {
                    return (EndpointSource::ServiceEntry, endpoints);
                }
            }
        }
        let endpoint = Endpoint { address: to.host.clone(), port: to.port.unwrap_or(80) };
        (EndpointSource::Dns, vec![endpoint])
    }

    /// The endpoints of a ServiceEntry that have the labels of the subset.
    fn endpoints_of_entry(&self, entry: &Tree, to: &Destination) -> Vec<Endpoint> {
        let labels = to.subset.as_ref().map(|subset| self.labels(&to.host, subset));
        let has_labels = |endpoint: &Tree| {
            labels.iter().flatten().all(|(name, value)| {
                let own = endpoint.field("labels").map_or(&[][..], Tree::fields);
                own.iter().any(|(key, own)| key.text == *name && own.as_str() == Some(value))
            })
        };
        let ports = entry.field("ports").map_or(&[][..], Tree::elements);
        let port =
            ports.iter().find(|port| to.port.is_none() || number(port.field("number")) == to.port);
        let service_port = port.and_then(|port| number(port.field("number"))).or(to.port);
        let target_port = port.and_then(|port| number(port.field("targetPort"))).or(service_port);
        let name = port.and_then(|port| port.field("name")?.as_str());
        let endpoints = entry.field("endpoints").map_or(&[][..], Tree::elements).iter();
        let endpoints = endpoints.filter(|endpoint| has_labels(endpoint)).filter_map(|endpoint| {
            let own = endpoint.field("ports").map_or(&[][..], Tree::fields);
            let own = own.iter().find(|(key, _)| Some(&*key.text) == name);
            let port = own.and_then(|(_, port)| number(Some(port))).or(target_port)?;
            let address = endpoint.field("address")?.as_str()?.to_owned();
            Some(Endpoint { address, port })
        });
        endpoints.collect()
    }

    /// The labels of a subset by the DestinationRules.
    fn labels(&self, host: &str, subset: &str) -> Vec<(String, String)> {
        let rules = self.document.field("destinationRules").map_or(&[][..], Tree::elements).iter();
        let of_host = rules.filter(|rule| {
            let name = rule.field("host").and_then(Tree::as_str).unwrap_or_default();
            qualify(name, self.naming.namespace.as_deref()) == host
        });
        let mut subsets =
            of_host.flat_map(|rule| rule.field("subsets").map_or(&[][..], Tree::elements));
        let found = subsets.find(|own| own.field("name").and_then(Tree::as_str) == Some(subset));
        let labels = found.and_then(|own| own.field("labels")).map_or(&[][..], Tree::fields);
        let label = |(key, value): &(_, Tree)| {
            let key: &crate::tree::Key = key;
            Some((key.text.clone(), value.as_str()?.to_owned()))
        };
        labels.iter().filter_map(label).collect()
    }

    /// The hosts of virtual services with `http` routes, and the hosts that their rewrites set.
    /// Without `*`, because istiod has a virtual host for that.
    pub fn domains(&self) -> BTreeSet<String> {
        let namespace = self.naming.namespace.as_deref();
        let services = self.document.field("virtualServices").map_or(&[][..], Tree::elements);
        let mut domains = BTreeSet::new();
        let is_http = |service: &&Tree| service.field("http").is_some();
        for service in services.iter().filter(is_http) {
            let hosts = service.field("hosts").map_or(&[][..], Tree::elements).iter();
            for host in hosts.filter_map(Tree::as_str) {
                let full = qualify(host, namespace);
                domains.extend(aliases(&full, namespace));
                domains.insert(full);
            }
        }
        for route in self.routes("http") {
            let authority = route.field("rewrite").and_then(|rewrite| rewrite.field("authority"));
            domains.extend(authority.and_then(Tree::as_str).map(str::to_owned));
        }
        domains.remove("*");
        domains
    }

    /// The hosts of DestinationRules with outlier detection, complete. They may be wildcards.
    pub fn watched_hosts(&self) -> Vec<String> {
        let rules = self.document.field("destinationRules").map_or(&[][..], Tree::elements).iter();
        let watched = rules.filter(|rule| rule.contains_field("outlierDetection"));
        let names = watched.filter_map(|rule| rule.field("host")?.as_str());
        names.map(|name| qualify(name, self.naming.namespace.as_deref())).collect()
    }

    /// The sets of copies that a request can have, larger sets first. One random number decides
    /// about all mirrors of a route, so a mirror with a larger share gets every request that a
    /// mirror with a smaller share gets.
    pub fn copies(&self) -> Vec<Vec<Copy>> {
        let mut sets: Vec<Vec<Copy>> = Vec::new();
        for route in self.routes("http") {
            let share =
                |percentage: Option<&Tree>| percentage.map_or(100.0, |p| float(p.field("value")));
            let mut mirrors: Vec<(usize, f64, String)> = Vec::new();
            if let Some(mirror) = route.field("mirror").and_then(|tree| self.read(tree)) {
                let percent = match (route.field("mirrorPercentage"), route.field("mirrorPercent"))
                {
                    (None, Some(percent)) => float(Some(percent)),
                    (percentage, _) => share(percentage),
                };
                mirrors.push((0, percent, mirror.cluster));
            }
            let list = route.field("mirrors").map_or(&[][..], Tree::elements);
            for (index, entry) in list.iter().enumerate() {
                let destination = entry.field("destination").and_then(|tree| self.read(tree));
                let percent = share(entry.field("percentage"));
                mirrors
                    .extend(destination.map(|destination| (index, percent, destination.cluster)));
            }
            for (_, least, _) in mirrors.iter().filter(|(_, percent, _)| *percent > 0.0) {
                let with = mirrors.iter().filter(|(_, percent, _)| percent >= least);
                let copy = |(index, _, cluster): &(usize, f64, String)| Copy {
                    index: *index,
                    cluster: cluster.clone(),
                };
                let set: Vec<_> = with.map(copy).collect();
                if !sets.contains(&set) {
                    sets.push(set);
                }
            }
        }
        sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
        sets
    }
}

/// Returns whether all endpoints are IP addresses, which need no DNS.
pub fn are_addresses(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().all(|endpoint| endpoint.address.parse::<IpAddr>().is_ok())
}

/// A port number.
pub fn number(tree: Option<&Tree>) -> Option<u16> {
    match tree?.value {
        Value::Integer(number) => u16::try_from(number).ok().filter(|number| *number > 0),
        _ => None,
    }
}

fn float(tree: Option<&Tree>) -> f64 {
    match tree.map(|tree| &tree.value) {
        Some(Value::Integer(number)) => *number as f64,
        Some(Value::Float(number)) => *number,
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        _ => 0.0,
    }
}
