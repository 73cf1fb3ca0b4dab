//! Envoy's configuration of a cluster.

use serde_json::{Value, json};

use crate::attach::native;
use crate::endpoints::{Endpoints, file_name};
use crate::wasm::wasm;

/// A round-robin cluster with the given endpoints.
#[derive(Clone, Default)]
pub struct Cluster {
    pub name: String,
    pub endpoints: Endpoints,
    /// Whether Envoy reads the endpoints from a file, which can change.
    pub is_dynamic: bool,
    pub http2: bool,
    pub plugin: Option<(String, String)>,
    /// Whether the plugin is in the dynamic module.
    pub is_native: bool,
    pub takes_hosts: bool,
    /// Settings of the load balancing policy, `RoundRobin`.
    pub round_robin: Option<Value>,
    pub outlier_detection: Option<Value>,
    pub counts_marks: bool,
    /// Further fields in Envoy's format.
    pub settings: Vec<(String, Value)>,
}

impl Cluster {
    pub fn to_json(&self) -> Value {
        let mut cluster = json!({
            "name": self.name,
            "connect_timeout": "1s",
            // Envoy allows three concurrent retries by default, too few for concurrent tests.
            "circuit_breakers": { "thresholds": [{ "max_retries": 1000 }] },
        });
        if self.is_dynamic {
            cluster["type"] = "EDS".into();
            cluster["eds_cluster_config"] = json!({ "eds_config": {
                "resource_api_version": "V3",
                "path_config_source": { "path": format!("./{}", file_name(&self.name)) },
            } });
        } else {
            cluster["type"] = "STATIC".into();
            cluster["load_assignment"] = self.endpoints.to_json(&self.name);
        }
        for (field, value) in &self.settings {
            cluster[field] = value.clone();
        }
        if let Some(settings) = &self.outlier_detection {
            cluster["outlier_detection"] = settings.clone();
        }
        if self.takes_hosts || self.round_robin.is_some() {
            let settings = self.round_robin.clone().unwrap_or_else(|| json!({}));
            let round_robin = load_balancing("round_robin", "RoundRobin", settings);
            cluster["load_balancing_policy"] = if self.takes_hosts {
                let settings = json!({
                    "override_host_sources": [{ "header": "x-sluice-host" }],
                    "fallback_policy": round_robin,
                });
                load_balancing("override_host", "OverrideHost", settings)
            } else {
                round_robin
            };
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
                const MATCH: &str = "http_response_headers_match";
                let header = |header: Value| json!({ MATCH: { "headers": [header] } });
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
                let plugin = match self.is_native {
                    true => native(filter, configuration),
                    false => {
                        let mut plugin = wasm(filter, &self.name, configuration);
                        plugin["typed_config"]["config"]["root_id"] =
                            format!("upstream/{}", self.name).into();
                        plugin
                    }
                };
                options["http_filters"] = json!([plugin, codec]);
            }
            cluster["typed_extension_protocol_options"] = json!({ OPTIONS: options });
        }
        cluster
    }
}

fn load_balancing(name: &str, kind: &str, mut settings: Value) -> Value {
    settings["@type"] =
        format!("type.googleapis.com/envoy.extensions.load_balancing_policies.{name}.v3.{kind}")
            .into();
    let name = format!("envoy.load_balancing_policies.{name}");
    json!({ "policies": [{
        "typed_extension_config": { "name": name, "typed_config": settings },
    }] })
}
