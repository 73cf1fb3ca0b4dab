//! Hostile input of clients: unusual bytes, sizes and requests, and headers that only the router
//! may set.
//!
//! A trap ends every stream of a worker, so each test finally checks that the module still serves.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Answer, Bootstrap, Client, Envoy, Listener, Response, Upstream, exchange};
use tokio::sync::OnceCell;

#[tokio::test]
async fn values_that_are_not_utf_8_pass_unchanged() {
    let edge = edge().await;
    for value in [&b"\xff"[..], b"cheng\xff", b"\xff\xfe\x80", b"\xe9t\xe9", b"\xed\xa0\x80"] {
        for name in ["end-user", "cookie", "x-regex", "x-prefix", "x-set", "x-removed", "x-other"] {
            let path = format!("/bytes/{name}/{}", value.len());
            let response = edge.get(&path).header(name, value).send().await;
            assert_eq!(response.upstream(), "v1", "{name}: {value:?}");
            let received = edge.v1.received(&path).pop().expect("a request");
            if name.starts_with("x-") && name != "x-other" {
                continue; // The rules may change these.
            }
            assert_eq!(received.headers[name].as_bytes(), value, "{name}");
        }
        let response = edge.client().http2().get("/bytes/h2").header("end-user", value);
        assert_eq!(response.send().await.upstream(), "v1", "{value:?}");
    }
    edge.still_serves().await;
}

#[tokio::test]
async fn a_path_may_have_any_byte() {
    let edge = edge().await;
    for path in [
        &b"/\xff"[..],
        b"/%ff%00%zz%",
        b"/a?q=\xff&\xff=v1",
        b"/?",
        b"/?&=&&==&q",
        b"/a#b?q=v1",
        b"//x//",
        b"/..",
    ] {
        edge.raw(&[b"GET ", path, b" HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n"])
            .await;
    }
    edge.still_serves().await;
}

#[tokio::test]
async fn a_value_of_64_kilobytes_is_matched_like_any_other() {
    let edge = edge().await;
    let large = "a".repeat(64 * 1024);
    for (name, value, version) in [
        ("end-user", large.clone(), "v1"),
        ("x-regex", large.clone() + "b", "v2"),
        ("x-regex", large.clone() + "c", "v1"),
        ("x-prefix", "p".to_owned() + &large, "v2"),
        ("cookie", format!("uid={large}"), "v1"),
        ("x-other", large.clone(), "v1"),
    ] {
        let response = edge.get("/").header(name, &value).send().await;
        assert_eq!(response.upstream(), version, "{name} with {} bytes", value.len());
    }
    edge.still_serves().await;
}

#[tokio::test]
async fn a_path_of_60_kilobytes_is_matched_like_any_other() {
    let edge = edge().await;
    let long = "x/".repeat(15_000);
    let parameters = "p=1&".repeat(8_000);
    for (path, version) in [
        (format!("/{long}"), "v1"),
        (format!("/rewrite/{long}"), "v1"),
        (format!("/?{parameters}"), "v1"),
        (format!("/?{parameters}q=v7"), "v2"),
    ] {
        let response = edge.get(&path).send().await;
        assert_eq!(response.upstream(), version, "{}...", &path[..20]);
    }
    edge.still_serves().await;
}

/// Envoy joins repeated headers with commas before it matches, so a second value prevents a match
/// of the first one.
#[tokio::test]
async fn repeated_headers_are_matched_as_one() {
    let edge = edge().await;
    let twice = edge.get("/").header("end-user", "cheng").header("end-user", "jim").send().await;
    assert_eq!(twice.upstream(), "v1");

    let mut many = edge.get("/many");
    for number in 0..100 {
        many = many.header("end-user", "cheng").header(&format!("x-{number}"), "1");
    }
    assert_eq!(many.send().await.upstream(), "v1");
    assert_eq!(edge.v1.received("/many")[0].header("x-99"), ["1"]);
    edge.still_serves().await;
}

#[tokio::test]
async fn values_may_be_empty() {
    let edge = edge().await;
    for name in ["end-user", "cookie", "x-regex", "x-prefix", "x-other"] {
        let response = edge.get("/").header(name, "").send().await;
        assert_eq!(response.upstream(), "v1", "{name}");
    }
    let presence = edge.get("/").header("x-present", "").send().await;
    assert_eq!(presence.upstream(), "v2", "a header without a value is present");
    edge.still_serves().await;
}

