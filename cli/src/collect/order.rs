//! The order of the objects in a plugin document.

use std::collections::HashMap;

use sluice_policy::value::host_name::qualify;

use super::object::Object;
use crate::kinds::{LISTS, ROUTES};
use crate::lint::inventory::Inventory;
use crate::tree::Tree;

/// Sorts the objects of a namespace by their lists. VirtualServices of the same host are in the
/// order of istiod, all others stay in the order of the files.
pub fn sort(objects: &mut [Object], namespace: Option<&str>, inventory: &Inventory) {
    let list = |object: &Object| LISTS.iter().position(|(_, list)| *list == object.list);
    objects.sort_by_key(list);
    sort_routes(objects, inventory);
    let shared = shared(objects, namespace);
    if shared.is_empty() {
        return;
    }
    let mut sorted: Vec<_> = shared.iter().filter_map(|index| objects.get(*index)).collect();
    let created = |object: &Object| inventory.created(&object.title).map(str::to_owned);
    let have_times = sorted.iter().all(|object| created(object).is_some());
    sorted.sort_by_cached_key(|object| {
        let created = created(object).filter(|_| have_times);
        (rank(&object.spec, namespace), created, object.name.clone())
    });
    let sorted: Vec<_> = sorted.into_iter().cloned().collect();
    for (index, object) in shared.into_iter().zip(sorted) {
        if let Some(place) = objects.get_mut(index) {
            *place = object;
        }
    }
}

/// Sorts the routes of the Gateway API as it orders equal rules: by age, then by namespace and
/// name. Without the times of all routes, they stay in the order of the files.
fn sort_routes(objects: &mut [Object], inventory: &Inventory) {
    let is_route = |object: &Object| ROUTES.contains(&object.list);
    let start = objects.iter().position(is_route).unwrap_or(objects.len());
    let end = objects.iter().rposition(is_route).map_or(start, |last| last + 1);
    let Some(routes) = objects.get_mut(start..end) else { return };
    if routes.iter().any(|route| inventory.created(&route.title).is_none()) {
        return;
    }
    routes.sort_by_cached_key(|route| {
        let list = LISTS.iter().position(|(_, list)| *list == route.list);
        let created = inventory.created(&route.title).map(str::to_owned);
        (list, created, route.title.clone())
    });
}

/// The indices of VirtualServices with a host that another one has too.
fn shared(objects: &[Object], namespace: Option<&str>) -> Vec<usize> {
    let mut first_of: HashMap<String, usize> = HashMap::new();
    let mut shared = Vec::new();
    let services = objects.iter().enumerate().filter(|(_, own)| own.list == "virtualServices");
    // A spec without its object has no name to sort it by.
    for (index, object) in services.filter(|(_, own)| !own.name.is_empty()) {
        for host in object.spec.list("hosts").iter().filter_map(Tree::as_str) {
            let first = *first_of.entry(qualify(host, namespace)).or_insert(index);
            if first != index {
                shared.extend([first, index]);
            }
        }
    }
    shared.sort_unstable();
    shared.dedup();
    shared
}

/// The place in istiod's order for proxies of `namespace` (`VirtualServicesForGateway`): first the
/// VirtualServices for this namespace alone, then those for listed ones, then those for all.
fn rank(spec: &Tree, namespace: Option<&str>) -> u8 {
    let names: Vec<_> = spec.list("exportTo").iter().filter_map(Tree::as_str).collect();
    let is_own = |name: &&str| *name == "." || Some(*name) == namespace;
    match () {
        () if names.is_empty() || names.contains(&"*") => 2,
        () if names.iter().all(is_own) => 0,
        () => 1,
    }
}
