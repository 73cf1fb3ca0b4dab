//! HTTP listeners without anything else that costs time: no access log, no other filters.

use serde_json::{Value, json};

/// A listener called `edge` with these filters before Envoy's router, and these virtual hosts.
pub fn edge(filters: Vec<Value>, virtual_hosts: Vec<Value>) -> Value {
    let mut filters = filters;
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": extension("http.router.v3.Router") },
    }));
    json!({
        "name": "edge",
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": extension("network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": "edge",
                "http_filters": filters,
                "route_config": { "virtual_hosts": virtual_hosts },
            },
        }] }],
    })
}

/// A virtual host for these domains.
pub fn virtual_host(name: &str, domains: &[&str], routes: Vec<Value>) -> Value {
    json!({ "name": name, "domains": domains, "routes": routes })
}

/// The virtual host that answers every request with 200.
pub fn any() -> Vec<Value> {
    vec![virtual_host("any", &["*"], vec![ok(json!({ "prefix": "/" }))])]
}

/// A route that answers with 200.
pub fn ok(matching: Value) -> Value {
    json!({ "match": matching, "direct_response": { "status": 200 } })
}

/// Envoy's Lua filter with this script.
pub fn lua(script: &str) -> Value {
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": extension("http.lua.v3.Lua"),
            "default_source_code": { "inline_string": script },
        },
    })
}

/// Envoy's fault filter with this configuration (`HTTPFault`).
pub fn native_fault(mut configuration: Value) -> Value {
    configuration["@type"] = extension("http.fault.v3.HTTPFault").into();
    json!({ "name": "envoy.filters.http.fault", "typed_config": configuration })
}

fn extension(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.filters.{name}")
}
