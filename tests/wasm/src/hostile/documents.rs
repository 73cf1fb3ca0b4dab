//! Configurations that use as much of a module as possible.

use serde_json::{Value, json};
use sluice_conformance::documents;

/// Returns valid documents for a module: first the one that the traffic fits, then those with every
/// field.
pub(crate) fn all(module: &str) -> Vec<Value> {
    let own = match module {
        "egress" => vec![json!({
            "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" }, "serviceEntries": services(),
        })],
        "outlier" => ["filter", "envoy"].map(outliers).into(),
        "sni" => vec![json!({
            "clusterName": "{host}",
            "sni": { "innerMustMatchOuter": true, "helloTimeout": "1s" },
            "virtualServices": [{ "hosts": ["*.example.com"], "tls": [{
                "match": [{ "sniHosts": ["shop.example.com"] }],
                "route": [{ "destination": { "host": "reviews" } }],
            }] }],
        })],
        "sluice" => {
            let mut both = requests();
            both["serviceEntries"] = services();
            both["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
            vec![both, requests()]
        }
        _ => vec![requests()],
    };
    own.into_iter().chain(documents::documents().map(|(_, document)| document)).collect()
}

fn services() -> Value {
    json!([{
        "hosts": ["shop.example.com", "host-1.example.com"],
        "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
        "resolution": "DNS",
    }])
}

/// Routes with faults and mirrors.
fn requests() -> Value {
    json!({
        "clusterName": "{host}|{subset}",
        "faults": { "maxActive": 20, "budget": { "faults": 1000, "window": "1s" } },
        "mirroring": { "compare": { "headers": ["content-type"], "bodyHash": true } },
        "sampling": { "key": [{ "header": "end-user" }, { "sourceAddress": true }] },
        "virtualServices": [{ "hosts": ["shop.example.com", "*.example.com"], "http": [
            {
                "match": [{ "headers": { "end-user": { "regex": "user-[0-9]+" } } }],
                "fault": {
                    "delay": { "fixedDelay": "1s", "percentage": { "value": 60 } },
                    "abort": { "httpStatus": 503, "percentage": { "value": 30 } },
                    "reset": { "percentage": { "value": 30 }, "afterBytes": 500 },
                    "responseRateLimit": { "percentage": { "value": 30 }, "limitKbps": 100 },
                },
                "mirror": { "host": "reviews", "subset": "v2" },
                "mirrorPercentage": { "value": 50 },
                "headers": {
                    "request": { "set": { "x-env": "test" }, "remove": ["cookie"] },
                    "response": { "add": { "x-served-by": "reviews" }, "remove": ["server"] },
                },
                "route": [
                    { "destination": { "host": "reviews", "subset": "v1" }, "weight": 90 },
                    { "destination": { "host": "reviews", "subset": "v2" }, "weight": 10 },
                ],
            },
            {
                "match": [{ "uri": { "prefix": "/" } }],
                "rewrite": { "uri": "/other" },
                "timeout": "2s",
                "fault": { "delay": { "fixedDelay": "50ms", "percentage": { "value": 100 } } },
                "mirror": { "host": "ratings" },
                "route": [{ "destination": { "host": "reviews" } }],
            },
        ] }],
    })
}

/// Outlier detection with one of the two enforcements.
fn outliers(enforcement: &str) -> Value {
    json!({
        "clusterName": "{host}",
        "outlier": { "enforcement": enforcement },
        "destinationRules": [{
            "host": "reviews",
            "trafficPolicy": { "outlierDetection": {
                "consecutive5xxErrors": 2, "consecutiveGatewayErrors": 1,
                "interval": "100ms", "baseEjectionTime": "300ms", "maxEjectionPercent": 50,
            } },
        }],
    })
}
