//! Mirrors of routes with `delegate`.

use sluice_policy::document::json::Json;
use sluice_policy::spec::delegates::{Part as Side, merge_route};
use sluice_policy::spec::destination::Naming;

use super::part::Part;

/// The fields of a route that a route of a delegate takes over, and that change its copies.
const FIELDS: [&str; 4] = ["mirror", "mirrors", "mirrorPercent", "mirrorPercentage"];

/// The routes, and those of delegates merged with routes that name delegates, without matches.
/// Their hosts are complete. Routes of delegates are merged with each route with `delegate` that
/// has mirrors, and not only with those that name them, because more sets of copies do no harm.
pub fn merged(routes: &[Part<'_>], naming: &Naming) -> Vec<Json<'static>> {
    let has_mirrors = |route: &&Part<'_>| {
        let has = |name| route.field(name).is_some();
        has("delegate") && FIELDS.into_iter().any(has)
    };
    let roots: Vec<_> = routes.iter().filter(has_mirrors).collect();
    let mut merged = Vec::new();
    for route in routes {
        let own = route.naming(naming);
        let own = Side { json: route.json, namespace: own.namespace.as_deref() };
        merged.push(merge_route(Side { json: &Json::Null, namespace: None }, own).into_owned());
        for root in roots.iter().filter(|_| route.is_of_delegate()) {
            let naming = root.naming(naming);
            let root = Side { json: root.json, namespace: naming.namespace.as_deref() };
            merged.push(merge_route(root, own).into_owned());
        }
    }
    merged
}
