//! Comparison of headers.

use std::collections::{BTreeMap, BTreeSet};

/// The names of the headers that differ, each with who has it; `kind` comes before each name.
pub fn differences(
    kind: &str,
    native: &BTreeMap<String, String>,
    filtered: &BTreeMap<String, String>,
) -> Vec<String> {
    let names: BTreeSet<_> = native.keys().chain(filtered.keys()).collect();
    let differ = names.into_iter().filter(|name| native.get(*name) != filtered.get(*name));
    let side = |name: &String| match (native.get(name), filtered.get(name)) {
        (Some(_), None) => "natively only",
        (None, _) => "through the filters only",
        _ => "another value",
    };
    differ.map(|name| format!("{kind} {name}: {}", side(name))).collect()
}
