//! The fields of a cluster that istiod writes from a `trafficPolicy` (`applyTrafficPolicy`).

use serde_json::{Value, json};

use super::load_balancer::{self, Balancing};
use super::policy::Policy;
use super::surroundings::Surroundings;
use super::tls::{self, TlsContext};
use crate::render::left_out::LeftOut;
use crate::render::object::Object;
use crate::render::part::{Part, duration_text};

/// Istio's default of `connectTimeout` in the mesh configuration.
const CONNECT_TIMEOUT: &str = "10s";

/// Fields of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterFields {
    /// `connect_timeout`
    pub connect_timeout: String,
    /// Fields of the cluster itself
    pub own: Object,
    /// `HttpProtocolOptions`; empty if the cluster needs none
    pub http: Object,
    /// The protocol of `HttpProtocolOptions`, required if the cluster has these
    pub protocol: Object,
    /// The hash policies of the routes to the cluster
    pub hash_policy: Vec<Value>,
    /// `idle_timeout` of a TCP proxy for the cluster
    pub tcp_idle_timeout: Option<String>,
}

impl ClusterFields {
    /// The fields for a policy. Leaves out what a static Envoy cannot have.
    pub fn new(policy: &Policy<'_>, around: Surroundings<'_>, left_out: &mut LeftOut) -> Self {
        let mut fields = Self { connect_timeout: CONNECT_TIMEOUT.to_owned(), ..Self::default() };
        let is_http2 = fields.apply_connection_pool(policy, around.is_http2);
        let balancing = load_balancer::balancing(policy.load_balancer.as_ref(), around, left_out);
        let Balancing { fields: own, hash_policy } = balancing;
        fields.own.extend(own);
        fields.hash_policy = hash_policy;
        if let Some(tunnel) = &policy.tunnel {
            left_out.add(&tunnel.path, "the rendered listeners do not tunnel connections");
        }
        let tls = policy.tls.as_ref();
        let context = tls.and_then(|tls| tls::context(tls, around, is_http2, left_out));
        let mut socket = None;
        if let Some(TlsContext { socket: own, upstream_http }) = context {
            socket = Some(own);
            if !upstream_http.is_empty() && around.is_for_http {
                fields.http.set("upstream_http_protocol_options", upstream_http);
            }
        }
        if let Some(protocol) = &policy.proxy_protocol {
            socket = Some(with_proxy_protocol(protocol, socket));
        }
        fields.own.set_some("transport_socket", socket);
        fields
    }

    /// Applies `connectionPool` and `retryBudget` (`applyConnectionPool`). Returns whether the
    /// cluster speaks HTTP/2 only.
    fn apply_connection_pool(&mut self, policy: &Policy<'_>, is_http2: bool) -> bool {
        let pool = policy.connection_pool.as_ref();
        let http = pool.and_then(|pool| pool.field("http"));
        let tcp = pool.and_then(|pool| pool.field("tcp"));
        let count = |part: &Option<Part<'_>>, name| part.as_ref().and_then(|own| own.count(name));
        let time = |part: &Option<Part<'_>>, name| {
            part.as_ref().and_then(|own| own.duration(name)).map(duration_text)
        };
        if let Some(timeout) = time(&tcp, "connectTimeout") {
            self.connect_timeout = timeout;
        }
        self.tcp_idle_timeout = time(&tcp, "idleTimeout");
        self.apply_limits(policy, [&http, &tcp].map(Option::as_ref));
        if let Some(keepalive) = tcp.as_ref().and_then(|tcp| tcp.field("tcpKeepalive")) {
            let seconds = |name| keepalive.duration(name).map(|time| time.as_secs());
            let mut own = Object::default();
            own.set_some("keepalive_probes", keepalive.count("probes"));
            own.set_some("keepalive_time", seconds("time"));
            own.set_some("keepalive_interval", seconds("interval"));
            let options = json!({ "tcp_keepalive": Value::from(own) });
            self.own.set("upstream_connection_options", options);
        }
        let mut common = Object::default();
        let idle_timeout = time(&http, "idleTimeout").or_else(|| time(&tcp, "idleTimeout"));
        common.set_some("idle_timeout", idle_timeout);
        common.set_some("max_connection_duration", time(&tcp, "maxConnectionDuration"));
        common.set_some("max_requests_per_connection", count(&http, "maxRequestsPerConnection"));
        if !common.is_empty() {
            self.http.set("common_http_protocol_options", common);
        }
        let uses_client_protocol = http.as_ref().is_some_and(|own| own.flag("useClientProtocol"));
        let upgrade = http.as_ref().and_then(|own| own.text("h2UpgradePolicy"));
        let is_http2 = is_http2 || (upgrade == Some("UPGRADE") && !uses_client_protocol);
        let mut http2 = Object::default();
        http2.set_some("max_concurrent_streams", count(&http, "maxConcurrentStreams"));
        if let Some(keepalive) = http.as_ref().and_then(|own| own.field("http2KeepAlive")) {
            let time = |name| keepalive.duration(name).map(duration_text);
            let fields = json!({ "interval": time("interval"), "timeout": time("timeout") });
            http2.set("connection_keepalive", fields);
        }
        let protocol = match () {
            () if uses_client_protocol => json!({
                "use_downstream_protocol_config":
                    { "http_protocol_options": {}, "http2_protocol_options": {} }
            }),
            () if is_http2 => {
                json!({ "explicit_http_config": { "http2_protocol_options": Value::from(http2) } })
            }
            () => json!({ "explicit_http_config": { "http_protocol_options": {} } }),
        };
        self.protocol = Object::new(protocol);
        if uses_client_protocol || is_http2 {
            self.http.extend(self.protocol.clone());
        }
        is_http2
    }

    /// Applies the limits of the cluster. As in Istio, there are none by default.
    fn apply_limits(&mut self, policy: &Policy<'_>, [http, tcp]: [Option<&Part<'_>>; 2]) {
        let limit = |part: Option<&Part<'_>>, name| {
            part.and_then(|own| own.count(name)).unwrap_or(u64::from(u32::MAX))
        };
        let mut limits = Object::new(json!({
            "max_connections": limit(tcp, "maxConnections"),
            "max_pending_requests": limit(http, "http1MaxPendingRequests"),
            "max_requests": limit(http, "http2MaxRequests"),
            "max_retries": limit(http, "maxRetries"),
        }));
        if let Some(budget) = &policy.retry_budget {
            let mut own = Object::new(json!({
                "budget_percent": { "value": budget.number("percent").unwrap_or(20.0) },
                "min_retry_concurrency": budget.count("minRetryConcurrency").unwrap_or(3),
            }));
            own.set_some("budget_interval", budget.duration("budgetInterval").map(duration_text));
            limits.set("retry_budget", own);
        }
        self.own.set("circuit_breakers", json!({ "thresholds": [Value::from(limits)] }));
    }
}

/// A transport socket that sends the address of the client first (`applyUpstreamProxyProtocol`).
fn with_proxy_protocol(protocol: &Part<'_>, inner: Option<Value>) -> Value {
    const RAW: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
    const PROXY: &str =
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";
    let inner = inner.unwrap_or_else(|| {
        json!({
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": { "@type": format!("type.googleapis.com/{RAW}") },
        })
    });
    json!({
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": {
            "@type": format!("type.googleapis.com/{PROXY}"),
            "config": { "version": protocol.text("version").unwrap_or("V1") },
            "transport_socket": inner,
        },
    })
}
