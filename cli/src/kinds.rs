//! Kinds of documents, by their fields.

use crate::tree::Tree;

/// Kinds of objects, with the lists of a plugin document that have their specs.
pub const LISTS: [(&str, &str); 3] = [
    ("VirtualService", "virtualServices"),
    ("DestinationRule", "destinationRules"),
    ("ServiceEntry", "serviceEntries"),
];

/// Fields by which configuration of Envoy is recognized. Plugin documents do not have them.
const ENVOY: [&str; 3] = ["staticResources", "dynamicResources", "resources"];

/// Returns whether a document is configuration of Envoy.
pub fn is_envoy(document: &Tree) -> bool {
    ENVOY.iter().any(|name| document.field(name).is_some())
}

/// The fields that tell what a spec is: all of the first, and one of the second.
type Fields = (&'static str, &'static [&'static str]);

/// Kinds with the fields of their specs, which are also pasted from documentation without an
/// object.
const SPECS: [(&str, Fields); 3] = [
    ("VirtualService", ("hosts", &["http", "tcp", "tls", "gateways"])),
    ("DestinationRule", ("host", &["trafficPolicy", "subsets"])),
    ("ServiceEntry", ("hosts", &["ports", "resolution", "location", "endpoints", "addresses"])),
];

/// The kind of a spec without its object, by its fields.
pub fn kind_of_spec(document: &Tree) -> Option<&'static str> {
    let has = |name: &str| document.field(name).is_some();
    let is_of = |(first, others): &Fields| has(first) && others.iter().any(|name| has(name));
    SPECS.iter().find(|(_, fields)| is_of(fields)).map(|(kind, _)| *kind)
}
