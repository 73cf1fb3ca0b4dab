//! Effects of a rule on requests and responses, as observed by the upstream and the client.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sluice_e2e::{Answer, Bootstrap, Client, Envoy, Listener, Received, Upstream, any_host};

#[tokio::test]
async fn failed_attempts_are_retried_as_configured() {
    let edge = Edge::start(json!([
        rule("/none", json!({ "retries": { "attempts": 0 } })),
        rule("/two", json!({ "retries": { "attempts": 2, "retryOn": "5xx" } })),
        rule("/codes", json!({ "retries": { "attempts": 1, "retryOn": "503" } })),
        rule("/other", json!({ "retries": { "attempts": 3, "retryOn": "connect-failure" } })),
        {
            "match": [{ "uri": { "prefix": "/closed" } }],
            "retries": { "attempts": 2 },
            "route": [{ "destination": { "host": "closed" } }],
        },
    ]))
    .await;
    for (path, tries) in [("/none/503", 1), ("/two/503", 3), ("/codes/503", 2), ("/other/503", 1)] {
        assert_eq!(edge.get(path).send().await.status, 503, "{path}");
        assert_eq!(edge.received(path).len(), tries, "{path}");
        assert_eq!(edge.envoy.access_log(path).await["attempts"], tries, "{path}");
    }
    // Without retryOn, connect failures are retried.
    assert_eq!(edge.get("/closed").send().await.status, 503);
    assert_eq!(edge.envoy.access_log("/closed").await["attempts"], 3);
    assert_eq!(edge.get("/two/200").send().await.status, 200);
    assert_eq!(edge.received("/two/200").len(), 1);
}

/// Istio gives its routes a retry policy. The `retries` of a rule override it.
#[tokio::test]
async fn the_retries_of_a_rule_replace_those_of_the_route() {
    let edge = Edge::start_with(
        json!([
            rule("/one", json!({ "retries": { "attempts": 1, "retryOn": "5xx" } })),
            rule("/absent", json!({})),
        ]),
        with_retries,
    )
    .await;
    for (path, tries) in [("/one/503", 2), ("/absent/503", 4)] {
        assert_eq!(edge.get(path).send().await.status, 503, "{path}");
        assert_eq!(edge.received(path).len(), tries, "{path}");
    }
}

/// This includes the retries of the route; Istio's default is two.
#[tokio::test]
async fn no_attempts_means_no_retries_at_all() {
    let rules = json!([rule("/none", json!({ "retries": { "attempts": 0 } }))]);
    let edge = Edge::start_with(rules, with_retries).await;
    assert_eq!(edge.get("/none/503").send().await.status, 503);
    assert_eq!(edge.received("/none").len(), 1);
}

#[tokio::test]
async fn each_attempt_has_its_own_timeout() {
    let edge = Edge::start(json!([rule(
        "/slow",
        json!({
            "timeout": "5s",
            "retries": { "attempts": 2, "perTryTimeout": "0.2s", "retryOn": "5xx" },
        })
    )]))
    .await;
    let response = edge.get("/slow").send().await;
    assert_eq!(response.status, 504, "{}", response.text());
    response.assert_took(Duration::from_millis(600)..Duration::from_secs(5));
    assert_eq!(edge.received("/slow").len(), 3);
}

#[tokio::test]
async fn without_a_timeout_envoy_waits() {
    let edge = Edge::start(json!([
        rule("/slow/short", json!({ "timeout": "200ms" })),
        rule("/slow", json!({})),
    ]))
    .await;
    let (short, long) = tokio::join!(edge.get("/slow/short").send(), edge.get("/slow/long").send());
    assert_eq!((short.status, short.text().as_str()), (504, "upstream request timeout"));
    short.assert_took(Duration::from_millis(200)..Duration::from_secs(2));
    assert_eq!(long.status, 200);
}

