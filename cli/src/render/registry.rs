//! Hosts of ServiceEntries that no rule has. In a sidecar they have routes by themselves.

use std::collections::BTreeSet;

use sluice_policy::document::json::Json;
use sluice_policy::spec::proxy::MESH;

use super::destinations::Destinations;
use super::left_out::LeftOut;
use super::part::Part;

/// Leaves out the hosts of ServiceEntries that are neither a host of a rule nor a destination.
pub fn leave_out_unused(document: &Json, destinations: &Destinations<'_>, left_out: &mut LeftOut) {
    let services = Part::virtual_services(document);
    let is_for_mesh = |service: &Part<'_>| {
        let gateways = service.texts("gateways");
        gateways.is_empty() || gateways.contains(&MESH)
    };
    // Gateways have only the routes of rules.
    if !services.iter().any(is_for_mesh) {
        return;
    }
    let mut known = destinations.hosts();
    for service in &services {
        known.extend(service.texts("hosts").into_iter().map(|host| destinations.host(host)));
    }
    for entry in Part::root(document).elements("serviceEntries") {
        let hosts = entry.texts("hosts").into_iter().enumerate();
        for (index, host) in hosts {
            if !is_known(&destinations.host(host), &known) {
                let reason = "no rule has this host, so the rendered Envoy has no route for it";
                left_out.add(&format!("{}.hosts[{index}]", entry.path), reason);
            }
        }
    }
}

/// Returns whether one of `known` is the host, or a wildcard for it.
fn is_known(host: &str, known: &BTreeSet<String>) -> bool {
    known.iter().any(|own| {
        own == host || own.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
    })
}
