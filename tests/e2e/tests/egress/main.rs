//! The egress filter in a real Envoy, as HTTP filter and as network filter, with curl as TLS
//! client.

mod curl;
mod http;
mod tls;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_e2e::Envoy;

/// A configuration with these entries.
fn registry_only(entries: Value, settings: Value) -> Value {
    json!({
        "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" },
        "serviceEntries": entries,
        "egress": settings,
    })
}

/// An entry for these hosts at port 80 with HTTP and at 443 with TLS.
fn web(hosts: &[&str]) -> Value {
    json!({ "hosts": hosts, "ports": [
        { "number": 80, "name": "http", "protocol": "HTTP" },
        { "number": 443, "name": "tls", "protocol": "TLS" },
    ] })
}

/// The filter as a network filter, or as an HTTP filter. Wasm plugins of both kinds have the same
/// name: with the same document they are one plugin to Envoy.
fn filter(kind: &str, document: &Value) -> Value {
    sluice_e2e::filter(kind, "egress", "egress", &document.to_string())
}

/// A connection manager with these filters and a route for all.
fn connection_manager(filters: Vec<Value>, route: Value) -> Value {
    let mut http_filters = filters;
    http_filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    }));
    let mut routes =
        vec![json!({ "match": { "prefix": "/" } }), json!({ "match": { "connect_matcher": {} } })];
    for matched in &mut routes {
        for (name, value) in route.as_object().unwrap() {
            matched[name] = value.clone();
        }
    }
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "egress",
            "http_filters": http_filters,
            "http_protocol_options": { "accept_http_10": true },
            // Time that Envoy waits for the client to close first.
            "delayed_close_timeout": "0.05s",
            "upgrade_configs": [{ "upgrade_type": "CONNECT" }],
            "access_log": [access_log(json!({
                "path": "%REQ(:PATH)%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "egress": "%FILTER_STATE(wasm.sluice.egress:PLAIN)%",
            }))],
            "route_config": {
                "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
            },
        },
    })
}

fn access_log(format: Value) -> Value {
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": { "json_format": format },
        },
    })
}

fn listener_filter(name: &str, kind: &str, mut settings: Value) -> Value {
    settings["@type"] =
        format!("type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{kind}").into();
    json!({ "name": format!("envoy.filters.listener.{name}"), "typed_config": settings })
}

/// Asserts all counters of the filter; those that are not named are 0.
async fn assert_counts(envoy: &Envoy, expected: &[(&str, u64)]) {
    const NAMES: [&str; 8] = [
        "known",
        "passthrough",
        "reported",
        "address_mismatch",
        "no_name",
        "unknown_address",
        "unknown_name",
        "unknown_port",
    ];
    let mut found = BTreeMap::new();
    for name in NAMES {
        found.insert(name, envoy.stat(&format!("wasmcustom.sluice.egress.{name}")).await);
    }
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    assert!(expected.keys().all(|name| NAMES.contains(name)), "{expected:?}");
    found.retain(|_, count| *count > 0);
    assert_eq!(found, expected);
    assert_eq!(envoy.traps(), [""; 0]);
}
