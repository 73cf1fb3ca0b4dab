//! References of HTTPRoutes and GRPCRoutes to Services that do not exist, and to ports that these
//! do not have.

use sluice_policy::document::report::Kind;
use sluice_policy::value::host_name::qualify;

use super::mesh::{Mesh, Spec};
use super::registry::Registry;
use super::report::Report;
use crate::collect::routes::backends;
use crate::tree::{Tree, Value};

/// Reports unknown Services and ports.
pub fn lint(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    let registry = Registry::new(mesh);
    for route in mesh.routes.iter().filter(|route| route.is_object()) {
        for (path, backend) in backends(route.tree) {
            let text = |name| {
                backend.field(name).and_then(Tree::as_str).filter(|text: &&str| !text.is_empty())
            };
            if text("group").is_some() || text("kind").is_some_and(|kind| kind != "Service") {
                continue;
            }
            let Some(name) = text("name") else { continue };
            let namespace = text("namespace").or(route.namespace);
            lint_service(route, (&path, backend), (name, namespace), &registry, report);
        }
    }
}

/// Reports a Service, or a port of it, that the files do not have although they have others.
fn lint_service(
    route: &Spec<'_>,
    (path, backend): (&str, &Tree),
    (name, namespace): (&str, Option<&str>),
    registry: &Registry<'_>,
    report: &mut Report<'_>,
) {
    let host = qualify(name, namespace);
    if registry.entries(&host).next().is_none() {
        if registry.is_complete_for(&host) {
            let reason = format!(
                "no Service of the files has this name, so a gateway answers 500 and the filter's \
                 Envoy 503{}",
                registry.hint(&host)
            );
            report.add(route, &format!(".{path}.name"), Kind::Unresolved, reason, None);
        }
        return;
    }
    let Some(Value::Integer(port)) = backend.field("port").map(|port| &port.value) else { return };
    let known: Option<Vec<_>> = registry.entries(&host).map(|entry| entry.ports.clone()).collect();
    if known.is_some_and(|known| !known.concat().contains(port)) {
        let reason = "is not a port of the Service, so Envoy has no cluster for it";
        report.add(route, &format!(".{path}.port"), Kind::Unresolved, reason, None);
    }
}
