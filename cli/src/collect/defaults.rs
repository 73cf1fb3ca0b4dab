//! What the user sets on the command line for fields that no file sets.

use crate::tree::{Key, Tree, Value};

/// Settings of the user for fields that no file sets.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The namespace of objects without one
    pub namespace: Option<String>,
    /// `clusterName`, if no document has it
    pub cluster_name: Option<String>,
    /// `proxy.gateways`, if no document has `proxy`; an empty list is not added
    pub gateways: Vec<String>,
    /// `proxy.port`, if no document has `proxy`
    pub proxy_port: Option<u16>,
    /// Whether Services without a rule get one, as they have a route in Istio's sidecars
    pub routes_services: bool,
    /// Whether documents have only the routes that the Gateways in the files accept, with the hosts
    /// of their listeners; otherwise only what they do not accept is reported
    pub attaches_routes: bool,
}

impl Defaults {
    /// The field `proxy`; `None` if nothing of it is set.
    pub fn proxy(&self) -> Option<Tree> {
        let gateways = self.gateways.iter().map(|name| Tree::text(name)).collect();
        let mut proxy = Tree::new(Value::Object(Vec::new()));
        if !self.gateways.is_empty() {
            proxy.push_field(Key::new("gateways"), Tree::new(Value::Array(gateways)));
        }
        if let Some(port) = self.proxy_port {
            proxy.push_field(Key::new("port"), Tree::new(Value::Integer(port.into())));
        }
        Some(proxy).filter(|proxy| !proxy.fields().is_empty())
    }
}
