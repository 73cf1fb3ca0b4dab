//! A listener of a test's Envoy.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::address::socket;
use crate::attach::{attached, is_native, native};
use crate::routes::{Mirroring, Routes};
use crate::wasm::wasm;

/// A listener with `router.wasm`, on a free port.
///
/// Its route sends a request to the cluster in `x-sluice-cluster`, without a timeout. It removes
/// that header and adds the response header `x-test-cluster` with the name of the cluster. For its
/// access log, one JSON object per line, see [`Envoy::access_log`](crate::Envoy::access_log).
#[derive(Clone)]
pub struct Listener {
    name: String,
    port: u16,
    first: Vec<Value>,
    egress: Option<String>,
    fault: Option<String>,
    fault_module: Option<String>,
    mirror: Option<String>,
    outlier: Option<String>,
    marker: Option<String>,
    mirroring: Option<Mirroring>,
    envoy_fault: Option<Value>,
    plugin: Option<String>,
    bundle: Option<String>,
    cluster: Option<String>,
    direct_response: bool,
    concurrent_streams: Option<u32>,
    proxy_protocol: bool,
    max_headers: Option<(u32, u32)>,
    stream_idle_timeout: Option<Duration>,
    retry_policy: Option<Value>,
    envoy_routes: Option<Value>,
    normalizes_paths: bool,
    internal_clients: bool,
    claims: Option<Value>,
    tracing: Option<Value>,
    is_native: bool,
}

