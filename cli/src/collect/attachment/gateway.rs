//! Gateways of the Gateway API, and what their listeners accept.

use super::hostname::{Hostnames, includes};
use super::namespaces::{Namespaces, Selector};
use crate::collect::object::Object;
use crate::kinds::GATEWAY_API;
use crate::tree::{Tree, Value};

/// A Gateway.
pub struct Gateway {
    /// Its name
    name: String,
    /// Its namespace; `None` for that of the routes
    namespace: Option<String>,
    /// Its listeners
    pub listeners: Vec<Listener>,
}

/// A listener of a Gateway.
pub struct Listener {
    name: String,
    /// Its port; 0 if it has none
    pub port: i64,
    protocol: String,
    /// In lower case; `None` for all hosts
    hostname: Option<String>,
    from: From,
    /// Kinds of routes; all that its protocol can have if empty
    kinds: Vec<String>,
}

/// The namespaces whose routes a listener accepts.
enum From {
    Same,
    All,
    Selected(Selector),
    None,
}

/// An entry of `parentRefs` that is a Gateway.
pub struct Parent {
    namespace: Option<String>,
    name: String,
    section: Option<String>,
    port: Option<i64>,
}

/// What listeners compare with a route.
pub struct Route {
    kind: String,
    namespace: Option<String>,
    /// Its own hostnames in lower case; all hosts if empty
    pub hostnames: Vec<String>,
}

/// Why a listener does not accept a route, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It has another name
    SectionName,
    /// It has another port
    Port,
    /// It takes other kinds of routes
    Kind,
    /// It does not take routes of the namespace
    Namespace,
    /// It has another hostname
    Hostname,
}

/// The text of a field; `None` if it is empty.
fn text<'a>(tree: &'a Tree, name: &str) -> Option<&'a str> {
    tree.field(name).and_then(Tree::as_str).filter(|text| !text.is_empty())
}

fn integer(tree: &Tree, name: &str) -> Option<i64> {
    match tree.field(name)?.value {
        Value::Integer(value) => Some(value),
        _ => None,
    }
}

impl Gateway {
    /// Reads a Gateway.
    pub fn new(name: &str, namespace: Option<&str>, spec: Option<&Tree>) -> Self {
        let listeners = spec.map_or(&[][..], |spec| spec.list("listeners"));
        Self {
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            listeners: listeners.iter().map(Listener::new).collect(),
        }
    }

    /// Returns whether it is the parent of a route.
    pub fn is(&self, parent: &Parent) -> bool {
        self.name == parent.name && (self.namespace.is_none() || self.namespace == parent.namespace)
    }

    /// Its name as in `proxy.gateways`.
    pub fn full_name(&self) -> String {
        full_name(self.namespace.as_deref(), &self.name)
    }

    /// The hostnames that another listener of the port includes, with the indices of their
    /// listeners.
    pub fn included_hostnames(&self, port: i64) -> impl Iterator<Item = (usize, &str)> {
        let of_port = move |(_, own): &(usize, &Listener)| own.port == port;
        let listeners = self.listeners.iter().enumerate().filter(of_port);
        let hostnames =
            listeners.filter_map(|(index, own)| Some((index, own.hostname.as_deref()?)));
        hostnames.filter(move |(_, hostname)| {
            let mut others = self.listeners.iter().filter(|other| other.port == port);
            others.any(|other| self.nearer_hostnames(other).contains(hostname))
        })
    }

    /// The hostnames of other listeners with the same port that are more specific than that of
    /// `listener`: a request goes only to the routes of the listener with the most specific one.
    pub fn nearer_hostnames(&self, listener: &Listener) -> Vec<&str> {
        let others = self.listeners.iter().filter(|other| other.port == listener.port);
        let hostnames = others.filter_map(|other| other.hostname.as_deref());
        let own = listener.hostname.as_deref();
        let is_nearer = |other: &&str| own.is_none_or(|own| own != *other && includes(own, other));
        hostnames.filter(is_nearer).collect()
    }
}

