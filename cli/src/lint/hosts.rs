//! Destinations and DestinationRules whose host, or port of it, does not exist.

use sluice_policy::document::report::Kind;
use sluice_policy::value::host_name::qualify;

use super::destinations::{Destination, destinations};
use super::mesh::{Exports, Mesh, Spec};
use super::registry::{Entry, Registry, Source};
use super::report::Report;
use crate::finding::Place;

/// Reports unknown hosts and ports of destinations, and unknown hosts of DestinationRules.
pub fn lint(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    let registry = Registry::new(mesh);
    if registry.is_empty() {
        return;
    }
    for service in mesh.virtual_service_objects() {
        let exports = service.exports();
        let clients: Vec<_> = match &exports {
            Exports::Only(only) if !only.is_empty() => {
                only.iter().map(|name| Some(&**name)).collect()
            }
            _ => vec![service.namespace],
        };
        for destination in destinations(service.tree) {
            let Some(host) = destination.text("host") else { continue };
            let host = qualify(host, service.namespace);
            let place = || format!("{}.host", destination.path());
            let entries: Vec<_> = registry.entries(&host).collect();
            let visible = entries.iter().copied().filter(|entry| entry.is_visible(&clients));
            let visible: Vec<_> = visible.collect();
            if !visible.is_empty() {
                lint_port(service, &destination, &visible, report);
            } else if let Some(hidden) = entries.first() {
                let reason = "the host exists, but is not exported to the namespace of the rule, \
                    so Envoy has no cluster for it; extend its exportTo";
                let other = place_of(hidden, report);
                report.add(service, &place(), Kind::Unresolved, reason, other);
            } else if registry.is_complete_for(&host) {
                let reason = format!(
                    "no Service or ServiceEntry of the files has this host, so Envoy has no \
                     cluster for it{}",
                    registry.hint(&host)
                );
                report.add(service, &place(), Kind::Unresolved, reason, None);
            }
        }
    }
    for rule in mesh.destination_rules.iter().filter(|rule| rule.is_object()) {
        let Some(host) = rule.tree.field("host").and_then(|host| host.as_str()) else { continue };
        let host = qualify(host, rule.namespace);
        let is_known = || host.starts_with('*') || registry.entries(&host).next().is_some();
        if !is_known() && registry.is_complete_for(&host) {
            let reason = format!(
                "no Service or ServiceEntry of the files has this host, so the rule has no effect{}",
                registry.hint(&host)
            );
            report.add(rule, ".host", Kind::Unresolved, reason, None);
        }
    }
}

/// Reports a port that no object with the host has.
fn lint_port(
    service: &Spec<'_>,
    destination: &Destination<'_>,
    entries: &[&Entry<'_>],
    report: &mut Report<'_>,
) {
    let Some(port) = destination.port() else { return };
    let Some(known) =
        entries.iter().map(|entry| entry.ports.as_deref()).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let mut known = known.concat();
    if known.contains(&port) {
        return;
    }
    known.sort_unstable();
    known.dedup();
    let known: Vec<_> = known.iter().map(i64::to_string).collect();
    let ports = match known.as_slice() {
        [] => "it has no ports".to_owned(),
        [only] => format!("write its only port, {only}"),
        several => format!("write one of its ports, {}", several.join(", ")),
    };
    let reason =
        format!("{port} is not a port of the host, so Envoy has no cluster for it; {ports}");
    let other = entries.first().and_then(|entry| place_of(entry, report));
    let path = format!("{}.port.number", destination.path());
    report.add(service, &path, Kind::Unresolved, reason, other);
}

/// The place of the ports of a host.
fn place_of(entry: &Entry<'_>, report: &Report<'_>) -> Option<Place> {
    match entry.source {
        Source::Service(place) => Some(place.clone()),
        Source::ServiceEntry(spec) => report.place(spec, ".ports"),
    }
}