#[tokio::test]
async fn a_cluster_that_envoy_does_not_know_is_503() {
    let edge = Edge::start(json!([
        { "route": [{ "destination": { "host": "nobody" } }] },
    ]))
    .await;
    let response = edge.get("/nobody").send().await;
    assert_eq!(response.status, 503);
    assert_eq!(edge.envoy.access_log("/nobody").await["flags"], "NC");
}

#[tokio::test]
async fn headers_are_removed_then_set_then_added() {
    let edge = Edge::start(json!([rule(
        "/",
        json!({ "headers": {
        "request": {
            "set": { "x-set": "new", "x-new": "1" },
            "add": { "x-add": "two" },
            "remove": ["x-gone", "X-Gone-Too"],
        },
        "response": {
            "set": { "server-version": "none", "x-reply": "1" },
            "add": { "x-more": "two" },
            "remove": ["x-secret"],
        },
    } })
    )]))
    .await;
    let request = edge
        .get("/operations")
        .header("x-set", "old")
        .header("x-set", "older")
        .header("x-add", "one")
        .header("x-gone", "1")
        .header("x-gone", "2")
        .header("x-gone-too", "3")
        .header("x-kept", "4");
    let response = request.send().await;

    let received = edge.received("/operations").pop().expect("a request");
    for (name, values) in [
        ("x-set", &["new"][..]),
        ("x-new", &["1"]),
        ("x-add", &["one", "two"]),
        ("x-gone", &[]),
        ("x-gone-too", &[]),
        ("x-kept", &["4"]),
    ] {
        assert_eq!(received.header(name), values, "{name}");
    }
    for (name, value) in [
        ("server-version", Some("none")),
        ("x-reply", Some("1")),
        ("x-more", Some("one,two")),
        ("x-secret", None),
        ("x-kept", Some("4")),
    ] {
        assert_eq!(response.header(name).as_deref(), value, "{name}");
    }
}

/// If the route and the destination set the same header, the route wins, as in Istio with several
/// destinations. With a single destination Istio does the opposite; Sluice does not depend on the
/// number.
#[tokio::test]
async fn a_destination_can_edit_headers() {
    let destination = json!({
        "destination": { "host": "service" },
        "weight": 1,
        "headers": {
            "request": { "set": { "x-by": "destination", "x-own": "1" } },
            "response": { "remove": ["x-secret"], "add": { "x-own": "2" } },
        },
    });
    let route = |prefix: &str, route: Value| {
        let headers = json!({ "request": { "set": { "x-by": "route" } } });
        json!({ "match": [{ "uri": { "prefix": prefix } }], "headers": headers, "route": route })
    };
    let edge = Edge::start(json!([
        route("/one", json!([destination])),
        route("/two", json!([destination, destination])),
    ]))
    .await;
    for path in ["/one", "/two"] {
        let response = edge.get(path).send().await;
        let received = edge.received(path).pop().expect("a request");
        assert_eq!(received.header("x-by"), ["route"], "{path}");
        assert_eq!(received.header("x-own"), ["1"], "{path}");
        assert_eq!(response.header("x-secret"), None, "{path}");
        assert_eq!(response.header("x-own").as_deref(), Some("2"), "{path}");
    }
}

#[tokio::test]
async fn the_path_and_the_host_are_rewritten() {
    let uri = |exact: &str, rewrite: Value| json!({ "match": [{ "uri": { "exact": exact } }], "rewrite": rewrite, "route": service() });
    let edge = Edge::start(json!([
        uri("/exact/path", json!({ "uri": "/whole" })),
        rule("/prefix", json!({ "rewrite": { "uri": "/new" } })),
        rule("/trap/", json!({ "rewrite": { "uri": "/" } })),
        rule(
            "/regex",
            json!({ "rewrite": { "uriRegexRewrite": {
            "match": "/regex/([^/]+)/([^/]+)", "rewrite": "/\\2/\\1",
        } } })
        ),
        rule("/host", json!({ "rewrite": { "authority": "other.example" } })),
    ]))
    .await;
    for (path, received) in [
        ("/exact/path?k=v", "/whole?k=v"),
        ("/prefix", "/new"),
        ("/prefix/a?k=/prefix", "/new/a?k=/prefix"),
        ("/trap/a", "/a"),
        ("/regex/a/b?k=v", "/b/a?k=v"),
        ("/regex/a/b/c", "/b/a/c"),
        ("/host", "/host"),
    ] {
        let response = edge.get(path).send().await;
        assert_eq!(response.json()["path"], received, "{path}");
    }
    assert_eq!(edge.received("/host")[0].header("host"), ["other.example"]);
    assert_eq!(edge.received("/new")[0].header("host"), ["example.com"]);
}

