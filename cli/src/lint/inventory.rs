//! Objects that no filter reads, but that others refer to: Services and Gateways. Also the times
//! when VirtualServices were created, by which Istio orders them.

use std::collections::HashMap;

use crate::columns::Position;
use crate::finding::Place;
use crate::kinds::{GATEWAY_API, ISTIO};
use crate::tree::{self, Tree, Value};

/// The annotation of a Service with the namespaces that may use it.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// What lints know of objects, beside the plugin documents.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The Services
    pub services: Vec<Service>,
    /// Istio's Gateways
    pub gateways: Vec<Gateway>,
    /// The ReferenceGrants of the Gateway API
    pub grants: Vec<Grant>,
    /// The time when an object was created, by its title
    created: HashMap<String, String>,
}

/// A Service of Kubernetes.
#[derive(Debug)]
pub struct Service {
    /// The place of its ports
    pub place: Place,
    /// Its namespace; `None` for that of the documents
    pub namespace: Option<String>,
    /// Its name
    pub name: String,
    /// Its ports; `None` for an alias of another host, whose ports are not known
    pub ports: Option<Vec<i64>>,
    /// The namespaces that may use it; `None` for all
    pub exports: Option<Vec<String>>,
}

/// A Gateway of Istio.
#[derive(Debug)]
pub struct Gateway {
    /// The place of its servers
    pub place: Place,
    /// Its namespace; `None` for that of the documents
    pub namespace: Option<String>,
    /// Its name
    pub name: String,
    /// The hosts of all its servers: `HOST` or `NAMESPACE/HOST`
    pub hosts: Vec<String>,
}

/// A ReferenceGrant of the Gateway API: it permits references to objects of its namespace.
#[derive(Debug)]
pub struct Grant {
    /// Its namespace; `None` for that of the documents
    namespace: Option<String>,
    /// The routes that may have references
    from: Vec<Peer>,
    /// The objects that they may refer to
    to: Vec<Target>,
}

/// An entry of `from` of a ReferenceGrant.
#[derive(Debug)]
struct Peer {
    group: String,
    kind: String,
    namespace: String,
}

/// An entry of `to` of a ReferenceGrant for Services.
#[derive(Debug)]
struct Target {
    /// The name of the Service; `None` for all
    name: Option<String>,
}

impl Peer {
    fn new(entry: &Tree) -> Option<Self> {
        let text = |name| Some(entry.field(name)?.as_str()?.to_owned());
        Some(Self { group: text("group")?, kind: text("kind")?, namespace: text("namespace")? })
    }
}

impl Target {
    fn new(entry: &Tree) -> Option<Self> {
        let text = |name| entry.field(name).and_then(Tree::as_str);
        let is_service = text("group").is_none_or(str::is_empty) && text("kind") == Some("Service");
        let name = text("name").filter(|name| !name.is_empty()).map(str::to_owned);
        is_service.then_some(Self { name })
    }
}

impl Grant {
    /// Returns whether routes of a kind in the namespace `from` may refer to the Service `name` of
    /// `namespace`.
    pub fn permits(&self, kind: &str, from: &str, name: &str, namespace: &str) -> bool {
        let group = GATEWAY_API.trim_end_matches('/');
        let is_peer = |own: &Peer| own.group == group && own.kind == kind && own.namespace == from;
        let is_target = |own: &Target| own.name.as_deref().is_none_or(|own| own == name);
        self.namespace.as_deref() == Some(namespace)
            && self.from.iter().any(is_peer)
            && self.to.iter().any(is_target)
    }
}

impl Inventory {
    /// Adds an object of a file if it is of use here.
    pub fn add(&mut self, file: &str, title: &str, namespace: Option<&str>, document: &Tree) {
        let text = |name| document.field(name).and_then(Tree::as_str).unwrap_or_default();
        let kind = text("kind");
        let kinds =
            ["Service", "Gateway", "VirtualService", "HTTPRoute", "GRPCRoute", "ReferenceGrant"];
        if !kinds.contains(&kind) {
            return;
        }
        let version = text("apiVersion");
        let is_istio = version.starts_with(ISTIO);
        let is_gateway_api = version.starts_with(GATEWAY_API);
        let Some(metadata) = document.field("metadata") else { return };
        let Some(name) = metadata.field("name").and_then(Tree::as_str) else { return };
        let name = || (name.to_owned(), namespace.map(str::to_owned));
        let place = |path: &str| {
            let Position { line, columns } = tree::find(document, path).position();
            let (file, object, path) = (file.to_owned(), title.to_owned(), path.to_owned());
            Place { file, line, columns, object, path }
        };
        match kind {
            "Service" if version == "v1" => {
                let (place, ports) = (place("spec.ports"), ports(document));
                let exports = exports(metadata);
                let (name, namespace) = name();
                self.services.push(Service { place, namespace, name, ports, exports });
            }
            "Gateway" if is_istio => {
                let spec = document.field("spec");
                let servers = spec.map_or(&[][..], |spec| spec.list("servers")).iter();
                let hosts = servers.flat_map(|server| server.list("hosts"));
                let hosts = hosts.filter_map(Tree::as_str).map(str::to_ascii_lowercase).collect();
                let (name, namespace) = name();
                self.gateways.push(Gateway {
                    place: place("spec.servers"),
                    namespace,
                    name,
                    hosts,
                });
            }
            "ReferenceGrant" if is_gateway_api => {
                let spec = document.field("spec");
                let list = |name| spec.map_or(&[][..], |spec| spec.list(name)).iter();
                let (_, namespace) = name();
                self.grants.push(Grant {
                    namespace,
                    from: list("from").filter_map(Peer::new).collect(),
                    to: list("to").filter_map(Target::new).collect(),
                });
            }
            "HTTPRoute" | "GRPCRoute" if is_gateway_api => {
                let created = metadata.field("creationTimestamp").and_then(Tree::as_str);
                self.created.extend(created.map(|own| (title.to_owned(), own.to_owned())));
            }
            "VirtualService" if is_istio => {
                let created = metadata.field("creationTimestamp").and_then(Tree::as_str);
                self.created.extend(created.map(|own| (title.to_owned(), own.to_owned())));
            }
            _ => {}
        }
    }

    /// The time when the object with the title was created, as Kubernetes writes it; texts of
    /// times are in their order.
    pub fn created(&self, title: &str) -> Option<&str> {
        self.created.get(title).map(String::as_str)
    }
}

/// The ports of a Service; `None` for an alias of another host.
fn ports(document: &Tree) -> Option<Vec<i64>> {
    let spec = document.field("spec")?;
    if spec.field("type").and_then(Tree::as_str) == Some("ExternalName") {
        return None;
    }
    let number = |port: &Tree| match port.field("port")?.value {
        Value::Integer(number) => Some(number),
        _ => None,
    };
    Some(spec.list("ports").iter().filter_map(number).collect())
}

/// The namespaces in the annotation of a Service; `None` for all.
fn exports(metadata: &Tree) -> Option<Vec<String>> {
    let annotations = metadata.field("annotations")?.fields();
    let (_, value) = annotations.iter().find(|(key, _)| key.text == EXPORT_TO)?;
    let text = value.as_str().filter(|text| !text.trim().is_empty())?;
    Some(text.split(',').map(|namespace| namespace.trim().to_owned()).collect())
}