impl Listener {
    /// Creates a listener without a plugin.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            port: 0,
            first: Vec::new(),
            egress: None,
            fault: None,
            fault_module: None,
            mirror: None,
            outlier: None,
            marker: None,
            mirroring: None,
            envoy_fault: None,
            plugin: None,
            bundle: None,
            cluster: None,
            direct_response: false,
            concurrent_streams: None,
            proxy_protocol: false,
            max_headers: None,
            stream_idle_timeout: None,
            retry_policy: None,
            envoy_routes: None,
            normalizes_paths: false,
            internal_clients: false,
            claims: None,
            tracing: None,
            is_native: is_native(),
        }
    }

    /// Sets the port, instead of a free one.
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Runs the filters in the dynamic module.
    pub fn native(self) -> Self {
        Self { is_native: true, ..self }
    }

    /// Adds a filter in Envoy's format before all others, except for those added in the same way.
    pub fn first(mut self, filter: Value) -> Self {
        self.first.push(filter);
        self
    }

    /// Routes all requests to this cluster, whatever the router filter chooses.
    pub fn cluster(self, cluster: &str) -> Self {
        Self { cluster: Some(cluster.to_owned()), ..self }
    }

    /// Adds the egress filter before the router, with this configuration.
    pub fn egress(self, configuration: &Value) -> Self {
        Self { egress: Some(configuration.to_string()), ..self }
    }

    /// Adds the fault filter before the router, with this configuration.
    pub fn fault(self, configuration: &Value) -> Self {
        Self { fault: Some(configuration.to_string()), ..self }
    }

    /// Runs the fault filter from this module. After a trap, Envoy starts it anew.
    pub fn fault_module(self, module: &Path) -> Self {
        Self { fault_module: module.to_str().map(str::to_owned), ..self }
    }

    /// Adds the mirror filter before the router, with this configuration.
    /// [`mirroring`](Self::mirroring) sets how Envoy makes the copies.
    pub fn mirror(self, configuration: &Value) -> Self {
        Self { mirror: Some(configuration.to_string()), ..self }
    }

    /// Adds the outlier filter after the router, with this configuration, which may require that
    /// the filter ejects hosts. It is always the wasm module.
    pub fn outlier(self, configuration: &Value) -> Self {
        Self { outlier: Some(configuration.to_string()), ..self }
    }

    /// Adds the outlier filter after the router, with a configuration by which Envoy ejects hosts.
    pub fn marker(self, configuration: &Value) -> Self {
        Self { marker: Some(configuration.to_string()), ..self }
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

    /// Adds `sluice.wasm`, which contains the router and the filters before it, with this
    /// configuration.
    pub fn bundle(self, configuration: &Value) -> Self {
        self.bundle_text(&configuration.to_string())
    }

    /// The same with this text as the configuration, which need not be JSON.
    pub fn bundle_text(self, configuration: &str) -> Self {
        Self { bundle: Some(configuration.to_owned()), ..self }
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

    /// Sets the time after which Envoy ends a request on which nothing happens, instead of five
    /// minutes.
    pub fn stream_idle_timeout(self, timeout: Duration) -> Self {
        Self { stream_idle_timeout: Some(timeout), ..self }
    }

    /// Sets a retry policy for Envoy's route, as Istio does.
    pub fn retry_policy(self, retry_policy: Value) -> Self {
        Self { retry_policy: Some(retry_policy), ..self }
    }

    /// Sets the routes in Envoy's format (`RouteConfiguration`), in place of the one that reads the
    /// cluster from a header.
    pub fn envoy_routes(self, routes: Value) -> Self {
        Self { envoy_routes: Some(routes), ..self }
    }

    /// Makes Envoy normalize paths before all filters, as Istio does.
    pub fn normalized_paths(self) -> Self {
        Self { normalizes_paths: true, ..self }
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

    /// Traces requests, as this field of the connection manager says.
    pub fn tracing(self, tracing: Value) -> Self {
        Self { tracing: Some(tracing), ..self }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut listener = json!({
            "name": self.name,
            "address": socket(SocketAddr::from(([127, 0, 0, 1], self.port))),
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

    /// The modules with their configurations, in the order of the filters.
    fn plugins(&self) -> [(&'static str, Option<&str>); 6] {
        let plugins = [
            ("egress", self.egress.as_deref()),
            ("fault", self.fault.as_deref()),
            ("mirror", self.mirror.as_deref()),
            ("router", self.plugin.as_deref()),
            ("sluice", self.bundle.as_deref()),
            ("outlier", self.outlier.as_deref()),
        ];
        if std::env::var_os(BUNDLE).is_none() || !self.can_be_bundled() {
            return plugins;
        }
        plugins.map(|(filter, plugin)| match filter {
            "outlier" => (filter, plugin),
            "sluice" => (filter, self.plugin.as_deref()),
            _ => (filter, None),
        })
    }

    /// Whether `sluice.wasm` does the same as the filters: they have one configuration, and each
    /// part of it has its filter.
    fn can_be_bundled(&self) -> bool {
        let Some(plugin) = &self.plugin else { return false };
        let parts = [
            (&self.egress, "\"outboundTrafficPolicy\""),
            (&self.fault, "\"fault\""),
            (&self.mirror, "\"mirror"),
        ];
        self.fault_module.is_none()
            && parts.into_iter().all(|(filter, part)| match filter {
                Some(own) => own == plugin,
                None => !plugin.contains(part),
            })
    }

    fn connection_manager(&self) -> Value {
        let mut http_filters = self.first.clone();
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
        for (filter, plugin) in self.plugins() {
            http_filters
                .extend(plugin.map(|plugin| attached(filter, &self.name, plugin, self.is_native)));
        }
        http_filters.extend(self.marker.as_ref().map(|configuration| match self.is_native {
            true => native("outlier", configuration),
            false => wasm("outlier", &self.name, configuration),
        }));
        if let Some(module) = &self.fault_module {
            let is_fault = |filter: &&mut Value| filter["name"] == "sluice.fault";
            let fault = http_filters.iter_mut().find(is_fault).expect("the fault filter");
            let plugin = &mut fault["typed_config"]["config"];
            plugin["vm_config"]["code"]["local"]["filename"] = module.as_str().into();
            plugin["failure_policy"] = "FAIL_RELOAD".into();
            plugin["reload_config"] = json!({ "backoff": { "base_interval": "0.1s" } });
        }
        http_filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }));
        let routes = Routes {
            cluster: self.cluster.as_deref(),
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
        if let Some(tracing) = &self.tracing {
            manager["tracing"] = tracing.clone();
        }
        if self.normalizes_paths {
            manager["normalize_path"] = true.into();
        }
        if let Some(routes) = &self.envoy_routes {
            manager["route_config"] = routes.clone();
        }
        if let Some(timeout) = self.stream_idle_timeout {
            manager["stream_idle_timeout"] = format!("{}s", timeout.as_secs_f64()).into();
        }
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

/// Set this variable to run `sluice.wasm` in place of the router and the filters before it,
/// wherever these have the same configuration.
const BUNDLE: &str = "SLUICE_E2E_BUNDLE";

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
                "egress": "%FILTER_STATE(wasm.sluice.egress:PLAIN)%",
                "fault": "%FILTER_STATE(wasm.sluice.fault:PLAIN)%",
                "route": "%ROUTE_NAME%",
            } },
        },
    })
}

/// Returns a free port of the loopback device.
pub(crate) fn loopback() -> Value {
    socket(SocketAddr::from(([127, 0, 0, 1], 0)))
}
