//! The fields of a cluster that istiod writes from a `trafficPolicy` (`applyTrafficPolicy`).

use serde_json::{Map, Value, json};

use super::load_balancer::{self, Balancing};
use super::policy::Policy;
use super::tls::{self, TlsContext};
use crate::render::left_out::LeftOut;
use crate::render::part::{Part, duration_text};

/// Istio's default of `connectTimeout` in the mesh configuration.
const CONNECT_TIMEOUT: &str = "10s";

/// What the fields of a cluster depend on, beside its policy.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Whether the service speaks HTTP/2 only, by the protocol of its port
    pub is_http2: bool,
    /// `subjectAltNames` of the ServiceEntry
    pub subject_alt_names: &'a [String],
    /// The file with the certificate authorities of the system
    pub system_authorities: &'a str,
    /// Whether the outlier filter selects hosts, with a policy of its own for load balancing
    pub filter_selects_hosts: bool,
    /// Whether HTTP requests use the cluster, and not only connections
    pub is_for_http: bool,
}

/// Fields of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterFields {
    /// `connect_timeout`
    pub connect_timeout: String,
    /// Fields of the cluster itself
    pub own: Map<String, Value>,
    /// `HttpProtocolOptions`; empty if the cluster needs none
    pub http: Map<String, Value>,
    /// The protocol of `HttpProtocolOptions`, required if the cluster has these
    pub protocol: Map<String, Value>,
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
        let mut socket = context.map(|TlsContext { socket, upstream_http }| {
            if !upstream_http.is_empty() && around.is_for_http {
                fields
                    .http
                    .insert("upstream_http_protocol_options".to_owned(), upstream_http.into());
            }
            socket
        });
        if let Some(protocol) = &policy.proxy_protocol {
            socket = Some(with_proxy_protocol(protocol, socket));
        }
        fields.own.extend(socket.map(|socket| ("transport_socket".to_owned(), socket)));
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
            let mut fields = Map::new();
            let seconds = |name| keepalive.duration(name).map(|time| time.as_secs());
            for (name, value) in [
                ("keepalive_probes", keepalive.count("probes")),
                ("keepalive_time", seconds("time")),
                ("keepalive_interval", seconds("interval")),
            ] {
                fields.extend(value.map(|value| (name.to_owned(), value.into())));
            }
            let options = json!({ "tcp_keepalive": fields });
            self.own.insert("upstream_connection_options".to_owned(), options);
        }
        let mut common = Map::new();
        for (name, value) in [
            ("idle_timeout", time(&http, "idleTimeout").or_else(|| time(&tcp, "idleTimeout"))),
            ("max_connection_duration", time(&tcp, "maxConnectionDuration")),
        ] {
            common.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        if let Some(number) = count(&http, "maxRequestsPerConnection") {
            common.insert("max_requests_per_connection".to_owned(), number.into());
        }
        if !common.is_empty() {
            self.http.insert("common_http_protocol_options".to_owned(), common.into());
        }
        let uses_client_protocol = http.as_ref().is_some_and(|own| own.flag("useClientProtocol"));
        let upgrade = http.as_ref().and_then(|own| own.text("h2UpgradePolicy"));
        let is_http2 = is_http2 || (upgrade == Some("UPGRADE") && !uses_client_protocol);
        let mut http2 = Map::new();
        if let Some(number) = count(&http, "maxConcurrentStreams") {
            http2.insert("max_concurrent_streams".to_owned(), number.into());
        }
        if let Some(keepalive) = http.as_ref().and_then(|own| own.field("http2KeepAlive")) {
            let time = |name| keepalive.duration(name).map(duration_text);
            let fields = json!({ "interval": time("interval"), "timeout": time("timeout") });
            http2.insert("connection_keepalive".to_owned(), fields);
        }
        let protocol = match () {
            () if uses_client_protocol => json!({
                "use_downstream_protocol_config":
                    { "http_protocol_options": {}, "http2_protocol_options": {} }
            }),
            () if is_http2 => {
                json!({ "explicit_http_config": { "http2_protocol_options": http2 } })
            }
            () => json!({ "explicit_http_config": { "http_protocol_options": {} } }),
        };
        if let Value::Object(protocol) = protocol {
            if uses_client_protocol || is_http2 {
                self.http.extend(protocol.clone());
            }
            self.protocol = protocol;
        }
        is_http2
    }

    /// Applies the limits of the cluster. As in Istio, there are none by default.
    fn apply_limits(&mut self, policy: &Policy<'_>, [http, tcp]: [Option<&Part<'_>>; 2]) {
        let limit = |part: Option<&Part<'_>>, name| {
            part.and_then(|own| own.count(name)).unwrap_or(u64::from(u32::MAX))
        };
        let mut limits = json!({
            "max_connections": limit(tcp, "maxConnections"),
            "max_pending_requests": limit(http, "http1MaxPendingRequests"),
            "max_requests": limit(http, "http2MaxRequests"),
            "max_retries": limit(http, "maxRetries"),
        });
        if let Some(budget) = &policy.retry_budget {
            let mut own = json!({
                "budget_percent": { "value": budget.number("percent").unwrap_or(20.0) },
                "min_retry_concurrency": budget.count("minRetryConcurrency").unwrap_or(3),
            });
            if let Some(interval) = budget.duration("budgetInterval") {
                own["budget_interval"] = duration_text(interval).into();
            }
            limits["retry_budget"] = own;
        }
        self.own.insert("circuit_breakers".to_owned(), json!({ "thresholds": [limits] }));
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
