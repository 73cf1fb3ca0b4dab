//! Envoys in which each plugin lacks another host call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use sluice_e2e::{Envoy, capabilities, host_calls, plugin};
use tempfile::TempDir;

/// A plugin that is denied one host call, or none.
pub struct Variant {
    /// The call, or `all`: the name of its listener
    pub name: &'static str,
    /// Its number in the Envoy, from 0
    number: usize,
    /// The module
    pub module: &'static str,
}

/// The plugin with all of its host calls.
pub const ALL: &str = "all";

/// The variants of a module: one with all host calls that it imports, and for each call one without
/// it.
pub fn of(module: &'static str) -> Vec<Variant> {
    let calls = host_calls(module).expect("a module of dist/");
    let names = std::iter::once(ALL).chain(calls).enumerate();
    names.map(|(number, name)| Variant { name, number, module }).collect()
}

impl Variant {
    /// The plugin with a document, which has a VirtualService, as a filter of the kind `http` or
    /// `network`. It has a VM of its own: plugins that share a VM share the list of the first one.
    pub fn plugin(&self, kind: &str, root: &str, document: &Value) -> Value {
        let mut document = document.clone();
        // Every filter logs a notice about this field.
        document["virtualServices"][0]["exportTo"] = json!(["elsewhere"]);
        let mut filter = plugin(kind, self.module, self.name, &document.to_string());
        let config = &mut filter["typed_config"]["config"];
        config["root_id"] = root.into();
        config["vm_config"]["vm_id"] = self.name.into();
        let calls = host_calls(self.module).expect("a module of dist/");
        config["capability_restriction_config"] =
            capabilities(calls.filter(|call| *call != self.name));
        filter
    }

    /// How often the variant has logged the notice about the document's `exportTo`.
    pub fn notices(&self, log: &str) -> usize {
        let lines = log.lines().filter(|line| line.contains("].exportTo: "));
        lines.filter(|line| line.contains(&format!(" {}: virtualServices", self.name))).count()
    }

    /// An HTTP listener with the name of the variant and this filter. Requests with a path that
    /// begins as in `clusters` go to that cluster, the others to the one in `x-sluice-cluster`.
    pub fn listener(&self, filter: Value, clusters: &[(&str, &str)]) -> Value {
        listener(self.name, manager(filter, clusters))
    }

    /// A TCP listener with this filter, whose name ends with `kind`. Connections go to the cluster
    /// `raw`.
    pub fn tcp_listener(&self, kind: &str, filter: Value) -> Value {
        let name = self.tcp_name(kind);
        let proxy = json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "tcp",
                "cluster": "raw",
                "access_log": [access_log(&name)],
            },
        });
        listener(&name, json!([filter, proxy]))
    }

    /// The name of a TCP listener.
    pub fn tcp_name(&self, kind: &str) -> String {
        format!("{} {kind}", self.name)
    }

    /// The name of a cluster of its own.
    pub fn own(&self, cluster: &str) -> String {
        format!("{cluster}-{}", self.number)
    }
}

/// A listener with these filters, behind the TLS inspector.
pub fn listener(name: &str, filters: Value) -> Value {
    let inspector =
        "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": { "@type": inspector },
        }],
        "filter_chains": [{ "filters": filters }],
    })
}

fn manager(filter: Value, clusters: &[(&str, &str)]) -> Value {
    let any = std::iter::once(("/", None));
    let prefixes = clusters.iter().map(|(prefix, cluster)| (*prefix, Some(*cluster))).chain(any);
    let routes = prefixes.map(|(prefix, cluster)| {
        let mut route = json!({
            "timeout": "0s",
            "request_mirror_policies": [{ "cluster_header": "x-sluice-mirror-0" }],
        });
        match cluster {
            Some(cluster) => route["cluster"] = cluster.into(),
            None => route["cluster_header"] = "x-sluice-cluster".into(),
        }
        json!({ "match": { "prefix": prefix }, "route": route })
    });
    json!([{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "access_log": [access_log("%REQ(:PATH)%")],
            "http_filters": [filter, {
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
            }],
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "request_headers_to_remove": ["x-sluice-cluster"],
                "routes": routes.collect::<Vec<_>>(),
            }] },
        },
    }])
}

