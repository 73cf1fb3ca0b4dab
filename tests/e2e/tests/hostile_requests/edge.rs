//! An Envoy with all filters: as single modules, in `sluice.wasm` and in `libsluice.so`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Mirroring, Upstream, native_network, plugin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The ways in which the filters are attached, which are the names of the listeners.
pub const WAYS: [&str; 3] = ["single", "bundle", "native"];

/// The router sets this header, with a value that no client knows. A request without it has not
/// passed the filters.
const MARK: (&str, &str) = ("x-routed", "by-the-filter-5d1f");

/// Headers that only a filter or Envoy may set, with the value that a client would like.
pub const STEERING: [(&str, &str); 14] = [
    ("x-sluice-cluster", "secret"),
    ("x-sluice-mirror-0", "secret"),
    ("x-sluice-mirror-1", "secret"),
    ("x-sluice-mirror-17", "secret"),
    ("x-sluice-host", "127.0.0.1:1"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-retry-grpc-on", "unavailable"),
    ("x-envoy-max-retries", "7"),
    ("x-envoy-retriable-status-codes", "503"),
    ("x-envoy-fault-delay-request", "60000"),
    ("x-envoy-fault-abort-request", "418"),
    ("x-routed", "1"),
];

/// Headers of [`STEERING`] that Envoy obeys without a filter for them. They never arrive.
const FAULT_HEADERS: &str = "x-envoy-fault-";

/// The Envoy and its services.
pub struct Edge {
    pub envoy: Envoy,
    service: Upstream,
    copy: Upstream,
    /// A service that no rule selects
    secret: Upstream,
    /// The connections that a service without a rule has got
    stray: Arc<AtomicUsize>,
}

impl Edge {
    pub async fn start() -> Self {
        let [service, copy, secret] = ["service", "copy", "secret"].map(Upstream::echo);
        let stray = Arc::new(AtomicUsize::new(0));
        let (odd, fallback) = (odd_service().await, counting_service(Arc::clone(&stray)).await);
        let document = document();
        let listener = |name: &str| {
            Listener::new(name)
                .mirroring(Mirroring::ByRoute(vec![vec![(0, "copy")]]))
                .max_headers(96, 200)
                .internal_clients()
                .outlier(&outliers())
        };
        let [single, bundle, native] = WAYS.map(listener);
        let single = single.egress(&document).fault(&document).mirror(&document);
        let envoy = Envoy::start(
            &Bootstrap::new()
                .workers(2)
                .listener(single.plugin(&document))
                .listener(bundle.bundle(&document))
                .listener(native.bundle(&document).native())
                .raw_listener(names("names", plugin("network", "sni", "names", &sni())))
                .raw_listener(names("native-names", native_network("sni", &sni())))
                .cluster("service", &[service.address()])
                .cluster("odd", &[odd])
                .cluster("copy", &[copy.address()])
                .cluster("secret", &[secret.address()])
                .cluster("named", &[service_of_name().await])
                .cluster("fallback", &[fallback]),
        )
        .await;
        Self { envoy, service, copy, secret, stray }
    }

    pub fn address(&self, way: &str) -> SocketAddr {
        self.envoy.listener(way).address()
    }

    /// Asserts that no module has trapped, and that each listener answers and routes.
    pub async fn still_serves(&self, what: &str) {
        assert_eq!(self.envoy.traps(), [""; 0], "{what}");
        let log = self.envoy.log();
        assert!(!log.contains("sluice: panicked"), "{what}: {log}");
        for way in WAYS {
            let client: Client = self.envoy.listener(way);
            let answer = client.get("/served").send().await;
            assert_eq!(answer.upstream(), "service", "{what}: {way}");
            let abort = client.get("/served").header("x-abort", "1").send().await;
            assert_eq!(abort.status, 429, "{what}: {way}");
            let unknown = client.get("/served").host("unknown.example.org").send().await;
            assert_eq!(unknown.status, 502, "{what}: {way}");
        }
    }

    /// Asserts that no client has steered Envoy: no request and no connection is where no rule
    /// sends it, and all requests have passed the filters.
    pub fn is_not_steered(&self) {
        assert_eq!(self.secret.received("").len(), 0);
        assert_eq!(self.stray.load(Ordering::Relaxed), 0);
        for received in [self.service.received(""), self.copy.received("")].concat() {
            assert_eq!(received.header(MARK.0), [MARK.1], "{received:?}");
            for (name, _) in STEERING {
                if name != MARK.0 && !name.starts_with(FAULT_HEADERS) {
                    assert_eq!(received.header(name), [""; 0], "{received:?}");
                }
            }
        }
    }

    /// The numbers of requests that have arrived and of their copies.
    pub fn arrived(&self) -> (usize, usize) {
        (self.service.received("").len(), self.copy.received("").len())
    }
}

fn document() -> Value {
    let rule = |matched: Value, cluster: &str| {
        json!({
            "match": [matched],
            "route": [{ "destination": { "host": cluster } }],
            "headers": { "request": { "set": { MARK.0: MARK.1 } } },
        })
    };
    let header = |name: &str| json!({ "headers": { name: {} } });
    let all = json!({ "value": 100 });
    let mut delay = rule(header("x-delay"), "service");
    delay["fault"] = json!({ "delay": { "fixedDelay": "20ms", "percentage": all } });
    let mut path = rule(json!({ "uri": { "prefix": "/delay" } }), "service");
    path["fault"] = json!({ "delay": { "fixedDelay": "200ms", "percentage": all } });
    let mut abort = rule(header("x-abort"), "service");
    abort["fault"] = json!({ "abort": { "httpStatus": 429, "percentage": all } });
    let mut copy = rule(header("x-copy"), "service");
    copy["mirrors"] = json!([{ "destination": { "host": "copy" } }]);
    let matches = [
        json!({ "headers": { "x-regex": { "regex": "(a+)+b" } } }),
        json!({ "uri": { "regex": "/(x/)*y" } }),
        json!({ "queryParams": { "q": { "regex": "v\\d" } } }),
    ];
    let mut rules = vec![delay, path, abort, copy];
    rules.extend(matches.map(|matched| rule(matched, "service")));
    rules.push(rule(json!({ "uri": { "prefix": "/odd" } }), "odd"));
    rules.push(rule(json!({ "uri": { "prefix": "" } }), "service"));
    json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": rules }],
        "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" },
        "egress": { "port": "authority" },
        "serviceEntries": [{ "hosts": ["example.com"], "ports": [
            { "number": 80, "name": "http", "protocol": "HTTP" },
        ] }],
    })
}

