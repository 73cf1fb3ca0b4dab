//! VirtualServices as Envoy's own configuration, as istiod translates them
//! (`pilot/pkg/networking/core/route/route.go` of Istio 1.30). No code of Sluice is used here.

mod terms;
mod conditions;
mod policies;
mod actions;

use serde_json::{Value, json};

use crate::case::{Case, PORT};
use terms::extension;

/// Response header with the name of the route.
pub const ROUTE: &str = "x-test-route";

/// Response header with Envoy's response flags: `DI` and `FI` for delays and aborts.
pub const FLAGS: &str = "x-test-flags";

/// Envoy's filters that carry out faults and CORS policies, in istiod's order
/// (`listener_builder.go`).
pub fn filters() -> [Value; 2] {
    [("fault", "HTTPFault"), ("cors", "Cors")].map(|(name, kind)| {
        json!({
            "name": format!("envoy.filters.http.{name}"),
            "typed_config": { "@type": extension(name, kind) },
        })
    })
}

/// Returns the `RouteConfiguration` with a virtual host for each case.
pub fn route_configuration(cases: &[Case]) -> Value {
    let virtual_hosts: Vec<_> = cases.iter().map(virtual_host).collect();
    json!({
        "virtual_hosts": virtual_hosts,
        "ignore_port_in_host_matching": true,
        // As if it came from a control plane.
        "validate_clusters": false,
        "max_direct_response_body_size_bytes": 1 << 20,
    })
}

fn virtual_host(case: &Case) -> Value {
    let shown = |name: &str, value: &str| {
        let header = json!({ "key": name, "value": value });
        json!({ "header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" })
    };
    json!({
        "name": crate::case::name(case.number),
        "domains": case.spec["hosts"],
        "routes": case.rules().iter().flat_map(routes).collect::<Vec<_>>(),
        "response_headers_to_add": [shown(ROUTE, "%ROUTE_NAME%"), shown(FLAGS, "%RESPONSE_FLAGS%")],
    })
}

/// One route for each block of conditions.
fn routes(rule: &Value) -> Vec<Value> {
    match rule["match"].as_array() {
        Some(blocks) => {
            let is_for_port = |block: &&Value| block["port"].is_null() || block["port"] == PORT;
            blocks.iter().filter(is_for_port).map(|block| route(rule, block)).collect()
        }
        None => vec![route(rule, &Value::Null)],
    }
}

fn route(rule: &Value, block: &Value) -> Value {
    let name = match (rule["name"].as_str(), block["name"].as_str()) {
        (Some(rule), Some(block)) => format!("{rule}.{block}"),
        (rule, _) => rule.unwrap_or_default().to_owned(),
    };
    let mut route = json!({ "name": name, "match": conditions::route_match(block) });
    let operations = actions::operations(&rule["headers"]);
    operations.write(&mut route);
    if rule["redirect"].is_object() {
        route["redirect"] = actions::redirect(&rule["redirect"]);
    } else if rule["directResponse"].is_object() {
        route["direct_response"] = actions::direct_response(&rule["directResponse"]);
    } else {
        actions::forward(rule, operations, &mut route);
    }
    for (name, policy) in [
        ("envoy.filters.http.fault", policies::fault(&rule["fault"])),
        ("envoy.filters.http.cors", policies::cors(&rule["corsPolicy"])),
    ] {
        if let Some(policy) = policy {
            route["typed_per_filter_config"][name] = policy;
        }
    }
    route
}
