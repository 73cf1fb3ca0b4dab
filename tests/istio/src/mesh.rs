//! Configuration of istiod for the services of the mesh.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// A document of Istio's configuration.
pub fn document(api: &str, kind: &str, name: &str, namespace: &str, spec: &Value) -> String {
    json!({
        "apiVersion": api,
        "kind": kind,
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
    .to_string()
}

/// A document of `networking.istio.io/v1`.
pub fn networking(kind: &str, name: &str, namespace: &str, spec: &Value) -> String {
    document("networking.istio.io/v1", kind, name, namespace, spec)
}

/// Returns the `number`th loopback address of this process, with a free port.
pub fn address(number: u8, port: u16) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high, low, number], port))
}

/// Returns istiod's name of the listener at an address.
pub fn listener_name(address: SocketAddr) -> String {
    format!("{}_{}", address.ip(), address.port())
}

/// A service `NAME.default.svc.cluster.local` on port 8080 with these endpoints, each with a
/// version, and a DestinationRule with a subset for each version.
pub fn service(name: &str, endpoints: &[(&str, SocketAddr)]) -> [String; 2] {
    service_on(name, &[(8080, "http", "HTTP")], endpoints)
}

/// The same on the ports 8080 and 8081, which have the same endpoints.
pub fn service_on_two_ports(name: &str, endpoints: &[(&str, SocketAddr)]) -> [String; 2] {
    service_on(name, &[(8080, "http", "HTTP"), (8081, "http-other", "HTTP")], endpoints)
}

/// The same with TLS on port 8443.
pub fn tls_service(name: &str, endpoints: &[(&str, SocketAddr)]) -> [String; 2] {
    service_on(name, &[(8443, "tls", "TLS")], endpoints)
}

fn service_on(
    name: &str,
    ports: &[(u16, &str, &str)],
    endpoints: &[(&str, SocketAddr)],
) -> [String; 2] {
    let host = format!("{name}.default.svc.cluster.local");
    let workload = |(version, address): &(&str, SocketAddr)| {
        let target = |(_, name, _): &(u16, &str, &str)| (name.to_string(), address.port().into());
        let targets: serde_json::Map<String, Value> = ports.iter().map(target).collect();
        json!({
            "address": address.ip(),
            "ports": targets,
            "labels": { "app": name, "version": version },
        })
    };
    let port = |(number, name, protocol): &(u16, &str, &str)| {
        let number = *number;
        json!({ "number": number, "name": name, "protocol": protocol })
    };
    let entry = json!({
        "hosts": [host],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
        "endpoints": endpoints.iter().map(workload).collect::<Vec<_>>(),
    });
    let mut versions: Vec<_> = endpoints.iter().map(|(version, _)| *version).collect();
    versions.dedup();
    let subset = |version: &&str| json!({ "name": version, "labels": { "version": version } });
    let rule = json!({
        "host": host,
        "subsets": versions.iter().map(subset).collect::<Vec<_>>(),
    });
    [
        networking("ServiceEntry", name, "default", &entry),
        networking("DestinationRule", name, "default", &rule),
    ]
}

/// An HTTP server of the ingress gateway, for all hosts.
pub fn gateway(name: &str, address: SocketAddr) -> String {
    let spec = json!({
        "selector": { "istio": "ingressgateway" },
        "servers": [{
            "port": { "number": address.port(), "name": format!("http-{}", address.port()), "protocol": "HTTP" },
            "bind": address.ip(),
            "hosts": ["*"],
        }],
    });
    networking("Gateway", name, "default", &spec)
}

/// A plugin configuration in the HTTP filters of all listeners of `context` with this port.
pub fn http_plugin(context: &str, port: u16, filter: &str, configuration: &Value) -> Value {
    json!({
        "applyTo": "HTTP_FILTER",
        "match": {
            "context": context,
            "listener": { "portNumber": port, "filterChain": { "filter": {
                "name": "envoy.filters.network.http_connection_manager",
                "subFilter": { "name": "envoy.filters.http.router" },
            } } },
        },
        "patch": { "operation": "INSERT_BEFORE", "value": {
            "name": format!("sluice.{filter}"),
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": filter,
                    "vm_config": {
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": { "local": { "filename": sluice_e2e::module(filter) } },
                    },
                    "capability_restriction_config":
                        sluice_e2e::capabilities(sluice_e2e::host_calls(filter).expect("a module")),
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.Struct",
                        "value": configuration,
                    },
                },
            },
        } },
    })
}

/// The route of Envoy to the cluster that the router filter names, and to those of as many copies
/// as `mirrors` says.
pub fn steered_route(mirrors: usize) -> Value {
    let mirrors = (0..mirrors).map(|index| {
        json!({
            "cluster_header": format!("x-sluice-mirror-{index}"),
            "disable_shadow_host_suffix_append": true,
        })
    });
    json!({
        "name": "sluice",
        "match": {
            "prefix": "/",
            "headers": [{ "name": "x-sluice-cluster", "present_match": true }],
        },
        "route": {
            "cluster_header": "x-sluice-cluster",
            "timeout": "0s",
            "request_mirror_policies": mirrors.collect::<Vec<_>>(),
        },
    })
}
