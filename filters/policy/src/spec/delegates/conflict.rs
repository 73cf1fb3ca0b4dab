//! Conflicts of matches. Source: istiod's `hasConflict` in `pilot/pkg/model/virtualservice.go`.

use crate::document::json::Json;
use crate::name_set::NameSet;
use crate::spec::delegates::part::{Part, keys, text};
use crate::spec::delegates::rule::{MATCH, Rule};

/// Returns a field in which the match of a delegate is not a part of the match of the route with
/// `delegate`, as far as istiod compares them; `None` if there is none.
#[inline(never)]
pub fn conflict(root: Part<'_>, own: Part<'_>) -> Option<&'static str> {
    for (name, rule) in MATCH {
        let is_conflict = match (rule, root.field(name), own.field(name)) {
            (Rule::Flag, root, own) => is_set(root) != is_set(own),
            (Rule::Namespace, Some(_), None) => true,
            (rule, Some(root), Some(own)) => match rule {
                Rule::Condition => conditions_conflict(root.json, own.json),
                Rule::Conditions => entries_conflict(root.json, own.json, conditions_conflict),
                Rule::Labels => entries_conflict(root.json, own.json, differ),
                Rule::Namespace | Rule::Port => differ(root.json, own.json),
                Rule::Gateways => gateways_conflict(root, own),
                Rule::Destinations | Rule::Flag | Rule::Name | Rule::Plain => false,
            },
            _ => false,
        };
        if is_conflict {
            return Some(name);
        }
    }
    None
}

fn is_set(part: Option<Part<'_>>) -> bool {
    part.is_some_and(|part| *part.json == Json::Bool(true))
}

fn differ(root: &Json, own: &Json) -> bool {
    root != own
}

/// Returns whether the entries of one key conflict.
#[inline(never)]
fn entries_conflict(root: &Json, own: &Json, conflict: fn(&Json, &Json) -> bool) -> bool {
    let (root, own) = (root.fields(), own.fields());
    let mut keys = keys(root);
    own.iter().any(|(key, own)| {
        // A new key has no entry in the other. `find` is for requests, where it has to be inlined.
        root.get(keys.add(key.as_bytes())).is_some_and(|(_, root)| conflict(root, own))
    })
}

/// Returns whether two conditions on a value conflict (`stringMatchConflict`). A regular expression
/// conflicts with every other condition, and so does the condition that a value is present.
fn conditions_conflict(root: &Json, own: &Json) -> bool {
    if *root == Json::Null || *own == Json::Null {
        return false;
    }
    if let Some(exact) = text(root, "exact") {
        return text(own, "exact") != Some(exact);
    }
    let Some(prefix) = text(root, "prefix") else { return true };
    let own = text(own, "prefix").or_else(|| text(own, "exact"));
    !own.is_some_and(|own| own.starts_with(prefix))
}

/// Returns whether a list of gateways has one that the other does not have.
fn gateways_conflict(root: Part<'_>, own: Part<'_>) -> bool {
    let mut known = NameSet::default();
    for name in root.gateways() {
        known.add(name.as_bytes());
    }
    own.gateways().any(|name| !known.contains(name.as_bytes()))
}
