//! Routes of the Gateway API. Their order depends on the routes of all namespaces, so one plugin
//! document has all of them, with their names and namespaces.

use sluice_policy::document::report::Kind;

use crate::collect::object::Object;
use crate::collect::subject::Subject;
use crate::finding::Finding;
use crate::kinds::ROUTES;
use crate::lint::inventory::Inventory;
use crate::tree::{self, Key, Tree, Value};

/// What becomes of references that the Gateway API does not permit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// They are answered with 500, as a Gateway does it, with a warning
    AnswersError,
    /// They are errors
    IsError,
    /// They are warnings
    IsReported,
}

impl Refused {
    /// Without the Gateways (`has_gateways`), a document that answers 500 may not be what the user
    /// wants. An object that is only checked may be correct, with its grant in another file.
    pub fn by(is_for_document: bool, has_gateways: bool) -> Self {
        match (is_for_document, has_gateways) {
            (true, true) => Self::AnswersError,
            (true, false) => Self::IsError,
            (false, _) => Self::IsReported,
        }
    }
}

/// Moves all routes to the document of the first one, and gives each its name and namespace.
/// Returns the references that the Gateway API does not permit.
pub fn place(objects: &mut [Object], inventory: &Inventory, refused: Refused) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut routes = objects.iter_mut().filter(|own| ROUTES.contains(&own.list)).peekable();
    let first = routes.peek().and_then(|first| first.namespace.clone());
    for route in routes {
        for (path, finding) in find_refused(route, inventory) {
            if refused == Refused::AnswersError {
                forbid(&mut route.spec, &path);
            }
            let kind = if refused == Refused::IsError { Kind::Error } else { Kind::Unresolved };
            findings.push(Finding { kind, ..finding });
        }
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

/// The kind of a reference that is not permitted. The filters answer 500 for every kind that is not
/// a Service.
const NOT_PERMITTED: &str = "NotPermitted";

/// Turns the reference at `path` of a route into one that is answered with 500.
fn forbid(route: &mut Tree, path: &str) {
    let Some(Tree { value: Value::Object(fields), .. }) = tree::find_mut(route, path) else {
        return;
    };
    fields.retain(|(key, _)| key.text != "kind");
    fields.push((Key::new("kind"), Tree::text(NOT_PERMITTED)));
}

/// Returns the references to other namespaces without a ReferenceGrant, with their paths. A route
/// whose namespace is not known has none.
fn find_refused(route: &Object, inventory: &Inventory) -> Vec<(String, Finding)> {
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
        let reference = path;
        let path = format!("{reference}.namespace");
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
        let finding = Finding { kind: Kind::Error, place, value, reason, other: None };
        findings.push((reference, finding));
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