/// An access log with the notes that the filters leave, and whether these are declared as text.
fn access_log(path: &str) -> Value {
    let mut format = json!({ "path": path, "details": "%RESPONSE_CODE_DETAILS%" });
    for name in ["egress", "fault", "route", "sni"] {
        let state = format!("wasm.sluice.{name}");
        format[name] = format!("%FILTER_STATE({state}:PLAIN)%").into();
        let is_text = format!("%CEL(type(filter_state['{state}']) == string)%");
        format[format!("{name} is text")] = is_text.into();
    }
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": { "json_format": format },
        },
    })
}

/// A cluster with these hosts.
pub fn cluster(name: &str, hosts: &[SocketAddr]) -> Value {
    let endpoint = |host: &SocketAddr| {
        json!({ "endpoint": { "address": { "socket_address": {
            "address": host.ip(), "port_value": host.port(),
        } } } })
    };
    json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": hosts.iter().map(endpoint).collect::<Vec<_>>() }],
        },
    })
}

/// The cluster with a filter of attempts, and a load balancer that reads the hosts of a request.
pub fn with_filter(mut cluster: Value, filter: Value) -> Value {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let policy = |name: &str, kind: &str, mut settings: Value| {
        let package = "type.googleapis.com/envoy.extensions.load_balancing_policies";
        settings["@type"] = format!("{package}.{name}.v3.{kind}").into();
        let name = format!("envoy.load_balancing_policies.{name}");
        json!({ "policies": [{ "typed_extension_config": {
            "name": name, "typed_config": settings,
        } }] })
    };
    let settings = json!({
        "override_host_sources": [{ "header": "x-sluice-host" }],
        "fallback_policy": policy("round_robin", "RoundRobin", json!({})),
    });
    cluster["load_balancing_policy"] = policy("override_host", "OverrideHost", settings);
    let codec = json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
        },
    });
    cluster["typed_extension_protocol_options"] = json!({ OPTIONS: {
        "@type": format!("type.googleapis.com/{OPTIONS}"),
        "explicit_http_config": { "http_protocol_options": {} },
        "http_filters": [filter, codec],
    } });
    cluster
}

/// Starts an Envoy with these listeners and clusters. It reads them from files, and starts without
/// those that it refuses.
pub async fn start(listeners: Vec<Value>, clusters: Vec<Value>) -> (Envoy, TempDir) {
    let directory = TempDir::new().unwrap();
    let source = |name: &str, resources: Vec<Value>| {
        let path = directory.path().join(name);
        write(&path, &json!({ "resources": resources }));
        json!({ "resource_api_version": "V3", "path_config_source": { "path": path } })
    };
    let configuration = json!({
        "node": { "id": "e2e", "cluster": "e2e", "metadata": { "LABELS": { "app": "edge" } } },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        // Then histograms have their values.
        "stats_flush_interval": "0.1s",
        "dynamic_resources": {
            "cds_config": source("cds.json", clusters),
            "lds_config": source("lds.json", listeners),
        },
    });
    (Envoy::of_configuration(&configuration).await, directory)
}

fn write(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

/// The values of all counters and gauges of the modules, and how many values their histograms have.
pub async fn counters(envoy: &Envoy) -> BTreeMap<String, i64> {
    let text = envoy.admin("/stats?filter=^wasmcustom&type=Counters").await.text();
    let gauges = envoy.admin("/stats?filter=^wasmcustom&type=Gauges").await.text();
    let lines = text.lines().chain(gauges.lines()).filter_map(|line| line.split_once(": "));
    let number = |value: &str| value.parse().expect("a number");
    let mut counters: BTreeMap<_, _> =
        lines.map(|(name, value)| (name.to_owned(), number(value))).collect();
    let text = envoy.admin("/stats/prometheus?filter=^wasmcustom").await.text();
    let counts = text.lines().filter_map(|line| line.split_once("_ms_count{} "));
    for (name, value) in counts.filter(|(name, _)| !name.starts_with('#')) {
        // Which of the two it is depends on the load of the machine.
        let name = name.replace("slower", "DIFFERENCE").replace("faster", "DIFFERENCE");
        *counters.entry(name).or_default() += number(value);
    }
    counters
}