#[tokio::test]
async fn a_redirect_tells_the_client_where_to_go() {
    let redirect = |prefix: &str, redirect: Value| {
        let condition = json!({ "uri": { "prefix": prefix } });
        json!({ "match": [condition], "redirect": redirect })
    };
    let edge = Edge::start(json!([
        redirect("/uri", json!({ "uri": "/new" })),
        redirect("/host", json!({ "authority": "other.example", "redirectCode": 308 })),
        redirect("/scheme", json!({ "scheme": "https" })),
        redirect("/port", json!({ "port": 8443, "scheme": "https" })),
        redirect("/prefix", json!({ "prefixRewrite": "/new", "redirectCode": 302 })),
    ]))
    .await;
    for (path, status, location) in [
        ("/uri/a?k=v", 301, "http://example.com/new?k=v"),
        ("/host/a?k=v", 308, "http://other.example/host/a?k=v"),
        ("/scheme", 301, "https://example.com/scheme"),
        ("/port", 301, "https://example.com:8443/port"),
        ("/prefix/a?k=v", 302, "http://example.com/new/a?k=v"),
    ] {
        let response = edge.get(path).send().await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("location").as_deref(), Some(location), "{path}");
        assert_eq!(response.text(), "", "{path}");
    }
    assert_eq!(edge.received("/").len(), 0);
}

#[tokio::test]
async fn a_direct_response_is_what_the_rule_says() {
    let edge = Edge::start(json!([
        {
            "match": [{ "uri": { "prefix": "/text" } }],
            "directResponse": { "status": 418, "body": { "string": "short and stout" } },
            "headers": { "response": { "set": { "x-reply": "1" } } },
        },
        {
            "match": [{ "uri": { "prefix": "/bytes" } }],
            "directResponse": { "status": 200, "body": { "bytes": "/wD+" } },
        },
        { "directResponse": { "status": 503 } },
    ]))
    .await;
    let text = edge.get("/text").send().await;
    assert_eq!((text.status, text.text().as_str()), (418, "short and stout"));
    assert_eq!(text.header("x-reply").as_deref(), Some("1"));
    let bytes = edge.get("/bytes").send().await;
    assert_eq!((bytes.status, &bytes.body[..]), (200, &b"\xff\x00\xfe"[..]));
    let empty = edge.get("/empty").send().await;
    assert_eq!((empty.status, empty.text().as_str()), (503, ""));
    assert_eq!(edge.received("/").len(), 0);
}