fn outliers() -> Value {
    json!({
        "clusterName": "{host}",
        "destinationRules": [{ "host": "service", "trafficPolicy": {
            "outlierDetection": { "consecutive5xxErrors": 1000 },
        } }],
    })
}

/// A document by which the sni filter sends one name to the cluster `named` and closes all other
/// connections.
fn sni() -> String {
    let document = json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "tls": [{
            "match": [{ "sniHosts": ["recorded.example.com"] }],
            "route": [{ "destination": { "host": "named" } }],
        }] }],
    });
    document.to_string()
}

/// A listener with a network filter.
fn names(name: &str, filter: Value) -> Value {
    let of = |kind: &str, name: &str| {
        format!("type.googleapis.com/envoy.extensions.filters.{kind}.{name}")
    };
    json!({
        "name": name,
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": { "@type": of("listener", "tls_inspector.v3.TlsInspector") },
        }],
        "filter_chains": [{ "filters": [
            filter,
            {
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": of("network", "tcp_proxy.v3.TcpProxy"),
                    "stat_prefix": name,
                    "cluster": "fallback",
                },
            },
        ] }],
    })
}

/// A service that answers the first bytes of a connection with its name.
async fn service_of_name() -> SocketAddr {
    serve(|mut stream| async move {
        let mut bytes = [0; 16_384];
        if let Ok(1..) = stream.read(&mut bytes).await {
            let _ = stream.write_all(b"named").await;
        }
    })
    .await
}

async fn counting_service(count: Arc<AtomicUsize>) -> SocketAddr {
    serve(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    })
    .await
}

/// A service with odd answers, in turn: informational ones before the answer, wrong lengths, and
/// bytes that are no answer.
async fn odd_service() -> SocketAddr {
    const ANSWERS: [&[u8]; 14] = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
          content-length: 2\r\n\r\nok",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\
          content-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
          \r\nbytes",
        b"HTTP/1.1 199 Odd\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
          x-sluice-fault: 1\r\nx-trailer: \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx-bytes: \xff\xfe\r\nx-sluice-failure: 1\r\n\
          x-envoy-overloaded: true\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
        b"no answer at all\r\n\r\n",
        b"",
    ];
    let turn = Arc::new(AtomicUsize::new(0));
    serve(move |mut stream| {
        let answer = ANSWERS[turn.fetch_add(1, Ordering::Relaxed) % ANSWERS.len()];
        async move {
            let mut bytes = [0; 65_536];
            if let Ok(1..) = stream.read(&mut bytes).await {
                let _ = stream.write_all(answer).await;
            }
        }
    })
    .await
}

/// Serves each connection in a task, and then closes it.
async fn serve<T: Future<Output = ()> + Send + 'static>(
    service: impl Fn(tokio::net::TcpStream) -> T + Send + 'static,
) -> SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(service(stream));
        }
    });
    address
}
