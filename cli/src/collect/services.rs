//! Kubernetes Services. Their ports become the field `services` of a plugin document, for
//! destinations without a port.

use std::collections::{HashMap, HashSet};

use super::defaults::Defaults;
use super::routes::backends;
use crate::bundle::{Bundle, Origin};
use crate::kinds::ROUTES;
use crate::tree::{Key, Tree, Value};
use sluice_policy::spec::proxy::MESH;
use sluice_policy::value::host_name::{aliases, is_short, qualify};

/// A Service of Kubernetes with at least one port.
pub struct Service {
    /// Its file
    pub file: String,
    /// Its kind, namespace and name
    pub title: String,
    /// Its line
    pub line: usize,
    /// Whether a document has it as a destination
    pub is_used: bool,
    namespace: Option<String>,
    name: String,
    /// The field `port` of each entry of `spec.ports`
    ports: Vec<Tree>,
    /// Those with HTTP, or with a protocol that Istio detects
    http_ports: Vec<Tree>,
    /// The ports with HTTP/2
    http2_ports: Vec<u16>,
}

impl Service {
    /// The Service in `document`. `None` for an object of another kind, for one that is an alias of
    /// another host, and for one without a name or without ports.
    pub fn new(file: &str, title: &str, document: &Tree, namespace: Option<&str>) -> Option<Self> {
        let text = |own: Option<&Tree>, wanted| own.and_then(Tree::as_str) == Some(wanted);
        let is_service = text(document.field("kind"), "Service");
        let spec = document.field("spec")?;
        let is_alias = text(spec.field("type"), "ExternalName");
        if !is_service || !text(document.field("apiVersion"), "v1") || is_alias {
            return None;
        }
        let number = |entry: &Tree| {
            let absent = || Tree::at(Value::Null, entry.line);
            entry.field("port").cloned().unwrap_or_else(absent)
        };
        let ports: Vec<_> = spec.list("ports").iter().map(number).collect();
        let http = spec.list("ports").iter().filter(|entry| {
            let is_tcp = entry.field("protocol").is_none_or(|own| own.as_str() == Some("TCP"));
            is_tcp && !has_protocol(entry, &OTHER_PROTOCOLS)
        });
        let http2 = spec.list("ports").iter();
        let http2 = http2.filter(|entry| has_protocol(entry, &["http2", "grpc", "h2c"]));
        let http2 = http2.filter_map(|entry| match entry.field("port")?.value {
            Value::Integer(port) => u16::try_from(port).ok(),
            _ => None,
        });
        let name = document.field("metadata")?.field("name")?.as_str()?.to_owned();
        (!ports.is_empty() && !name.is_empty()).then(|| Self {
            file: file.to_owned(),
            title: title.to_owned(),
            namespace: namespace.map(str::to_owned),
            name,
            line: document.line,
            ports,
            http_ports: http.map(number).collect(),
            http2_ports: http2.collect(),
            is_used: false,
        })
    }

    /// Its host. A Service without a namespace is in that of the document.
    fn host(&self, namespace: Option<&str>) -> String {
        qualify(&self.name, self.namespace.as_deref().or(namespace))
    }
}

/// Protocols of ports that are not HTTP.
const OTHER_PROTOCOLS: [&str; 7] = ["tcp", "udp", "tls", "https", "mongo", "mysql", "redis"];

