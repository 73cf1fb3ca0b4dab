//! Conditions on the proxy, which are evaluated when the configuration is read.

use crate::document::node::Object;
use crate::document::report::{self, Reported};
use crate::spec::proxy::{MESH, Proxy, read_gateways, read_labels, read_namespace};

/// Why a condition on gateways has the outcome that it has without `proxy.gateways`.
const UNKNOWN_PROXY: &str = "without proxy.gateways, the proxy is a sidecar if the virtual service \
    is for the mesh too, else all of its gateways";

/// Properties of the document, proxy and virtual service that the reading of matches requires.
pub struct Scope<'a> {
    /// Namespace of the document
    pub namespace: Option<&'a str>,
    /// Proxy that runs the policy
    pub proxy: &'a Proxy<'a>,
    /// Gateways that the virtual service is bound to; the mesh if empty
    pub gateways: &'a [String],
    /// Whether the virtual service is a delegate, which has the gateways of others
    pub is_delegate: bool,
}

impl<'a> Scope<'a> {
    /// The scope of what is for every gateway and no virtual service.
    pub fn of_document(namespace: Option<&'a str>, proxy: &'a Proxy<'a>) -> Self {
        Self { namespace, proxy, gateways: &[], is_delegate: false }
    }
}

impl Scope<'_> {
    /// Returns whether the virtual service is bound to gateways other than the mesh.
    pub fn is_for_gateway(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway != MESH)
    }

    /// Returns whether one of `gateways` applies to a proxy that does not say what it serves: the
    /// virtual service is attached to it, so it is a sidecar if the virtual service is for
    /// sidecars, and otherwise one of the virtual service's gateways.
    fn may_be_one_of(&self, gateways: &[String]) -> bool {
        let is_for_mesh = self.gateways.is_empty() || self.gateways.iter().any(|own| own == MESH);
        gateways.iter().any(|gateway| match is_for_mesh {
            true => gateway == MESH,
            false => self.gateways.contains(gateway),
        })
    }
}

/// Reads `sourceLabels`, `sourceNamespace` and `gateways` of a match. Returns whether the proxy
/// satisfies them. As in Istio, `gateways` replaces the other two.
pub fn is_for_proxy(object: &Object<'_>, scope: &Scope<'_>) -> Result<bool, Reported> {
    let labels = object.optional("sourceLabels", |node| {
        if !scope.proxy.says_labels() {
            node.needs_wasm(
                "needs proxy.labels: a dynamic module does not know the proxy's labels",
            )?;
        }
        read_labels(node)
    });
    let namespace = object.given("sourceNamespace").map(|node| {
        if !scope.proxy.has_namespace() {
            node.needs_wasm("needs proxy.namespace: a dynamic module does not know the namespace")?;
        }
        read_namespace(&node)
    });
    let namespace = namespace.transpose();
    let served = object.optional("gateways", |node| {
        let gateways = read_gateways(node, scope.namespace)?;
        if gateways.is_empty() {
            return Ok(None);
        }
        Ok(Some(scope.proxy.serves(&gateways).unwrap_or_else(|| {
            let applies = scope.may_be_one_of(&gateways);
            let outcome = if applies { "applies" } else { "does not apply" };
            let reason = format_args!("{outcome} here: {UNKNOWN_PROXY}");
            if !scope.is_delegate {
                node.notice(report::Kind::NotApplicable, reason);
            }
            applies
        })))
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
