//! The destinations of rules, and the copies of mirrors.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use sluice_policy::document::filter::Filters;
use sluice_policy::document::json::{Field, Json};
use sluice_policy::document::node::Node;
use sluice_policy::document::report::Report;
use sluice_policy::spec::destination::{self, Destination, Naming};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::http_route::HttpRoute;
use sluice_policy::spec::mirror::{self, Mirror};
use sluice_policy::value::host_name::{aliases, qualify};
use sluice_policy::value::percent::Percent;

use super::conditions::{Conditions, KINDS};
use super::delegates;
use super::gateway_routes::Reader;
use super::listeners::{Kind, Listener};
use super::part::{Found, Part};

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

/// The destinations in a document, of all of its rules. The compiled document has only the rules
/// for a proxy without labels and gateways, but what is rendered is for proxies that may have them.
pub struct Destinations<'a> {
    document: &'a Json<'a>,
    naming: Naming,
    /// The ports of hosts, by Services and ServiceEntries
    ports: HashMap<String, Vec<u16>>,
    /// The first ServiceEntry of each host
    entries: HashMap<String, Part<'a>>,
    /// The first subset of each host and name
    subsets: HashMap<(String, &'a str), &'a Json<'a>>,
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
        let host = |host: &str| qualify(host, naming.namespace.as_deref());
        let mut entries = HashMap::new();
        for entry in Part::root(json).elements("serviceEntries") {
            for name in entry.texts("hosts") {
                entries.entry(host(name)).or_insert_with(|| entry.clone());
            }
        }
        let mut subsets = HashMap::new();
        for rule in json.elements("destinationRules") {
            let host = host(text(rule, "host").unwrap_or_default());
            for subset in rule.elements("subsets") {
                let name = text(subset, "name").unwrap_or_default();
                subsets.entry((host.clone(), name)).or_insert(subset);
            }
        }
        Self { document: json, naming, ports, entries, subsets, report }
    }

    /// How destinations are named.
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// The document.
    pub fn document(&self) -> &'a Json<'a> {
        self.document
    }

    /// The destination in a value; `None` if it has none.
    pub fn read(&self, part: &Part<'_>) -> Option<Destination> {
        let naming = part.naming(&self.naming);
        destination::read(&Node::root(part.json, &self.report), &naming).ok()
    }

    /// The complete name of a host.
    pub fn host(&self, host: &str) -> String {
        qualify(host, self.naming.namespace.as_deref())
    }

    /// The host as short as rules may write it.
    pub fn short_host<'h>(&self, host: &'h str) -> &'h str {
        let short = host.split('.').next().unwrap_or(host);
        if self.host(short) == host { short } else { host }
    }

    fn routes(&self, kind: &str) -> Vec<Part<'a>> {
        let services = Part::virtual_services(self.document).into_iter();
        services.flat_map(|service| service.elements(kind)).collect()
    }

    /// Reads HTTPRoutes and GRPCRoutes.
    fn reader(&self) -> Reader<'_> {
        Reader { naming: &self.naming, report: &self.report }
    }

    /// The rules of all HTTPRoutes and GRPCRoutes.
    fn gateway_rules(&self) -> Vec<Part<'a>> {
        let routes = Part::gateway_routes(self.document).into_iter();
        routes.flat_map(|route| route.elements("rules")).collect()
    }

    /// All destinations of routes and mirrors.
    fn of_routes<'r>(&'r self, routes: Vec<Part<'a>>) -> impl Iterator<Item = Found<'a>> + 'r {
        let read = |route: Part<'a>| {
            let entries = route.elements("route").into_iter().chain(route.elements("mirrors"));
            let destinations = entries.filter_map(|entry| entry.field("destination"));
            let destinations = destinations.chain(route.field("mirror"));
            let read = |part: Part<'a>| Some(Found { destination: self.read(&part)?, part });
            destinations.filter_map(read).collect::<Vec<_>>()
        };
        routes.into_iter().flat_map(read)
    }

    /// The destinations of the routes for a listener.
    pub fn on(&self, listener: &Listener, conditions: &Conditions<'a>) -> Vec<Found<'a>> {
        let mut routes = conditions.routes(listener.kind.name());
        routes.retain(|route| listener.has(route));
        let mut found: Vec<_> = self.of_routes(routes).collect();
        if listener.kind == Kind::Http {
            let rules = conditions.gateway_rules();
            found.extend(rules.iter().flat_map(|rule| self.reader().destinations(rule)));
        }
        found
    }

    /// The hosts of all destinations, of all proxies.
    pub fn hosts(&self) -> BTreeSet<String> {
        let routes = KINDS.into_iter().flat_map(|kind| self.routes(kind)).collect();
        let rules = self.gateway_rules();
        let of_rules = rules.iter().flat_map(|rule| self.reader().destinations(rule));
        self.of_routes(routes).chain(of_rules).map(|found| found.destination.host).collect()
    }

    /// The first host of a destination whose cluster depends on the port of the request.
    pub fn first_by_port(&self) -> Option<String> {
        let routes = ["http", "tls"].into_iter().flat_map(|kind| self.routes(kind)).collect();
        let mut all = self.of_routes(routes);
        Some(all.find(|own| own.destination.cluster.is_by_port())?.destination.host)
    }

    /// The port of a destination of clients that call the port `called`; `None` if it is not known.
    pub fn port(&self, to: &Destination, called: u16) -> Option<u16> {
        let called = || {
            let ports = self.ports.get(&to.host)?;
            let called = self.naming.called.unwrap_or(called);
            ports.contains(&called).then_some(called)
        };
        to.port.of_service().or_else(called)
    }

    /// Returns whether the Services and ServiceEntries of a host have ports, but not this one.
    pub fn lacks_port(&self, host: &str, port: u16) -> bool {
        self.ports.get(host).is_some_and(|own| !own.is_empty() && !own.contains(&port))
    }

    /// Returns whether a host has a DestinationRule of its own.
    pub fn has_rule(&self, host: &str) -> bool {
        let rules = self.document.elements("destinationRules").iter();
        rules.filter_map(|rule| text(rule, "host")).any(|own| self.host(own) == host)
    }

    /// The ServiceEntry of a host.
    pub fn entry(&self, host: &str) -> Option<Part<'a>> {
        self.entries.get(host).cloned()
    }

    /// A subset of a host by the DestinationRules.
    pub fn subset<'n>(&'n self, host: &str, name: &'n str) -> Option<&'n Json<'n>> {
        self.subsets.get(&(host.to_owned(), name)).copied()
    }

    /// The hosts of virtual services with `http` routes, of HTTPRoutes and GRPCRoutes, and the
    /// hosts that their rewrites set. Without `*`, because istiod has a virtual host for that.
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
        let routes = self.routes("http");
        let rewrites = routes.iter().filter_map(|route| route.field("rewrite"));
        domains.extend(rewrites.filter_map(|own| own.text("authority")).map(str::to_owned));
        let routes = Part::gateway_routes(self.document);
        domains.extend(routes.iter().flat_map(|route| self.reader().domains(route)));
        domains.remove("*");
        domains
    }

    /// The hosts of DestinationRules with outlier detection, complete. They may be wildcards.
    pub fn watched_hosts(&self) -> Vec<String> {
        let rules = self.document.elements("destinationRules").iter();
        let watched = rules.filter(|rule| has_detection(rule));
        watched.filter_map(|rule| text(rule, "host")).map(|host| self.host(host)).collect()
    }

    /// The sets of copies that a request can have, of all routes. Only the request has the port
    /// that its client called.
    pub fn copies(&self) -> Vec<Vec<Copy>> {
        self.copies_of(self.routes("http"), self.gateway_rules(), None)
    }

    /// The sets of copies that a request to a listener can have.
    pub fn copies_on(&self, listener: &Listener, conditions: &Conditions<'a>) -> Vec<Vec<Copy>> {
        let mut routes = conditions.routes("http");
        routes.retain(|route| listener.has(route));
        self.copies_of(routes, conditions.gateway_rules(), Some(listener.called))
    }

    /// The sets of copies that a request can have, larger sets first. One random number decides
    /// about all mirrors of a route, so a mirror with a larger share gets every request that a
    /// mirror with a smaller share gets. `called` is the port that clients call, if all call the
    /// same.
    fn copies_of(
        &self,
        routes: Vec<Part<'a>>,
        rules: Vec<Part<'a>>,
        called: Option<u16>,
    ) -> Vec<Vec<Copy>> {
        let mut sets: Vec<Vec<Copy>> = Vec::new();
        // The hosts of merged routes are complete.
        let naming = self.naming.with_namespace(None);
        let merged = delegates::merged(&routes, &self.naming);
        let of_routes = merged.iter().map(|route| {
            let route = Node::root(route, &self.report).object::<HttpRoute>();
            let mirrors = route.and_then(|route| mirror::read(&route, &naming, true));
            mirrors.unwrap_or_default()
        });
        let of_rules = rules.iter().map(|rule| self.reader().mirrors(rule));
        for mirrors in of_routes.chain(of_rules) {
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
pub fn fields<'a>(json: &'a Json, name: &str) -> &'a [Field<'a>] {
    json.field(name).map_or(&[], Json::fields)
}

/// A port number.
pub fn number(json: Option<&Json>) -> Option<u16> {
    match json? {
        Json::Integer(number) => u16::try_from(*number).ok().filter(|number| *number > 0),
        _ => None,
    }
}
