//! Parts of the objects of a case.

use serde_json::Value;

/// The namespace of objects that name none.
pub const NAMESPACE: &str = "default";

/// The annotation with the name of the case of an object.
pub const ANNOTATION: &str = "case";

/// The port of services that no object gives one, and of gateways.
pub const PORT: u16 = 8080;

/// The proxy that a case is compared in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// A gateway
    Gateway,
    /// A sidecar, for requests that its workload sends
    Sidecar,
}

/// Returns the kind of an object.
pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// Returns the namespace of an object.
pub fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE)
}

/// Returns the name of the case of an object.
pub fn case_name(object: &Value) -> &str {
    object["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default()
}

/// The VirtualServices among objects, with delegates.
pub fn virtual_services(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|own| kind(own) == "VirtualService")
}

/// The routes of a VirtualService.
pub fn http_routes(object: &Value) -> impl Iterator<Item = &Value> {
    object["spec"]["http"].as_array().into_iter().flatten()
}

/// The destinations of a VirtualService, also those of copies.
pub fn destinations(object: &Value) -> Vec<&Value> {
    let mut destinations = Vec::new();
    for route in http_routes(object) {
        for list in ["route", "mirrors"] {
            let targets = route[list].as_array().into_iter().flatten();
            destinations.extend(targets.map(|target| &target["destination"]));
        }
        destinations.push(&route["mirror"]);
    }
    destinations
}

/// The destinations of a VirtualService and of its delegates among `objects`, each with the
/// namespace that completes its host.
pub fn all_destinations<'a>(service: &'a Value, objects: &'a [Value]) -> Vec<(&'a str, &'a Value)> {
    let of = |own: &'a Value| {
        destinations(own).into_iter().map(|destination| (namespace(own), destination))
    };
    let mut all: Vec<_> = of(service).collect();
    for name in http_routes(service).map(|route| &route["delegate"]["name"]) {
        let delegates = virtual_services(objects).filter(|own| own["metadata"]["name"] == *name);
        all.extend(delegates.flat_map(of));
    }
    all
}

/// Returns whether proxies of a namespace get an object, by its `exportTo`.
pub fn is_exported(object: &Value, to: &str) -> bool {
    let names = object["spec"]["exportTo"].as_array().filter(|names| !names.is_empty());
    names.is_none_or(|names| {
        let is_it =
            |name: &Value| name == "*" || name == to || (name == "." && namespace(object) == to);
        names.iter().any(is_it)
    })
}

/// Returns the complete name of a host in an object of `namespace`.
pub fn complete(host: &str, namespace: &str) -> String {
    match host.contains('.') || host == "*" {
        true => host.to_owned(),
        false => format!("{host}.{namespace}.svc.cluster.local"),
    }
}