/// Returns whether a port of a Service has one of `protocols`, by its `appProtocol` or the start of
/// its name.
fn has_protocol(entry: &Tree, protocols: &[&str]) -> bool {
    let text = |name| entry.field(name).and_then(Tree::as_str).unwrap_or_default();
    let protocol = match text("appProtocol") {
        "" => text("name"),
        protocol => protocol.trim_start_matches("kubernetes.io/"),
    };
    let protocol = protocol.to_ascii_lowercase();
    protocols.iter().any(|known| {
        let rest = protocol.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// The namespace of objects without one: that of the Services that are their destinations, if these
/// Services have only one.
pub fn namespace<'a>(
    specs: impl Iterator<Item = &'a Tree>,
    services: &[Service],
) -> Option<String> {
    let hosts: HashSet<&str> =
        specs.flat_map(hosts_of_service).filter(|host| is_short(host)).collect();
    let mut own = services.iter().filter(|service| hosts.contains(&*service.name));
    let namespace = own.next()?.namespace.clone();
    own.all(|other| other.namespace == namespace).then_some(namespace)?
}

/// The hosts of the destinations of a virtual service.
fn hosts_of_service(spec: &Tree) -> Vec<&str> {
    let routes = ["http", "tls"].into_iter().flat_map(|kind| spec.list(kind));
    let destinations = routes.flat_map(|route| {
        let entries = ["route", "mirrors"].into_iter().flat_map(|list| route.list(list));
        entries.filter_map(|entry| entry.field("destination")).chain(route.field("mirror"))
    });
    destinations.filter_map(|own| own.field("host")?.as_str()).collect()
}

/// Returns the ports of the requests that the HTTP rules of a VirtualService are for in a sidecar;
/// `None` if one is for all ports.
fn ports_of_rules(rule: &Tree) -> Option<HashSet<u16>> {
    let mut ports = HashSet::new();
    for route in rule.list("http") {
        let conditions = route.list("match");
        if conditions.is_empty() {
            return None;
        }
        for own in conditions.iter().filter(|own| is_for_mesh(own)) {
            ports.insert(own.field("port").and_then(number)?);
        }
    }
    Some(ports)
}

/// Returns whether sidecars apply a VirtualService or a condition.
fn is_for_mesh(rule: &Tree) -> bool {
    let names = rule.list("gateways");
    names.is_empty() || names.iter().any(|name| name.as_str() == Some(MESH))
}

/// The number of a port.
fn number(own: &Tree) -> Option<u16> {
    match own.value {
        Value::Integer(port) => u16::try_from(port).ok(),
        _ => None,
    }
}

/// Adds rules for the ports of Services that have none, as each port of a Service has a route in
/// Istio's sidecars.
/// `defaults` has the gateways that the proxy serves, and the port that its clients call.
pub fn route(services: &[Service], bundle: &mut Bundle, defaults: &Defaults) {
    let proxy = bundle.document.field("proxy");
    let called = match proxy {
        Some(proxy) => proxy.field("port").and_then(number),
        None => defaults.proxy_port,
    };
    let gateways = &defaults.gateways[..];
    let rules = bundle.document.list("virtualServices");
    let is_sidecar = match gateways {
        [] => rules.is_empty() || rules.iter().any(is_for_mesh),
        _ => gateways.iter().any(|name| name == MESH),
    };
    // The egress filter allows only hosts with a ServiceEntry.
    if !is_sidecar || bundle.has_field("outboundTrafficPolicy") {
        return;
    }
    let namespace = bundle.namespace().map(str::to_owned);
    // The ports for which a host has rules; `None` for all.
    let mut hosts: HashMap<String, Option<HashSet<u16>>> = HashMap::new();
    for rule in rules {
        let ports = ports_of_rules(rule);
        for host in rule.list("hosts").iter().filter_map(Tree::as_str) {
            let host = qualify(host, namespace.as_deref());
            let known = hosts.entry(host).or_insert_with(|| Some(HashSet::new()));
            match (known.as_mut(), &ports) {
                (Some(known), Some(ports)) => known.extend(ports),
                _ => *known = None,
            }
        }
    }
    for service in services {
        let full = service.host(namespace.as_deref());
        let names = aliases(&full, namespace.as_deref());
        let own = [&full].into_iter().chain(&names).find_map(|name| hosts.get(name));
        let mut wildcards = hosts.keys().filter_map(|host| host.strip_prefix('*'));
        if wildcards.any(|suffix| !suffix.is_empty() && full.ends_with(suffix)) {
            continue;
        }
        let has_rules = |port: Option<u16>| match own {
            None => false,
            Some(None) => true,
            Some(Some(ports)) => port.is_some_and(|port| ports.contains(&port)),
        };
        let with = |name: &str, value: Tree| {
            let line = service.line;
            Tree::at(Value::Object(vec![(Key::at(name, line), value)]), line)
        };
        let list = |value: Tree| Tree::at(Value::Array(vec![value]), service.line);
        let is_own = qualify(&service.name, namespace.as_deref()) == full;
        let host = Tree::text(if is_own { &service.name } else { &full });
        let has_one_port = service.ports.len() == 1;
        let is_called = |port: &&Tree| has_one_port || called.is_none() || number(port) == called;
        let open = service.http_ports.iter().filter(|port| !has_rules(number(port)));
        let routes = open.filter(is_called).map(|port| {
            let mut destination = with("host", host.clone());
            destination.push_field(Key::new("port"), with("number", port.clone()));
            let mut route = with("route", list(with("destination", destination)));
            // Clients call one of several ports, or the host has rules for others.
            if !has_one_port || own.is_some() {
                route.push_field(Key::new("match"), list(with("port", port.clone())));
            }
            route
        });
        let routes: Vec<_> = routes.collect();
        if routes.is_empty() {
            continue;
        }
        let mut rule = with("hosts", list(host.clone()));
        rule.push_field(Key::new("http"), Tree::at(Value::Array(routes), service.line));
        let (file, object) = (service.file.clone(), service.title.clone());
        bundle.append("virtualServices", rule, Origin { file, object, place: String::new() });
    }
}

/// Adds to a document the Services that are destinations in it.
pub fn add(services: &mut [Service], bundle: &mut Bundle) {
    if services.is_empty() {
        return;
    }
    let namespace = bundle.document.field("namespace").and_then(Tree::as_str);
    let namespace = namespace.map(str::to_owned);
    let complete = |host: &str| qualify(host, namespace.as_deref());
    let mut hosts = HashSet::new();
    for spec in bundle.document.list("virtualServices") {
        // A delegate can be in another namespace.
        let own = spec.field("namespace").and_then(Tree::as_str).or(namespace.as_deref());
        hosts.extend(hosts_of_service(spec).into_iter().map(|host| qualify(host, own)));
    }
    for route in ROUTES.into_iter().flat_map(|list| bundle.document.list(list)) {
        let own = route.field("namespace").and_then(Tree::as_str).or(namespace.as_deref());
        for (_, backend) in backends(route) {
            let text = |name| backend.field(name).and_then(Tree::as_str);
            let own = text("namespace").or(own);
            hosts.extend(text("name").map(|name| qualify(name, own)));
        }
    }
    let given = bundle.document.list("services").iter();
    let given = given.filter_map(|service| service.field("host")?.as_str());
    let mut known: HashSet<_> = given.map(complete).collect();
    for service in services {
        let host = service.host(namespace.as_deref());
        if !hosts.contains(&host) {
            continue;
        }
        service.is_used = true;
        let http2 = service.http2_ports.iter().map(|port| (host.clone(), *port));
        bundle.http2_ports.extend(http2);
        if !known.insert(host.clone()) {
            continue;
        }
        let is_own = complete(&service.name) == host;
        let host = if is_own { &service.name } else { &host };
        let with_line = |value| Tree::at(value, service.line);
        let mut entry = with_line(Value::Object(Vec::new()));
        entry.push_field(Key::new("host"), with_line(Value::String(host.clone())));
        entry.push_field(Key::new("ports"), with_line(Value::Array(service.ports.clone())));
        let (file, object) = (service.file.clone(), service.title.clone());
        bundle.append("services", entry, Origin { file, object, place: "spec".to_owned() });
    }
}
