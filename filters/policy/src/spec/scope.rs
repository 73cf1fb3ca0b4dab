//! Conditions on the proxy, which are evaluated when the configuration is read.

use crate::document::node::Object;
use crate::document::report::Reported;
use crate::spec::proxy::{Proxy, read_gateways, read_labels, read_namespace};

/// Properties of the document, proxy and virtual service that the reading of matches requires.
pub struct Scope<'a> {
    /// Namespace of the document
    pub namespace: Option<&'a str>,
    /// Proxy that runs the policy
    pub proxy: &'a Proxy<'a>,
    /// Whether the virtual service is bound to gateways other than the mesh
    pub is_for_gateway: bool,
}

/// Reads `sourceLabels`, `sourceNamespace` and `gateways` of a match. Returns whether the proxy
/// satisfies them. As in Istio, `gateways` replaces the other two.
pub fn is_for_proxy(object: &Object<'_>, scope: &Scope<'_>) -> Result<bool, Reported> {
    let labels = object.optional("sourceLabels", read_labels);
    let namespace = object.given("sourceNamespace").map(|node| read_namespace(&node)).transpose();
    let served = object.optional("gateways", |node| {
        let gateways = read_gateways(node, scope.namespace)?;
        if gateways.is_empty() {
            return Ok(None);
        }
        let reason =
            "requires proxy.gateways, the gateways that this proxy serves (mesh for a sidecar)";
        scope.proxy.serves(&gateways).map(Some).ok_or_else(|| node.error(reason))
    });
    let (labels, namespace) = (labels?.unwrap_or_default(), namespace?);
    Ok(served?.flatten().unwrap_or_else(|| {
        scope.proxy.has_labels(&labels)
            && namespace.is_none_or(|namespace| scope.proxy.is_in_namespace(&namespace))
    }))
}

/// Reads `port` of a match. Returns the port that a request must have, `None` for any, and whether
/// the proxy may get such requests. The condition is evaluated here if all clients call one port.
pub fn read_port(object: &Object<'_>, scope: &Scope<'_>) -> Result<(Option<u16>, bool), Reported> {
    let port = object.port("port")?;
    Ok(match scope.proxy.port {
        Some(called) => (None, port.is_none_or(|port| port == called)),
        None => (port, true),
    })
}
