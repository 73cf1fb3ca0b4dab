//! Server names that an earlier match of TLS connections has.

use std::collections::HashMap;

use sluice_policy::document::report::Kind;

use super::gateways::{full_name, gateways};
use super::mesh::{Exports, Mesh, Spec};
use super::report::Report;
use crate::finding::Place;
use crate::tree::{Tree, Value};

/// What a match takes: the document, gateway, server name, and all other conditions.
type Key = (usize, String, String, String);

/// A server name of an earlier match.
struct Earlier<'a> {
    service: &'a Spec<'a>,
    /// The path of the match
    path: String,
    /// The index of the name in it
    index: usize,
}

/// Reports server names that an earlier match with the same conditions has.
pub fn lint(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    let mut known: HashMap<Key, Earlier<'_>> = HashMap::new();
    for service in &mesh.virtual_services {
        for (number, route) in service.tree.list("tls").iter().enumerate() {
            for (index, own) in route.list("match").iter().enumerate() {
                let path = format!(".tls[{number}].match[{index}]");
                lint_match(service, path, own, &mut known, report);
            }
        }
    }
}

fn lint_match<'a>(
    service: &'a Spec<'a>,
    path: String,
    own: &Tree,
    known: &mut HashMap<Key, Earlier<'a>>,
    report: &mut Report<'_>,
) {
    let Some((key, names)) = own.entry("sniHosts") else { return };
    let (list, names) = (&key.text, names.elements());
    // Objects are one mesh. The documents of plugin configuration are independent of each other.
    let document = if service.is_object() { usize::MAX } else { service.bundle };
    let (gateways, conditions) = conditions(service, own);
    // Beside *, istiod ignores all other names.
    let has_any = names.iter().any(|name| name.as_str() == Some("*"));
    let mut taken = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let Some(name) = name.as_str().map(str::to_ascii_lowercase) else { continue };
        if has_any && name != "*" {
            continue;
        }
        let key = |gateway: &String| (document, gateway.clone(), name.clone(), conditions.clone());
        let earlier: Option<Vec<_>> = gateways.iter().map(|own| known.get(&key(own))).collect();
        if let Some(earlier) = earlier.as_ref().and_then(|earlier| earlier.first()) {
            let is_own = std::ptr::eq(earlier.service, service) && earlier.path == path;
            let names = format!("{}.{list}", earlier.path);
            let other = report.place(earlier.service, &format!("{names}[{}]", earlier.index));
            let of_match = report.place(earlier.service, &earlier.path);
            taken.push(Taken { index, is_own, other, of_match });
            continue;
        }
        for gateway in &gateways {
            let entry = known.entry(key(gateway));
            entry.or_insert_with(|| Earlier { service, path: path.clone(), index });
        }
    }
    let count = if has_any { 1 } else { names.len() };
    if taken.len() == count && taken.iter().all(|taken| !taken.is_own) {
        let reason = "is never reached, an earlier match has its server names";
        let other = taken.into_iter().next().and_then(|taken| taken.of_match);
        report.add(service, &path, Kind::NeverReached, reason, other);
        return;
    }
    for Taken { index, is_own, other, .. } in taken {
        let reason = if is_own {
            "occurs twice"
        } else {
            "has no effect, an earlier match has this server name and gets its connections"
        };
        let other = other.filter(|_| !is_own);
        report.add(service, &format!("{path}.{list}[{index}]"), Kind::NoEffect, reason, other);
    }
}

/// A server name that an earlier match, or an earlier entry of the same match, has.
struct Taken {
    index: usize,
    /// Whether the same match has it
    is_own: bool,
    other: Option<Place>,
    of_match: Option<Place>,
}

/// The gateways of a match, and its conditions beside the server names.
fn conditions(service: &Spec<'_>, own: &Tree) -> (Vec<String>, String) {
    let listed = own.list("gateways").iter().filter_map(Tree::as_str);
    let listed: Vec<_> = listed.map(|name| full_name(name, service.namespace)).collect();
    let gateways = if listed.is_empty() { gateways(service) } else { listed };
    let mut conditions = match service.exports() {
        Exports::All => String::new(),
        Exports::Only(only) => only.join(","),
    };
    for name in ["port", "destinationSubnets", "sourceLabels", "sourceNamespace"] {
        conditions.push('|');
        // Port 0 is the same as none.
        let field = own.field(name).filter(|field| field.value != Value::Integer(0));
        conditions.extend(field.map(Tree::to_json));
    }
    (gateways, conditions)
}