#[tokio::test]
async fn names_may_have_every_character_that_http_allows() {
    let edge = edge().await;
    let long = "n".repeat(10_000);
    for name in ["!#$%&'*+-.^_`|~", "x_under_score", "0", "X-UPPER", &long] {
        let request = format!(
            "GET /names HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n{name}: 1\r\n\r\n"
        );
        edge.raw(&[request.as_bytes()]).await;
    }
    for line in
        [&b"bad name: 1"[..], b": 1", b"x\0y: 1", b"x: \0", b"no colon", b" folded: 1", b"x\xff: 1"]
    {
        let head = "GET /names HTTP/1.1\r\nhost: example.com\r\nx-first: 1\r\n";
        edge.raw(&[head.as_bytes(), line, b"\r\nconnection: close\r\n\r\n"]).await;
    }
    edge.still_serves().await;
}

#[tokio::test]
async fn requests_without_an_ordinary_path_or_host_do_no_harm() {
    let edge = edge().await;
    for request in [
        "OPTIONS * HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\nconnection: close\r\n\r\n",
        "CONNECT * HTTP/1.1\r\nhost: *\r\n\r\n",
        "GET http://other.example.com/absolute HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
        "get / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n",
        "BREW / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n",
        "\r\n\r\n\r\nGET\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frame, this is just text of some length\r\n\r\n",
    ] {
        // A forwarded CONNECT stays open, so the test waits only briefly for these.
        let answer = exchange(edge.client().address(), request.as_bytes());
        let _ = tokio::time::timeout(Duration::from_millis(500), answer).await;
    }
    edge.still_serves().await;
}

#[tokio::test]
async fn hosts_may_be_anything() {
    let edge = edge().await;
    let long = "h".repeat(5_000);
    for host in [
        "example.com:99999",
        "[::1]:80",
        "[::1",
        ":80",
        ":",
        "a..b",
        ".",
        "*",
        "-",
        "x\u{ff}",
        "%00",
        &long,
    ] {
        let head = format!("GET /hosts HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        edge.raw(&[head.as_bytes()]).await;
    }
    edge.still_serves().await;
}

/// Only the router may set the header that selects the cluster.
#[tokio::test]
async fn a_client_cannot_choose_the_cluster() {
    let edge = edge().await;
    for lines in [
        "x-sluice-cluster: secret",
        "x-sluice-cluster: secret\r\nx-sluice-cluster: secret",
        "X-Sluice-Cluster: secret",
        "x-sluice-cluster:\r\nX-SLUICE-CLUSTER: secret",
    ] {
        let head = |path: &str| {
            format!(
                "GET {path} HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n{lines}\r\n\r\n"
            )
        };
        let routed = edge.raw(&[head("/steer").as_bytes()]).await;
        assert!(routed.starts_with("HTTP/1.1 200 "), "{lines}: {routed}");
        assert!(routed.contains("x-test-cluster: service-v1\r\n"), "{lines}: {routed}");
        // There is no rule for this host, and the client's header does not replace one.
        let head = head("/steer").replace("example.com", "unknown.test");
        let refused = edge.raw(&[head.as_bytes()]).await;
        assert!(refused.starts_with("HTTP/1.1 404 "), "{lines}: {refused}");
    }
    assert_eq!(edge.secret.received("/").len(), 0);
    for received in edge.v1.received("/steer") {
        assert_eq!(received.header("x-sluice-cluster"), [""; 0]);
    }
    edge.still_serves().await;
}

/// Clients cannot set Envoy's headers for timeouts and retries.
#[tokio::test]
async fn a_client_cannot_set_timeouts_or_retries() {
    let edge = edge().await;
    let headers = [
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-retry-on", "5xx,retriable-status-codes"),
        ("x-envoy-retry-grpc-on", "unavailable"),
        ("x-envoy-max-retries", "7"),
        ("x-envoy-retriable-status-codes", "503"),
    ];
    for (path, copies, status) in
        [("/slow/1", 1, 200), ("/slow/2", 2, 200), ("/failing/1", 1, 503), ("/failing/2", 2, 503)]
    {
        let mut request = edge.get(path);
        for (name, value) in headers {
            for _ in 0..copies {
                request = request.header(name, value);
            }
        }
        let response = request.send().await;
        assert_eq!(response.status, status, "{path}: {}", response.text());
        let received = edge.v1.received(path);
        assert_eq!(received.len(), 1, "{path} was tried {} times", received.len());
        for (name, _) in headers {
            assert_eq!(received[0].header(name), [""; 0], "{name}");
        }
    }
    edge.still_serves().await;
}

/// All tests share one Envoy on purpose: if one test breaks it, all fail.
async fn edge() -> &'static Edge {
    static EDGE: OnceCell<Edge> = OnceCell::const_new();
    EDGE.get_or_init(Edge::start).await
}

