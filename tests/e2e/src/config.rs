//! Envoy's configuration for a test.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{Cluster, socket};
use crate::routes::{Mirroring, Routes};
use crate::wasm::wasm;

/// The configuration of an Envoy: listeners, each with its own plugin configuration, and shared
/// clusters.
///
/// A listener costs little, so each case of a table can have its own in one Envoy.
#[derive(Clone)]
pub struct Bootstrap {
    clusters: Vec<Cluster>,
    dynamic_listeners: bool,
    listeners: Vec<Listener>,
    raw_listeners: Vec<Value>,
    node_metadata: Value,
    workers: u32,
}

/// A listener with `router.wasm`, on a free port.
///
/// Its route sends a request to the cluster in `x-sluice-cluster`, without a timeout. It removes
/// that header and adds the response header `x-test-cluster` with the name of the cluster. For its
/// access log, one JSON object per line, see [`Envoy::access_log`](crate::Envoy::access_log).
#[derive(Clone)]
pub struct Listener {
    name: String,
    fault: Option<String>,
    mirror: Option<String>,
    outlier: Option<String>,
    mirroring: Option<Mirroring>,
    envoy_fault: Option<Value>,
    plugin: Option<String>,
    direct_response: bool,
    concurrent_streams: Option<u32>,
    proxy_protocol: bool,
    max_headers: Option<(u32, u32)>,
    retry_policy: Option<Value>,
    internal_clients: bool,
    claims: Option<Value>,
}

/// The event log of Envoy's own outlier detection.
pub(crate) const OUTLIER_EVENTS: &str = "outliers";

/// Returns a configuration of the router: one VirtualService for all hosts with these rules
/// (`http`). Cluster names are `HOST-SUBSET`, or `HOST` if the destination has no subset.
pub fn any_host(http: Value) -> Value {
    json!({
        "clusterName": "{host}[-{subset}]",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": http }],
    })
}

impl Bootstrap {
    /// Creates a configuration without listeners and clusters, with one worker.
    pub fn new() -> Self {
        Self {
            clusters: Vec::new(),
            dynamic_listeners: false,
            listeners: Vec::new(),
            raw_listeners: Vec::new(),
            node_metadata: json!({}),
            workers: 1,
        }
    }

    /// Adds a listener.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Adds a listener in Envoy's format, without an address: it gets a free port. [Dynamic
    /// listeners](Self::dynamic_listeners) do not include it.
    pub fn raw_listener(mut self, mut listener: Value) -> Self {
        listener["address"] = loopback();
        self.raw_listeners.push(listener);
        self
    }

    /// Adds a listener in Envoy's format that is bound to all addresses of this machine, including
    /// all of 127.0.0.0/8.
    pub fn wildcard_listener(mut self, mut listener: Value) -> Self {
        listener["address"] = socket(SocketAddr::from(([0, 0, 0, 0], 0)));
        self.raw_listeners.push(listener);
        self
    }

    /// Adds a cluster. The name may have Istio's form, with bars.
    pub fn cluster(mut self, name: &str, endpoints: &[SocketAddr]) -> Self {
        let (name, endpoints) = (name.to_owned(), endpoints.to_vec());
        self.clusters.push(Cluster { name, endpoints, ..Cluster::default() });
        self
    }

    /// Adds a cluster of one endpoint that speaks HTTP/2, as gRPC servers do.
    pub fn http2_cluster(mut self, name: &str, endpoint: SocketAddr) -> Self {
        self.clusters.push(Cluster {
            name: name.to_owned(),
            endpoints: vec![endpoint],
            http2: true,
            ..Cluster::default()
        });
        self
    }

    /// Adds a filter to the last cluster, as an upstream filter.
    pub fn upstream_plugin(mut self, filter: &str, configuration: &Value) -> Self {
        self.last_cluster().plugin = Some((filter.to_owned(), configuration.to_string()));
        self
    }

    /// Makes the load balancer of the last cluster use the hosts in `x-sluice-host`; without the
    /// header, hosts are used in turn.
    pub fn takes_hosts(mut self) -> Self {
        self.last_cluster().takes_hosts = true;
        self
    }

    /// Adds the outlier filter to the last cluster, and [`takes_hosts`](Self::takes_hosts).
    pub fn outlier_plugin(self, configuration: &Value) -> Self {
        self.takes_hosts().upstream_plugin("outlier", configuration)
    }

    /// Enables Envoy's own outlier detection for the last cluster. Its events are in
    /// [`Envoy::outlier_events`](crate::Envoy::outlier_events).
    pub fn outlier_detection(mut self, settings: Value) -> Self {
        self.last_cluster().outlier_detection = Some(settings);
        self
    }

