//! The destinations of rules: clusters, their endpoints, and the copies of mirrors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use sluice_policy::document::filter::Filters;
use sluice_policy::document::json::Json;
use sluice_policy::document::node::Node;
use sluice_policy::document::report::Report;
use sluice_policy::spec::destination::{self, Destination, Naming};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::http_route::HttpRoute;
use sluice_policy::spec::mirror::{self, Mirror};
use sluice_policy::value::host_name::{aliases, qualify};
use sluice_policy::value::percent::Percent;

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
    /// Whether only the header has the whole name, because it depends on the port of the request
    pub is_by_port: bool,
}

/// The ports of the listeners of Envoy.
#[derive(Clone, Copy, Debug)]
pub struct ListenerPorts {
    /// That of HTTP requests
    pub http: u16,
    /// That of TLS connections
    pub tls: u16,
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

/// The destinations in a document, of all of its rules. The compiled document has only the rules
/// for a proxy without labels and gateways, but what is rendered is for proxies that may have them.
pub struct Destinations<'a> {
    document: &'a Json,
    naming: Naming,
    /// The ports of hosts, by Services and ServiceEntries
    ports: HashMap<String, Vec<u16>>,
    /// What the policy reports while parts of the document are read. There are no errors
    report: Report,
}

impl<'a> Destinations<'a> {
    /// The destinations in a document that has no errors.
    pub fn new(json: &'a Json) -> Self {
        let (naming, report) = (Document::naming(json), Report::new(Filters::NONE));
        let mut ports: HashMap<String, Vec<u16>> = HashMap::new();
        let mut add = |host: Option<&Json>, ports_of_host: Vec<u16>| {
            let host = qualify(host.and_then(Json::as_str)?, naming.namespace.as_deref());
            ports.entry(host).or_default().extend(ports_of_host);
            Some(())
        };
        for service in json.elements("services") {
            let numbers = service.elements("ports").iter();
            add(service.field("host"), numbers.filter_map(|port| number(Some(port))).collect());
        }
        for entry in json.elements("serviceEntries") {
            let numbers = entry.elements("ports").iter();
            let numbers: Vec<_> = numbers.filter_map(|port| number(port.field("number"))).collect();
            for host in entry.elements("hosts") {
                add(Some(host), numbers.clone());
            }
        }
        Self { document: json, naming, ports, report }
    }

    fn read(&self, json: &Json) -> Option<Destination> {
        destination::read(&Node::root(json, &self.report), &self.naming).ok()
    }

    /// The complete name of a host.
    fn host(&self, host: &str) -> String {
        qualify(host, self.naming.namespace.as_deref())
    }

    fn routes(&self, kind: &'a str) -> impl Iterator<Item = &'a Json> {
        let services = self.document.elements("virtualServices").iter();
        services.flat_map(move |service| service.elements(kind))
    }

    /// All destinations of routes and mirrors: those of `http` rules, or those of `tls` rules.
    fn all(&self, kind: &'static str) -> impl Iterator<Item = Destination> {
        let read = |route: &'a Json| {
            let entries = route.elements("route").iter().chain(route.elements("mirrors"));
            let destinations = entries.filter_map(|entry| entry.field("destination"));
            let destinations = destinations.chain(route.field("mirror"));
            destinations.filter_map(|json| self.read(json)).collect::<Vec<_>>()
        };
        self.routes(kind).flat_map(read)
    }

    /// The first host of a destination whose cluster depends on the port of the request.
    pub fn first_by_port(&self) -> Option<String> {
        let mut all = ["http", "tls"].into_iter().flat_map(|kind| self.all(kind));
        Some(all.find(|own| own.cluster.is_by_port())?.host)
    }

