//! Routes of the Gateway API. Their order depends on the routes of all namespaces, so one plugin
//! document has all of them, with their names and namespaces.

use sluice_policy::document::report::Kind;

use crate::collect::object::Object;
use crate::collect::subject::Subject;
use crate::finding::Finding;
use crate::kinds::ROUTES;
use crate::lint::inventory::Inventory;
use crate::tree::{self, Key, Tree};

/// Moves all routes to the document of the first one, and gives each its name and namespace.
/// Returns the references that the Gateway API does not permit.
pub fn place(objects: &mut [Object], inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut routes = objects.iter_mut().filter(|own| ROUTES.contains(&own.list)).peekable();
    let first = routes.peek().and_then(|first| first.namespace.clone());
    for route in routes {
        findings.extend(refused(route, inventory));
        if !route.name.is_empty() {
            route.spec.push_field(Key::new("name"), Tree::text(&route.name));
        }
        if let Some(own) = route.namespace.as_deref().filter(|_| route.namespace != first) {
            route.spec.push_field(Key::new("namespace"), Tree::text(own));
        }
        route.namespace.clone_from(&first);
    }
    findings
}

/// Returns the references to other namespaces without a ReferenceGrant. A route whose namespace is
/// not known has none.
fn refused(route: &Object, inventory: &Inventory) -> Vec<Finding> {
    let Some(own) = route.namespace.as_deref() else { return Vec::new() };
    let kind = route.title.split(' ').next().unwrap_or_default();
    let mut findings = Vec::new();
    for (path, backend) in backends(&route.spec) {
        let text = |name| backend.field(name).and_then(Tree::as_str).unwrap_or_default();
        let is_service = text("group").is_empty() && matches!(text("kind"), "" | "Service");
        let (name, namespace) = (text("name"), text("namespace"));
        if !is_service || namespace.is_empty() || namespace == own {
            continue;
        }
        let mut grants = inventory.grants.iter();
        if grants.any(|grant| grant.permits(kind, own, name, namespace)) {
            continue;
        }
        let path = format!("{path}.namespace");
        let subject = Subject { file: &route.file, title: &route.title };
        let found = tree::find(&route.spec, &path);
        let (position, value) = (found.position(), Some(found.tree.to_json()));
        let dot = if route.place.is_empty() { "" } else { "." };
        let place = subject.place(position, &format!("{}{dot}{path}", route.place));
        let reason = format!(
            "{namespace:?} is another namespace, and no ReferenceGrant in it permits the reference, \
             so a gateway answers 500; add a ReferenceGrant there, from {kind} in {own} to the \
             Service {name}"
        );
        findings.push(Finding { kind: Kind::Error, place, value, reason, other: None });
    }
    findings
}

/// The references of a route, with their paths in its spec.
pub fn backends(route: &Tree) -> Vec<(String, &Tree)> {
    let mut found = Vec::new();
    for (index, rule) in route.list("rules").iter().enumerate() {
        for (number, backend) in rule.list("backendRefs").iter().enumerate() {
            found.push((format!("rules[{index}].backendRefs[{number}]"), backend));
        }
        for (number, filter) in rule.list("filters").iter().enumerate() {
            let mirror = filter.field("requestMirror");
            if let Some(backend) = mirror.and_then(|mirror| mirror.field("backendRef")) {
                let path = format!("rules[{index}].filters[{number}].requestMirror.backendRef");
                found.push((path, backend));
            }
        }
    }
    found
}