/// An Envoy whose rules match all parts of requests, and its upstreams.
struct Edge {
    envoy: Envoy,
    v1: Upstream,
    _v2: Upstream,
    /// An upstream that no rule selects.
    secret: Upstream,
}

impl Edge {
    async fn start() -> Self {
        let v1 = Upstream::answering("v1", |request| {
            let path = request.path.as_str();
            let status = if path.starts_with("/failing") { 503 } else { 200 };
            let delay = Duration::from_millis(if path.starts_with("/slow") { 100 } else { 0 });
            Answer { status, delay, ..Answer::default() }
        });
        let (v2, secret) = (Upstream::echo("v2"), Upstream::echo("secret"));
        let envoy = Envoy::start(
            &Bootstrap::new()
                .listener(
                    Listener::new("edge").plugin(&rules()).max_headers(512, 500).internal_clients(),
                )
                .cluster("service-v1", &[v1.address()])
                .cluster("service-v2", &[v2.address()])
                .cluster("secret", &[secret.address()]),
        )
        .await;
        Self { envoy, v1, _v2: v2, secret }
    }

    fn client(&self) -> Client {
        self.envoy.listener("edge")
    }

    fn get(&self, path: &str) -> sluice_e2e::Request {
        self.client().get(path)
    }

    /// Sends bytes that end the connection, then checks that other requests are still served.
    async fn raw(&self, parts: &[&[u8]]) -> String {
        let address: SocketAddr = self.client().address();
        let answer = exchange(address, &parts.concat()).await;
        assert_eq!(
            self.envoy.traps(),
            [""; 0],
            "after {:?}",
            String::from_utf8_lossy(&parts.concat())
        );
        answer
    }

    async fn still_serves(&self) {
        assert_eq!(self.envoy.traps(), [""; 0]);
        let cheng: Response = self.get("/").header("end-user", "cheng").send().await;
        assert_eq!(cheng.upstream(), "v2");
        assert_eq!(self.get("/").header("end-user", "jim").send().await.upstream(), "v1");
    }
}

fn rules() -> Value {
    let to = |subset: &str| json!([{ "destination": { "host": "service", "subset": subset } }]);
    json!({
        "clusterName": "{host}[-{subset}]",
        "sampling": {
            "key": [{ "header": "end-user" }, { "cookie": "uid" }, { "sourceAddress": true }],
        },
        "virtualServices": [{
            "hosts": ["example.com", "*.example.com"],
            "http": [
                {
                    "match": [{ "headers": { "end-user": { "exact": "cheng" } } }],
                    "route": to("v2"),
                },
                {
                    "match": [
                        { "headers": { "x-regex": { "regex": "a+b" } } },
                        { "headers": { "x-prefix": { "prefix": "p" } } },
                        { "headers": { "x-present": {} }, "withoutHeaders": { "x-block": { "exact": "1" } } },
                        { "queryParams": { "q": { "regex": "v\\d" } } },
                    ],
                    "route": to("v2"),
                },
                {
                    "match": [{ "uri": { "prefix": "/rewrite" } }],
                    "rewrite": {
                        "uriRegexRewrite": { "match": "/rewrite/(.*)", "rewrite": "/\\1" },
                    },
                    "route": to("v1"),
                },
                {
                    "headers": { "request": {
                        "set": { "x-set": "1" }, "add": { "x-added": "1" }, "remove": ["x-removed"],
                    } },
                    // Two destinations, so that a draw by key is necessary; both are v1.
                    "route": [
                        { "destination": { "host": "service", "subset": "v1" }, "weight": 1 },
                        { "destination": { "host": "service-v1" }, "weight": 1 },
                    ],
                },
            ],
        }],
    })
}