    fn last_cluster(&mut self) -> &mut Cluster {
        self.clusters.last_mut().expect("a cluster")
    }

    /// Writes the listeners to a file that Envoy watches, for
    /// [`Envoy::update`](crate::Envoy::update).
    pub fn dynamic_listeners(self) -> Self {
        Self { dynamic_listeners: true, ..self }
    }

    /// Sets the metadata of the node, in which Istio stores the labels and the namespace of a
    /// workload.
    pub fn node_metadata(self, node_metadata: Value) -> Self {
        Self { node_metadata, ..self }
    }

    /// Sets the number of worker threads.
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    pub(crate) fn worker_count(&self) -> u32 {
        self.workers
    }

    /// Writes `envoy.json`, and `lds.json` for dynamic listeners, into `directory`.
    pub(crate) fn write(&self, directory: &Path) {
        let clusters: Vec<_> = self.clusters.iter().map(Cluster::to_json).collect();
        let mut bootstrap = json!({
            "node": { "id": "e2e", "cluster": "e2e", "metadata": self.node_metadata },
            "admin": { "address": loopback() },
            "static_resources": { "clusters": clusters },
            "cluster_manager": { "outlier_detection": { "event_log_path": OUTLIER_EVENTS } },
        });
        if self.dynamic_listeners {
            let file = write_listeners(directory, &self.listeners);
            bootstrap["dynamic_resources"] = json!({ "lds_config": {
                "resource_api_version": "V3",
                "path_config_source": { "path": file },
            } });
        } else {
            let listeners = self.listeners.iter().map(Listener::to_json);
            let listeners: Vec<_> = listeners.chain(self.raw_listeners.iter().cloned()).collect();
            bootstrap["static_resources"]["listeners"] = listeners.into();
        }
        std::fs::write(directory.join("envoy.json"), bootstrap.to_string()).unwrap();
    }
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// Creates a listener without a plugin.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            fault: None,
            mirror: None,
            outlier: None,
            mirroring: None,
            envoy_fault: None,
            plugin: None,
            direct_response: false,
            concurrent_streams: None,
            proxy_protocol: false,
            max_headers: None,
            retry_policy: None,
            internal_clients: false,
            claims: None,
        }
    }

    /// Adds the fault filter before the router, with this configuration.
    pub fn fault(self, configuration: &Value) -> Self {
        Self { fault: Some(configuration.to_string()), ..self }
    }

    /// Adds the mirror filter before the router, with this configuration.
    /// [`mirroring`](Self::mirroring) sets how Envoy makes the copies.
    pub fn mirror(self, configuration: &Value) -> Self {
        Self { mirror: Some(configuration.to_string()), ..self }
    }

    /// Adds the outlier filter after the router, with this configuration.
    pub fn outlier(self, configuration: &Value) -> Self {
        Self { outlier: Some(configuration.to_string()), ..self }
    }

    /// Sets how Envoy makes copies of requests.
    pub fn mirroring(self, mirroring: Mirroring) -> Self {
        Self { mirroring: Some(mirroring), ..self }
    }

    /// Adds Envoy's own fault filter before the router, with this configuration (`HTTPFault`).
    pub fn envoy_fault(self, configuration: Value) -> Self {
        Self { envoy_fault: Some(configuration), ..self }
    }

    /// Makes Envoy's route answer every request with 200, so that no cluster is required.
    pub fn direct_response(self) -> Self {
        Self { direct_response: true, ..self }
    }

    /// Sets the maximum number of concurrent streams on an HTTP/2 connection.
    pub fn concurrent_streams(self, concurrent_streams: u32) -> Self {
        Self { concurrent_streams: Some(concurrent_streams), ..self }
    }

    /// Adds the router with this configuration.
    pub fn plugin(self, configuration: &Value) -> Self {
        self.plugin_text(&configuration.to_string())
    }

    /// Adds the router with this text as its configuration, which need not be JSON.
    pub fn plugin_text(self, configuration: &str) -> Self {
        Self { plugin: Some(configuration.to_owned()), ..self }
    }

    /// Accepts an optional PROXY protocol line from clients, with addresses and ports.
    pub fn proxy_protocol(self) -> Self {
        Self { proxy_protocol: true, ..self }
    }

    /// Raises Envoy's limits of the size and number of request headers.
    pub fn max_headers(self, kilobytes: u32, count: u32) -> Self {
        Self { max_headers: Some((kilobytes, count)), ..self }
    }

    /// Sets a retry policy for Envoy's route, as Istio does.
    pub fn retry_policy(self, retry_policy: Value) -> Self {
        Self { retry_policy: Some(retry_policy), ..self }
    }

    /// Treats clients as internal ones, as in a mesh. Envoy removes most `x-envoy-*` headers of
    /// external clients.
    pub fn internal_clients(self) -> Self {
        Self { internal_clients: true, ..self }
    }

    /// Sets the claims of a token in the metadata where Envoy's JWT filter stores verified claims.
    pub fn claims(self, claims: Value) -> Self {
        Self { claims: Some(claims), ..self }
    }

    fn to_json(&self) -> Value {
        let mut listener = json!({
            "name": self.name,
            "address": loopback(),
            "filter_chains": [{ "filters": [self.connection_manager()] }],
        });
        if self.proxy_protocol {
            listener["listener_filters"] = json!([{
                "name": "envoy.filters.listener.proxy_protocol",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
                    "allow_requests_without_proxy_protocol": true,
                },
            }]);
        }
        listener
    }

    fn connection_manager(&self) -> Value {
        let mut http_filters = Vec::new();
        http_filters.extend(self.claims.as_ref().map(|claims| {
            json!({
                "name": "envoy.filters.http.set_metadata",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
                    "metadata": [{
                        "metadata_namespace": "envoy.filters.http.jwt_authn",
                        "value": { "payload": claims },
                    }],
                },
            })
        }));
        http_filters.extend(self.envoy_fault.as_ref().map(|configuration| {
            let mut configuration = configuration.clone();
            configuration["@type"] =
                "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault".into();
            json!({ "name": "envoy.filters.http.fault", "typed_config": configuration })
        }));
        let plugins = [
            ("fault", &self.fault),
            ("mirror", &self.mirror),
            ("router", &self.plugin),
            ("outlier", &self.outlier),
        ];
        for (filter, plugin) in plugins {
            http_filters.extend(plugin.as_deref().map(|plugin| wasm(filter, &self.name, plugin)));
        }
        http_filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }));
        let routes = Routes {
            mirroring: self.mirroring.as_ref(),
            retry_policy: self.retry_policy.as_ref(),
            direct_response: self.direct_response,
        };
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": self.name,
            "access_log": [access_log(&self.name)],
            "http_filters": http_filters,
            "http_protocol_options": { "accept_http_10": true },
            // Time that Envoy waits for the client to close first. A client that reads to the end
            // never does.
            "delayed_close_timeout": "0.05s",
            // Lets CONNECT requests, which have no path, reach the module.
            "upgrade_configs": [{ "upgrade_type": "CONNECT" }],
            "route_config": { "virtual_hosts": [routes.to_json()] },
        });
        if let Some(streams) = self.concurrent_streams {
            manager["http2_protocol_options"] = json!({ "max_concurrent_streams": streams });
        }
        if self.internal_clients {
            manager["use_remote_address"] = true.into();
            let loopback = json!({ "address_prefix": "127.0.0.0", "prefix_len": 8 });
            manager["internal_address_config"] = json!({ "cidr_ranges": [loopback] });
        }
        if let Some((kilobytes, count)) = self.max_headers {
            manager["max_request_headers_kb"] = kilobytes.into();
            manager["common_http_protocol_options"] = json!({ "max_headers_count": count });
        }
        json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager })
    }
}

/// Writes `lds.json`. Envoy reads it when a file is moved there, so it never reads a partial file.
pub(crate) fn write_listeners(directory: &Path, listeners: &[Listener]) -> std::path::PathBuf {
    let resources: Vec<_> = listeners
        .iter()
        .map(|listener| {
            let mut resource = listener.to_json();
            resource["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
            resource
        })
        .collect();
    let (new, file) = (directory.join("lds.json.new"), directory.join("lds.json"));
    std::fs::write(&new, json!({ "resources": resources }).to_string()).unwrap();
    std::fs::rename(&new, &file).unwrap();
    file
}

fn access_log(listener: &str) -> Value {
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": { "json_format": {
                "listener": listener,
                "path": "%REQ(:PATH)%",
                "status": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "cluster": "%UPSTREAM_CLUSTER%",
                "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "decision": "%FILTER_STATE(wasm.sluice.route:PLAIN)%",
                "fault": "%FILTER_STATE(wasm.sluice.fault:PLAIN)%",
                "route": "%ROUTE_NAME%",
            } },
        },
    })
}

fn loopback() -> Value {
    socket(SocketAddr::from(([127, 0, 0, 1], 0)))
}