    /// The clusters of all routes and mirrors, sorted by name. `ports` are those of the listeners.
    ///
    /// # Errors
    /// The hosts with an unknown port, and what to give for them.
    pub fn clusters(
        &self,
        given: &[GivenEndpoint],
        ports: ListenerPorts,
    ) -> Result<Vec<Cluster>, String> {
        let mut clusters = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        for (kind, listener) in [("http", ports.http), ("tls", ports.tls)] {
            for destination in self.all(kind) {
                let name = destination.cluster.at(|| Some(listener)).into_owned();
                let Some((source, endpoints)) = self.endpoints(&destination, listener, given)
                else {
                    unknown.insert(destination.host);
                    continue;
                };
                let host = destination.host;
                clusters.insert(name.clone(), Cluster { name, host, source, endpoints });
            }
        }
        if let Some(first) = unknown.first() {
            let hosts = unknown.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "the ports of these hosts are not known: {hosts}; write destination.port, give a \
                 file with their Services if these have one port, or use --endpoint \
                 {first}=ADDRESS:PORT"
            ));
        }
        Ok(clusters.into_values().collect())
    }

    /// The endpoints of a destination; `None` if their port is unknown.
    fn endpoints(
        &self,
        to: &Destination,
        listener: u16,
        given: &[GivenEndpoint],
    ) -> Option<(EndpointSource, Vec<Endpoint>)> {
        let of_host = || given.iter().filter(|given| self.host(&given.host) == to.host);
        let own: Vec<_> = of_host().filter(|given| given.subset == to.subset).collect();
        // A host without a subset has the endpoints of all its subsets.
        let own = if own.is_empty() && to.subset.is_none() { of_host().collect() } else { own };
        if !own.is_empty() {
            let endpoints = own.iter().map(|given| given.endpoint.clone()).collect();
            return Some((EndpointSource::Flag, endpoints));
        }
        let called = || {
            let ports = self.ports.get(&to.host)?;
            let called = self.naming.called.unwrap_or(listener);
            ports.contains(&called).then_some(called)
        };
        let port = to.port.of_service().or_else(called)?;
        for entry in self.document.elements("serviceEntries") {
            let hosts = entry.elements("hosts").iter();
            if hosts.filter_map(Json::as_str).any(|name| self.host(name) == to.host) {
                let endpoints = self.endpoints_of_entry(entry, to, port);
                if !endpoints.is_empty() {
                    return Some((EndpointSource::ServiceEntry, endpoints));
                }
            }
        }
        let endpoint = Endpoint { address: to.host.clone(), port };
        Some((EndpointSource::Dns, vec![endpoint]))
    }

    /// The endpoints of a ServiceEntry that have the labels of the subset.
    fn endpoints_of_entry(
        &self,
        entry: &Json,
        to: &Destination,
        number_of_port: u16,
    ) -> Vec<Endpoint> {
        let labels = to.subset.as_ref().map(|subset| self.labels(&to.host, subset));
        let has_labels = |endpoint: &&Json| {
            let own = fields(endpoint, "labels");
            labels.iter().flatten().all(|(name, value)| {
                own.iter().any(|(key, own)| key == name && own.as_str() == Some(value))
            })
        };
        let mut ports = entry.elements("ports").iter();
        let port = ports.find(|port| number(port.field("number")) == Some(number_of_port));
        let target_port = port.and_then(|port| number(port.field("targetPort")));
        let target_port = target_port.unwrap_or(number_of_port);
        let name = port.and_then(|port| text(port, "name"));
        let endpoints = entry.elements("endpoints").iter().filter(has_labels);
        let endpoints = endpoints.filter_map(|endpoint| {
            let mut own = fields(endpoint, "ports").iter();
            let own = own.find(|(key, _)| Some(&**key) == name);
            let port = own.and_then(|(_, port)| number(Some(port))).unwrap_or(target_port);
            let address = text(endpoint, "address")?.to_owned();
            Some(Endpoint { address, port })
        });
        endpoints.collect()
    }

    /// The labels of a subset by the DestinationRules.
    fn labels(&self, host: &str, subset: &str) -> Vec<(&str, &str)> {
        let rules = self.document.elements("destinationRules").iter();
        let of_host =
            rules.filter(|rule| self.host(text(rule, "host").unwrap_or_default()) == host);
        let mut subsets = of_host.flat_map(|rule| rule.elements("subsets"));
        let found = subsets.find(|own| text(own, "name") == Some(subset));
        let labels = found.map_or(&[][..], |own| fields(own, "labels"));
        labels.iter().filter_map(|(key, value)| Some((&**key, value.as_str()?))).collect()
    }

    /// The hosts of virtual services with `http` routes, and the hosts that their rewrites set.
    /// Without `*`, because istiod has a virtual host for that.
    pub fn domains(&self) -> BTreeSet<String> {
        let services = self.document.elements("virtualServices").iter();
        let mut domains = BTreeSet::new();
        for service in services.filter(|service| service.field("http").is_some()) {
            for host in service.elements("hosts").iter().filter_map(Json::as_str) {
                let full = self.host(host);
                domains.extend(aliases(&full, self.naming.namespace.as_deref()));
                domains.insert(full);
            }
        }
        let rewrites = self.routes("http").filter_map(|route| route.field("rewrite"));
        domains.extend(rewrites.filter_map(|own| text(own, "authority")).map(str::to_owned));
        domains.remove("*");
        domains
    }

    /// The hosts of DestinationRules with outlier detection, complete. They may be wildcards.
    pub fn watched_hosts(&self) -> Vec<String> {
        let rules = self.document.elements("destinationRules").iter();
        let watched = rules.filter(|rule| has_detection(rule));
        watched.filter_map(|rule| text(rule, "host")).map(|host| self.host(host)).collect()
    }

    /// The sets of copies that a request can have, larger sets first. One random number decides
    /// about all mirrors of a route, so a mirror with a larger share gets every request that a
    /// mirror with a smaller share gets. `called` is the port that clients call, if all call the
    /// same.
    pub fn copies(&self, called: Option<u16>) -> Vec<Vec<Copy>> {
        let mut sets: Vec<Vec<Copy>> = Vec::new();
        for route in self.routes("http") {
            let route = Node::root(route, &self.report).object::<HttpRoute>();
            let mirrors = route.and_then(|route| mirror::read(&route, &self.naming));
            let mirrors = mirrors.unwrap_or_default();
            let shares = mirrors.iter().map(|mirror| mirror.percentage);
            for least in shares.filter(|share| *share > Percent::NONE) {
                let indexed = mirrors.iter().enumerate();
                let with = indexed.filter(|(_, mirror)| mirror.percentage >= least);
                let copy = |(index, mirror): (_, &Mirror)| Copy {
                    index,
                    cluster: mirror.cluster.at(|| called).into_owned(),
                    is_by_port: mirror.cluster.is_by_port() && called.is_none(),
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

/// Returns whether a DestinationRule has outlier detection: for the host or a subset, and there for
/// all ports or one.
pub fn has_detection(rule: &Json) -> bool {
    let owners = [rule].into_iter().chain(rule.elements("subsets"));
    let policies = owners.filter_map(|own| own.field("trafficPolicy"));
    let mut levels =
        policies.flat_map(|own| [own].into_iter().chain(own.elements("portLevelSettings")));
    levels.any(|level| level.field("outlierDetection").is_some_and(|own| *own != Json::Null))
}

/// The string field `name`.
pub fn text<'a>(json: &'a Json, name: &str) -> Option<&'a str> {
    json.field(name)?.as_str()
}

/// The fields of the object field `name`.
pub fn fields<'a>(json: &'a Json, name: &str) -> &'a [(String, Json)] {
    json.field(name).map_or(&[], Json::fields)
}

/// Returns whether all endpoints are IP addresses, which need no DNS.
pub fn are_addresses(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().all(|endpoint| endpoint.address.parse::<IpAddr>().is_ok())
}

/// A port number.
fn number(json: Option<&Json>) -> Option<u16> {
    match json? {
        Json::Integer(number) => u16::try_from(*number).ok().filter(|number| *number > 0),
        _ => None,
    }
}
