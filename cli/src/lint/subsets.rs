//! Destinations with a subset that no DestinationRule defines.

use std::collections::HashSet;

use sluice_policy::document::report::Kind;
use sluice_policy::value::host_name::qualify;

use super::destinations::destinations;
use super::host_index::HostIndex;
use super::mesh::Mesh;
use super::report::Report;

/// The greatest number of subsets that are listed in a reason.
const MOST: usize = 8;

/// Reports subsets that no DestinationRule of the host defines. A note says if the files have no
/// DestinationRule of a host, or none at all.
pub fn lint(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    if mesh.destination_rules.is_empty() {
        return note_first(mesh, report);
    }
    let (mut rules, mut subsets) = (HostIndex::default(), HashSet::new());
    for (number, rule) in mesh.destination_rules.iter().enumerate() {
        let Some(host) = rule.tree.field("host").and_then(|host| host.as_str()) else { continue };
        rules.insert(&qualify(host, rule.namespace), (number, rule));
        let names = rule.tree.list("subsets").iter();
        subsets.extend(names.filter_map(|own| Some((number, own.field("name")?.as_str()?))));
    }
    let mut unchecked = HashSet::new();
    for service in mesh.virtual_service_objects() {
        for destination in destinations(service.tree) {
            let Some(host) = destination.text("host") else { continue };
            let Some(subset) = destination.text("subset") else { continue };
            let host = qualify(host, service.namespace);
            let mut of_host = rules.get(&host);
            let path = || format!("{}.subset", destination.path());
            let Some((first, rule)) = of_host.next() else {
                if unchecked.insert((service.title, host.clone())) {
                    let reason = "the subsets of the host are not checked, because the files have \
                        no DestinationRule of it";
                    report.add(service, &path(), Kind::Unchecked, reason, None);
                }
                continue;
            };
            let mut numbers = [first].into_iter().chain(of_host.map(|(number, _)| number));
            if numbers.any(|number| subsets.contains(&(*number, subset))) {
                continue;
            }
            let known = rule.tree.list("subsets").iter();
            let known = known.filter_map(|own| own.field("name")?.as_str()).take(MOST + 1);
            let known = match known.collect::<Vec<_>>().as_slice() {
                [] => "add it to the DestinationRule, which has none".to_owned(),
                known if known.len() > MOST => "add it to the DestinationRule".to_owned(),
                known => format!("write one of {}, or add it there", known.join(", ")),
            };
            let reason = format!(
                "no DestinationRule of the host has the subset {subset:?}, so Envoy has no cluster \
                 for it; {known}"
            );
            let other = report.place(rule, ".subsets");
            report.add(service, &path(), Kind::Unresolved, reason, other);
        }
    }
}

/// Notes the first subset: the files have no DestinationRule.
fn note_first(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    for service in mesh.virtual_service_objects() {
        if !report.is_open_to(service) {
            continue;
        }
        let destinations = destinations(service.tree);
        if let Some(first) = destinations.iter().find(|own| own.text("subset").is_some()) {
            let reason = "subsets are not checked, because the files have no DestinationRules";
            let path = format!("{}.subset", first.path());
            report.add(service, &path, Kind::Unchecked, reason, None);
            return;
        }
    }
}