#[tokio::test]
async fn bodies_pass_as_they_are_and_do_not_disturb_replies() {
    let edge = Edge::start(json!([
        { "match": [{ "uri": { "prefix": "/gone" } }], "directResponse": { "status": 410 } },
        rule("/kept", json!({ "headers": { "request": { "set": { "x-set": "1" } } } })),
    ]))
    .await;
    let body = "0123456789".repeat(30_000);
    for client in [edge.client(), edge.client().http2()] {
        let post = |path: &str| client.request(Method::POST, path).body(body.clone());
        let mut connection = client.connect().await;
        assert_eq!(connection.send(post("/kept")).await.json()["body"], body);
        assert_eq!(edge.received("/kept").pop().expect("a request").header("x-set"), ["1"]);
        // Envoy may close a connection after a response to an incomplete request.
        for (path, status) in [("/gone", 410), ("/nowhere", 404)] {
            let mut connection = client.connect().await;
            assert_eq!(connection.send(post(path)).await.status, status, "{path}");
        }
    }
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn cors_headers_name_the_allowed_origin() {
    let edge = Edge::start(json!([rule(
        "/",
        json!({ "corsPolicy": {
        "allowOrigins": [{ "exact": "https://shop.example" }],
        "allowMethods": ["GET", "POST"],
        "allowHeaders": ["x-one", "x-two"],
        "exposeHeaders": ["x-kept"],
        "maxAge": "24h",
        "allowCredentials": true,
    } })
    )]))
    .await;
    let preflight = |path: &str, origin: &str| {
        let request = edge.client().request(Method::OPTIONS, path);
        request.header("origin", origin).header("access-control-request-method", "POST")
    };
    let allowed = preflight("/preflight", "https://shop.example").send().await;
    assert_eq!((allowed.status, allowed.text().as_str()), (200, ""));
    for (name, value) in [
        ("access-control-allow-origin", "https://shop.example"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "x-one,x-two"),
        ("access-control-max-age", "86400"),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(allowed.header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(edge.received("/preflight").len(), 0);

    let request = edge.get("/actual").header("origin", "https://shop.example");
    let actual = request.send().await;
    assert_eq!(actual.status, 200);
    assert_eq!(
        actual.header("access-control-allow-origin").as_deref(),
        Some("https://shop.example")
    );
    assert_eq!(actual.header("access-control-expose-headers").as_deref(), Some("x-kept"));

    // Like Istio, forwards the preflight of an unknown origin without CORS headers.
    let unknown = preflight("/unknown", "https://evil.example").send().await;
    assert_eq!((unknown.status, unknown.header("access-control-allow-origin")), (200, None));
    assert_eq!(edge.received("/unknown").len(), 1);
}

/// An Envoy with these rules and one cluster, `service`. Its upstream takes two seconds below
/// `/slow`, and answers a path that ends in `/503` with that status.
struct Edge {
    envoy: Envoy,
    upstream: Upstream,
}

impl Edge {
    async fn start(http: Value) -> Self {
        Self::start_with(http, |listener| listener).await
    }

    async fn start_with(http: Value, options: impl Fn(Listener) -> Listener) -> Self {
        let upstream = Upstream::answering("service", |request| Answer {
            status: if request.path.ends_with("/503") { 503 } else { 200 },
            delay: Duration::from_secs(if request.path.starts_with("/slow") { 2 } else { 0 }),
            headers: vec![
                ("x-secret", "1"),
                ("x-more", "one"),
                ("x-kept", "4"),
                ("server-version", "7"),
            ],
            ..Answer::default()
        });
        // A port that was free a moment ago, so nothing listens there.
        let closed = Upstream::echo("closed").address();
        let envoy = Envoy::start(
            &Bootstrap::new()
                .cluster("closed", &[closed])
                .listener(options(Listener::new("edge").plugin(&any_host(http))))
                .cluster("service", &[upstream.address()]),
        )
        .await;
        Self { envoy, upstream }
    }

    fn client(&self) -> Client {
        self.envoy.listener("edge")
    }

    fn get(&self, path: &str) -> sluice_e2e::Request {
        self.client().get(path)
    }

    fn received(&self, path: &str) -> Vec<Received> {
        self.upstream.received(path)
    }
}

/// A listener whose route retries a failed request three times.
fn with_retries(listener: Listener) -> Listener {
    listener.retry_policy(json!({ "retry_on": "5xx", "num_retries": 3 }))
}

/// A rule for a prefix of the path, with these fields besides the match and the destination.
fn rule(prefix: &str, fields: Value) -> Value {
    let mut rule = json!({ "match": [{ "uri": { "prefix": prefix } }], "route": service() });
    for (name, value) in fields.as_object().expect("the fields of a rule") {
        rule[name] = value.clone();
    }
    rule
}

fn service() -> Value {
    json!([{ "destination": { "host": "service" } }])
}
