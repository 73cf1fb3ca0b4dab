//! Comparison of headers.

use std::collections::{BTreeMap, BTreeSet};

/// In place of the value of a header that depends on time. It is equal to all values.
pub const ANY: &str = "any";

/// The names of the headers that differ, each with who has it; `kind` comes before each name.
pub fn differences(
    kind: &str,
    native: &BTreeMap<String, String>,
    filtered: &BTreeMap<String, String>,
) -> Vec<String> {
    let names: BTreeSet<_> = native.keys().chain(filtered.keys()).collect();
    let differs = |name: &&String| {
        let values = [native.get(*name), filtered.get(*name)];
        let is_any = values.iter().flatten().any(|value| *value == ANY);
        values[0] != values[1] && !(is_any && values.iter().all(Option::is_some))
    };
    let differ = names.into_iter().filter(differs);
    let side = |name: &String| match (native.get(name), filtered.get(name)) {
        (Some(_), None) => "natively only",
        (None, _) => "through the filters only",
        _ => "another value",
    };
    differ.map(|name| format!("{kind} {name}: {}", side(name))).collect()
}
