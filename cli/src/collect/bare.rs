//! Specs without their objects, as they are pasted from documentation.

use crate::tree::Tree;

/// The fields that tell what a spec is: all of the first, and one of the second.
type Fields = (&'static str, &'static [&'static str]);

/// Kinds with the fields of their specs.
const KINDS: [(&str, Fields); 3] = [
    ("VirtualService", ("hosts", &["http", "tcp", "tls", "gateways"])),
    ("DestinationRule", ("host", &["trafficPolicy", "subsets"])),
    ("ServiceEntry", ("hosts", &["ports", "resolution", "location", "endpoints", "addresses"])),
];

/// The kind of a spec without its object, by its fields.
pub fn kind(document: &Tree) -> Option<&'static str> {
    let has = |name: &str| document.field(name).is_some();
    let is_of = |(first, others): &Fields| has(first) && others.iter().any(|name| has(name));
    KINDS.iter().find(|(_, fields)| is_of(fields)).map(|(kind, _)| *kind)
}
