//! VirtualServices that have the same host at the same gateway.
//!
//! For a gateway, istiod joins the rules of such VirtualServices (`buildGatewayHTTPRouteConfig`).
//! For a sidecar it uses only the first one that has rules for the proxy (`dedupeDomains` in
//! `httproute.go`). The first is the one that was created first, else the first by name and
//! namespace (`configCompareByCreationTime`). A plugin document has its VirtualServices in this
//! order, see `collect/order.rs`.

use std::cmp::Ordering;
use std::collections::HashMap;

use sluice_policy::document::report::Kind;
use sluice_policy::spec::proxy::MESH;
use sluice_policy::value::host_name::qualify;

use super::gateways::gateways;
use super::inventory::Inventory;
use super::mesh::{Exports, Mesh, Spec};
use super::report::Report;
use crate::tree::Tree;

/// The first VirtualServices that have a host at a gateway, by the namespaces that may use them.
/// Each with the index of the host.
#[derive(Default)]
struct First<'a> {
    any: Option<(&'a Spec<'a>, usize)>,
    to_all: Option<(&'a Spec<'a>, usize)>,
    to_only: HashMap<String, (&'a Spec<'a>, usize)>,
}

/// Reports hosts that an earlier VirtualService has at the same gateway.
pub fn lint(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    let mut known: HashMap<(String, String), First<'_>> = HashMap::new();
    let has_name = |spec: &&Spec<'_>| !spec.name().is_empty() && !spec.name().ends_with('/');
    for service in mesh.virtual_service_objects().filter(has_name) {
        if !service.tree.list("http").iter().any(is_for_any_proxy) {
            continue;
        }
        let exports = service.exports();
        if exports == Exports::Only(Vec::new()) {
            continue;
        }
        let gateways = gateways(service);
        for (index, host) in service.texts("hosts").enumerate() {
            let host = qualify(host, service.namespace);
            let mut earlier = None;
            for gateway in &gateways {
                let first = known.entry((gateway.clone(), host.clone())).or_default();
                let found = first.earlier(&exports).filter(|(own, _)| own.title != service.title);
                let is_mesh = gateway == MESH;
                if let Some((own, host)) = found
                    && (earlier.is_none() || is_mesh)
                {
                    earlier = Some((own, host, is_mesh));
                }
                first.add(&exports, (service, index));
            }
            let Some((own, own_host, is_mesh)) = earlier else { continue };
            let other = report.place(own, &format!(".hosts[{own_host}]"));
            let (kind, reason) = reason(own, service, is_mesh, mesh.inventory);
            report.add(service, &format!(".hosts[{index}]"), kind, reason, other);
        }
    }
}

impl<'a> First<'a> {
    /// The first VirtualService that a namespace may use which may use the new one too.
    fn earlier(&self, exports: &Exports<'_>) -> Option<(&'a Spec<'a>, usize)> {
        match exports {
            Exports::All => self.any,
            Exports::Only(only) => self
                .to_all
                .or_else(|| only.iter().find_map(|own| self.to_only.get(&**own).copied())),
        }
    }

    fn add(&mut self, exports: &Exports<'_>, own: (&'a Spec<'a>, usize)) {
        match exports {
            Exports::All => _ = self.to_all.get_or_insert(own),
            Exports::Only(only) => {
                for namespace in only {
                    self.to_only.entry(namespace.clone().into_owned()).or_insert(own);
                }
            }
        }
        self.any.get_or_insert(own);
    }
}

/// Returns whether the route has no conditions on the proxy.
fn is_for_any_proxy(route: &Tree) -> bool {
    let matches = route.list("match");
    let names = ["sourceLabels", "sourceNamespace", "gateways"];
    let is_free = |own: &Tree| names.iter().all(|name| own.field(name).is_none());
    matches.is_empty() || matches.iter().any(is_free)
}

fn reason(
    earlier: &Spec<'_>,
    own: &Spec<'_>,
    is_mesh: bool,
    inventory: &Inventory,
) -> (Kind, String) {
    let (first, is_certain) = first(earlier, own, inventory);
    let first = first.name();
    // The filters have a document for each namespace.
    let of_istio = if earlier.bundle == own.bundle { "" } else { " of Istio" };
    let condition = match is_certain {
        true => "",
        false => ", unless the other one was created first in Istio",
    };
    if is_mesh {
        let reason = format!(
            "another VirtualService has this host too: sidecars{of_istio} apply only the rules of \
             {first}{condition}; write one VirtualService"
        );
        (Kind::Overridden, reason)
    } else {
        let reason = format!(
            "another VirtualService has this host at the same gateway: gateways{of_istio} try the \
             rules of {first} first{condition}"
        );
        (Kind::Merged, reason)
    }
}

/// The VirtualService that is the first one for istiod, and whether that is certain: without the
/// times of creation, both are taken as created in the same second.
fn first<'a>(
    left: &'a Spec<'a>,
    right: &'a Spec<'a>,
    inventory: &Inventory,
) -> (&'a Spec<'a>, bool) {
    let ranks = [rank(left, right), rank(right, left)];
    let created = [left, right].map(|spec| inventory.created(spec.title));
    let names = [left, right].map(|spec| {
        let (namespace, name) = spec.name().rsplit_once('/').unwrap_or(("", spec.name()));
        (name, namespace)
    });
    let by_name = if names[0] <= names[1] { left } else { right };
    match (ranks[0].cmp(&ranks[1]), created) {
        (Ordering::Less, _) => (left, true),
        (Ordering::Greater, _) => (right, true),
        (_, [Some(earlier), Some(later)]) if earlier < later => (left, true),
        (_, [Some(later), Some(earlier)]) if earlier < later => (right, true),
        (_, created) => (by_name, created.iter().all(Option::is_some)),
    }
}

/// The place in istiod's order for a namespace that may use both (`VirtualServicesForGateway`):
/// first those for their own namespace, then those for listed namespaces, then those for all.
fn rank(own: &Spec<'_>, other: &Spec<'_>) -> u8 {
    let Exports::Only(only) = own.exports() else { return 2 };
    let exports = other.exports();
    let shared = only.iter().find(|namespace| exports.include(Some(namespace)));
    u8::from(shared.map(|namespace| &**namespace) != own.namespace)
}
