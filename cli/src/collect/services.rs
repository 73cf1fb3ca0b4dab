//! Kubernetes Services. Their ports become the field `services` of a plugin document, for
//! destinations without a port.

use std::collections::HashSet;

use crate::bundle::{Bundle, Origin};
use crate::tree::{Key, Tree, Value};
use sluice_policy::value::host_name::{is_short, qualify};

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
        let name = document.field("metadata")?.field("name")?.as_str()?.to_owned();
        (!ports.is_empty() && !name.is_empty()).then(|| Self {
            file: file.to_owned(),
            title: title.to_owned(),
            namespace: namespace.map(str::to_owned),
            name,
            line: document.line,
            ports,
            is_used: false,
        })
    }

    /// Its host. A Service without a namespace is in that of the document.
    fn host(&self, namespace: Option<&str>) -> String {
        qualify(&self.name, self.namespace.as_deref().or(namespace))
    }
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

/// Adds to a document the Services that are destinations in it.
pub fn add(services: &mut [Service], bundle: &mut Bundle) {
    if services.is_empty() {
        return;
    }
    let namespace = bundle.document.field("namespace").and_then(Tree::as_str);
    let namespace = namespace.map(str::to_owned);
    let complete = |host: &str| qualify(host, namespace.as_deref());
    let rules = bundle.document.list("virtualServices").iter();
    let hosts: HashSet<_> = rules.flat_map(hosts_of_service).map(complete).collect();
    let given = bundle.document.list("services").iter();
    let given = given.filter_map(|service| service.field("host")?.as_str());
    let mut known: HashSet<_> = given.map(complete).collect();
    for service in services {
        let host = service.host(namespace.as_deref());
        if !hosts.contains(&host) {
            continue;
        }
        service.is_used = true;
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
