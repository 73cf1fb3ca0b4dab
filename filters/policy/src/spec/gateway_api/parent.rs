//! `ParentReference`: the Gateways and Services that a route is attached to.

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::json::Quoted;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::spec::proxy::{MESH, Proxy, read_namespace};
use crate::value::host_name::{is_label, qualify};

/// `ParentReference`
pub struct ParentRef;

fields!(ParentRef as "GatewayParentReference",
    "A Gateway or Service that a route is attached to.", {
    "group": Kind::Text =>
        "API group: gateway.networking.k8s.io if absent, empty for a Service.";
    "kind": Kind::Text => "Gateway (default) or Service, for the mesh.";
    "namespace": Kind::OPTIONAL_LABEL => "Namespace of the parent; that of the route if absent.";
    "name" required: Kind::Text => "Name of the parent; compared with proxy.gateways.";
    "sectionName": Kind::Text =>
        "Has no effect: the route applies to all listeners of this proxy.";
    "port": Kind::PORT => "Has no effect: the route applies to all ports of this proxy.";
});

/// What the parents of a route say about it.
#[derive(Default)]
pub struct Parents {
    /// Whether this proxy is one of them
    pub is_for_this_proxy: bool,
    /// Whether one of them is no Service, so that the route's own hosts count
    pub has_gateway: bool,
    /// Hosts of the parents that are Services
    pub services: Vec<String>,
}

impl Parents {
    /// Reads `parentRefs`. A route without parents is attached to this proxy by the document.
    pub fn read(
        route: &Object<'_>,
        namespace: Option<&str>,
        proxy: &Proxy<'_>,
    ) -> Result<Self, Reported> {
        let nodes = route.elements("parentRefs")?;
        let is_attached = nodes.is_empty();
        let mut parents =
            Self { is_for_this_proxy: is_attached, has_gateway: is_attached, services: Vec::new() };
        let mut result = Ok(());
        for node in nodes {
            result = result.and(parents.add(&node, namespace, proxy));
        }
        result.map(|()| parents)
    }

    #[inline(never)]
    fn add(
        &mut self,
        node: &Node<'_>,
        namespace: Option<&str>,
        proxy: &Proxy<'_>,
    ) -> Result<(), Reported> {
        let object = node.object::<ParentRef>()?;
        let group = object.optional("group", Node::string);
        let kind = object.string("kind");
        let own = object.given("namespace").map(|node| read_namespace(&node)).transpose();
        let name = object.required("name").and_then(|node| match node.string()? {
            "" => Err(node.error("must not be empty")),
            name => Ok((node, name)),
        });
        let section = object.string("sectionName");
        let port = object.optional("port", Node::port);
        let (group, kind, own) = (group?, kind?.unwrap_or("Gateway"), own?);
        let (node, name) = name?;
        section?;
        port?;
        for name in ["sectionName", "port"] {
            if let Some(node) = object.field(name) {
                let reason = "has no effect: the filter does not know the listeners of a Gateway";
                node.notice(report::Kind::NotApplicable, reason);
            }
        }
        let namespace = own.as_deref().or(namespace);
        let gateway = match (group, kind) {
            (Some(""), "Service") => {
                if !is_label(name) {
                    let reason = "is not the name of a Service: the route is not attached to it";
                    node.notice_to(Filter::Router, report::Kind::Unresolved, reason);
                    return Ok(());
                }
                MESH.to_owned()
            }
            _ => namespace.map_or(name.to_owned(), |namespace| format!("{namespace}/{name}")),
        };
        if !proxy.serves(&[gateway]).unwrap_or(true) {
            return Ok(());
        }
        self.is_for_this_proxy = true;
        match (group, kind) {
            (Some(""), "Service") => self.services.push(qualify(name, namespace)),
            (None | Some("gateway.networking.k8s.io"), "Gateway") => self.has_gateway = true,
            _ => {
                self.has_gateway = true;
                let reason = format_args!("is taken for a Gateway, not a {}", Quoted(kind));
                object.node.notice(report::Kind::NotApplicable, reason);
            }
        }
        Ok(())
    }
}
