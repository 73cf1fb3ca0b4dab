//! Envoy's configuration of a cluster.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::wasm::wasm;

/// A round-robin cluster with the given endpoints.
#[derive(Clone, Default)]
pub struct Cluster {
    pub name: String,
    pub endpoints: Vec<SocketAddr>,
    pub http2: bool,
    pub plugin: Option<(String, String)>,
    pub takes_hosts: bool,
    pub outlier_detection: Option<Value>,
    pub counts_marks: bool,
}

impl Cluster {
    pub fn to_json(&self) -> Value {
        let endpoints: Vec<_> = self
            .endpoints
            .iter()
            .map(|address| json!({ "endpoint": { "address": socket(*address) } }))
            .collect();
        let mut cluster = json!({
            "name": self.name,
            "type": "STATIC",
            "connect_timeout": "1s",
            // Envoy allows three concurrent retries by default, too few for concurrent tests.
            "circuit_breakers": { "thresholds": [{ "max_retries": 1000 }] },
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{ "lb_endpoints": endpoints }],
            },
        });
        if let Some(settings) = &self.outlier_detection {
            cluster["outlier_detection"] = settings.clone();
        }
        if self.takes_hosts {
            let policy = |name: &str, kind: &str, mut config: Value| {
                config["@type"] = format!(
                    "type.googleapis.com/envoy.extensions.load_balancing_policies.{name}.v3.{kind}"
                )
                .into();
                let name = format!("envoy.load_balancing_policies.{name}");
                json!({ "policies": [{
                    "typed_extension_config": { "name": name, "typed_config": config },
                }] })
            };
            let config = json!({
                "override_host_sources": [{ "header": "x-sluice-host" }],
                "fallback_policy": policy("round_robin", "RoundRobin", json!({})),
            });
            cluster["load_balancing_policy"] = policy("override_host", "OverrideHost", config);
        }
        if self.http2 || self.plugin.is_some() || self.counts_marks {
            const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
            let protocol =
                if self.http2 { "http2_protocol_options" } else { "http_protocol_options" };
            let mut options = json!({
                "@type": format!("type.googleapis.com/{OPTIONS}"),
                "explicit_http_config": { protocol: {} },
            });
            if self.counts_marks {
                let header = |header: Value| json!({ "http_response_headers_match": { "headers": [header] } });
                let marked = header(json!({ "name": "x-sluice-failure", "present_match": true }));
                let server_error = json!({ "safe_regex": { "regex": "5.." } });
                let failed = header(json!({ "name": ":status", "string_match": server_error }));
                options["outlier_detection"] =
                    json!({ "error_matcher": { "or_match": { "rules": [marked, failed] } } });
            }
            if let Some((filter, configuration)) = &self.plugin {
                let codec = json!({
                    "name": "envoy.filters.http.upstream_codec",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
                    },
                });
                let mut plugin = wasm(filter, &self.name, configuration);
                plugin["typed_config"]["config"]["root_id"] = "upstream".into();
                options["http_filters"] = json!([plugin, codec]);
            }
            cluster["typed_extension_protocol_options"] = json!({ OPTIONS: options });
        }
        cluster
    }
}

pub fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}