impl Listener {
    fn new(listener: &Tree) -> Self {
        let allowed = listener.field("allowedRoutes");
        let namespaces = allowed.and_then(|allowed| allowed.field("namespaces"));
        let from = match namespaces.and_then(|own| text(own, "from")) {
            Some("All") => From::All,
            Some("Selector") => match namespaces.and_then(|own| own.field("selector")) {
                Some(selector) => From::Selected(Selector::new(selector)),
                None => From::None,
            },
            Some("None") => From::None,
            _ => From::Same,
        };
        let kinds = allowed.map_or(&[][..], |allowed| allowed.list("kinds")).iter();
        let kinds = kinds.map(|own| {
            let group = own.field("group").and_then(Tree::as_str);
            let is_own = group.is_none_or(|own| own == GATEWAY_API.trim_end_matches('/'));
            text(own, "kind").filter(|_| is_own).unwrap_or_default().to_owned()
        });
        Self {
            name: text(listener, "name").unwrap_or_default().to_owned(),
            port: integer(listener, "port").unwrap_or_default(),
            protocol: text(listener, "protocol").unwrap_or_default().to_owned(),
            hostname: text(listener, "hostname").map(str::to_ascii_lowercase),
            from,
            kinds: kinds.collect(),
        }
    }

    /// The hosts for which it accepts a route of a Gateway's parent reference.
    ///
    /// # Errors
    /// It does not accept the route.
    pub fn accepts(
        &self,
        route: &Route,
        parent: &Parent,
        gateway: &Gateway,
        namespaces: &Namespaces,
    ) -> Result<Hostnames, Refusal> {
        if parent.section.as_ref().is_some_and(|own| *own != self.name) {
            return Err(Refusal::SectionName);
        }
        if parent.port.is_some_and(|own| own != self.port) {
            return Err(Refusal::Port);
        }
        let has_kind = self.kinds.is_empty() || self.kinds.contains(&route.kind);
        if !has_kind || !["HTTP", "HTTPS"].contains(&&*self.protocol) {
            return Err(Refusal::Kind);
        }
        // Without a namespace, the Gateway is in that of the route.
        let own = gateway.namespace.as_deref().or(parent.namespace.as_deref());
        let is_allowed = match &self.from {
            From::All => true,
            From::Same => route.namespace.as_deref() == own,
            From::Selected(selector) => {
                namespaces.are_selected(route.namespace.as_deref().unwrap_or_default(), selector)
            }
            From::None => false,
        };
        if !is_allowed {
            return Err(Refusal::Namespace);
        }
        let hosts = Hostnames::new(&route.hostnames).intersect(self.hostname.as_deref());
        if hosts.is_none() { Err(Refusal::Hostname) } else { Ok(hosts) }
    }
}

impl Parent {
    /// Reads an entry of `parentRefs` of a route in `namespace`; `None` if it is no Gateway.
    pub fn new(parent: &Tree, namespace: Option<&str>) -> Option<Self> {
        let group = parent.field("group").and_then(Tree::as_str);
        let is_group = group.is_none_or(|own| own == GATEWAY_API.trim_end_matches('/'));
        let is_gateway = is_group && text(parent, "kind").is_none_or(|own| own == "Gateway");
        is_gateway.then(|| Self {
            namespace: text(parent, "namespace").or(namespace).map(str::to_owned),
            name: text(parent, "name").unwrap_or_default().to_owned(),
            section: text(parent, "sectionName").map(str::to_owned),
            port: integer(parent, "port"),
        })
    }

    /// Its name as in `proxy.gateways`.
    pub fn full_name(&self) -> String {
        full_name(self.namespace.as_deref(), &self.name)
    }
}

fn full_name(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

impl Route {
    /// What listeners compare with the route `object`.
    pub fn new(object: &Object) -> Self {
        let hostnames = object.spec.list("hostnames").iter().filter_map(Tree::as_str);
        let kind = if object.list == "grpcRoutes" { "GRPCRoute" } else { "HTTPRoute" };
        Self {
            kind: kind.to_owned(),
            namespace: object.namespace.clone(),
            hostnames: hostnames.map(str::to_ascii_lowercase).collect(),
        }
    }
}

impl Refusal {
    /// The reason, in lower case and without a full stop.
    pub fn reason(self, route: &Route, parent: &Parent) -> String {
        let namespace = route.namespace.as_deref().unwrap_or("default");
        let what = match self {
            Self::SectionName => format!(
                "no listener of the Gateway has the name {:?}",
                parent.section.as_deref().unwrap_or_default()
            ),
            Self::Port => {
                format!("no listener of the Gateway has the port {}", parent.port.unwrap_or(0))
            }
            Self::Kind => format!("no listener of the Gateway takes {}s", route.kind),
            Self::Namespace => {
                format!("no listener of the Gateway allows routes of the namespace {namespace:?}")
            }
            Self::Hostname => "no listener of the Gateway has a hostname of the route".to_owned(),
        };
        format!("{what}, so the route gets no requests there")
    }
}
