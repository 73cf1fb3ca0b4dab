//! Kinds of documents, by their fields.

use crate::tree::Tree;

/// Kinds of objects, with the lists of a plugin document that have their specs.
pub const LISTS: [(&str, &str); 5] = [
    ("VirtualService", "virtualServices"),
    ("HTTPRoute", "httpRoutes"),
    ("GRPCRoute", "grpcRoutes"),
    ("DestinationRule", "destinationRules"),
    ("ServiceEntry", "serviceEntries"),
];

/// The lists with routes of the Gateway API.
pub const ROUTES: [&str; 2] = ["httpRoutes", "grpcRoutes"];

/// The start of the `apiVersion` of Istio's objects.
pub const ISTIO: &str = "networking.istio.io/";

/// The start of the `apiVersion` of the Gateway API's objects.
pub const GATEWAY_API: &str = "gateway.networking.k8s.io/";

/// The versions of the objects in a list that the filters know. The objects are the same in all of
/// them.
pub fn versions(list: &str) -> &'static [&'static str] {
    match list {
        "httpRoutes" => &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
        "grpcRoutes" => &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"],
        _ => &[
            "networking.istio.io/v1",
            "networking.istio.io/v1beta1",
            "networking.istio.io/v1alpha3",
        ],
    }
}

/// Returns whether a list is of objects with the API group of `version`.
pub fn is_of_group(list: &str, version: &str) -> bool {
    let group = if ROUTES.contains(&list) { GATEWAY_API } else { ISTIO };
    version.starts_with(group)
}

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
const SPECS: [(&str, Fields); 4] = [
    ("HTTPRoute", ("rules", &["hostnames", "parentRefs"])),
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
