//! `sluice.wasm` against the chain of the modules that it replaces, in real Envoys with the same
//! document: the same answers, requests at the upstreams, log lines and counters.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sluice_e2e::{
    Bootstrap, Client, Envoy, Listener, Mirroring, Received, Request, Upstream, any_host, until,
};
use tokio::task::JoinSet;

/// How early a delay may end: the clock of Envoy's timers has steps of some milliseconds.
const LAG: Duration = Duration::from_millis(10);

const DELAY: Duration = Duration::from_millis(150);

/// An Envoy with one listener that carries out a document.
struct Edge {
    envoy: Envoy,
    primary: Upstream,
    copy: Upstream,
}

impl Edge {
    async fn start(listener: Listener) -> Self {
        let (primary, copy) = (Upstream::echo("primary"), Upstream::echo("copy"));
        let listener = listener.mirroring(Mirroring::ByRoute(vec![vec![(0, "copy")]]));
        let bootstrap = Bootstrap::new()
            .listener(listener)
            .cluster("primary", &[primary.address()])
            .cluster("primary-v2", &[primary.address()])
            .cluster("copy", &[copy.address()]);
        Self { envoy: Envoy::start(&bootstrap).await, primary, copy }
    }

    async fn chain(document: &Value) -> Self {
        let listener = Listener::new("edge").fault(document).mirror(document).plugin(document);
        let has_egress = document.get("outboundTrafficPolicy").is_some();
        Self::start(if has_egress { listener.egress(document) } else { listener }).await
    }

    async fn bundle(document: &Value) -> Self {
        Self::start(Listener::new("edge").bundle(document)).await
    }

    fn client(&self) -> Client {
        self.envoy.listener("edge")
    }

    /// Sends a request, whose path is unique, and returns what can be seen of it.
    async fn see(&self, request: Request, path: &str, is_copied: bool) -> Seen {
        let copies = || self.copy.received("").len();
        let before = copies();
        let response = request.send().await;
        if is_copied {
            until("the copy arrives", async || (copies() > before).then_some(())).await;
        }
        // Envoy logs the path after the rewrite.
        let mut log = self.envoy.access_log(&path.replace("/delay/", "/rewritten/")).await;
        log["listener"].take();
        let mut headers: Vec<String> = response
            .headers
            .iter()
            .filter(|(name, _)| !VARIABLE.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        Seen {
            status: response.status,
            headers,
            body: if response.cluster().is_some() { String::new() } else { response.text() },
            log,
            primary: self.primary.received("").iter().map(shown).collect(),
            copy: self.copy.received("").iter().map(shown).collect(),
        }
    }

    /// The counters that are not zero. Histograms are left out: they have no single number.
    async fn counters(&self) -> BTreeMap<String, u64> {
        let text = self.envoy.admin("/stats?filter=wasmcustom.sluice").await.text();
        let counters = text.lines().filter_map(|line| line.split_once(": "));
        let counters =
            counters.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        counters.filter(|(_, value)| *value > 0).collect()
    }
}

/// Headers whose values differ from request to request.
const VARIABLE: [&str; 5] = [
    "date",
    "content-length",
    "x-request-id",
    "x-envoy-upstream-service-time",
    "transfer-encoding",
];

/// What can be seen of a request and of all before it.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: Vec<String>,
    body: String,
    log: Value,
    primary: Vec<String>,
    copy: Vec<String>,
}

fn shown(received: &Received) -> String {
    let headers = received.headers.iter();
    let headers = headers.filter(|(name, _)| !VARIABLE.contains(&name.as_str()));
    let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    let Received { method, path, host, body, .. } = received;
    format!("{method} {path} {host} {headers:?} {body:?}")
}

fn all() -> Value {
    json!({ "value": 100 })
}

fn to(host: &str) -> Value {
    json!([{ "destination": { "host": host } }])
}

/// A rule for a path with these fields.
fn rule(path: &str, fields: Value) -> Value {
    let mut rule = json!({ "match": [{ "uri": { "prefix": path } }], "route": to("primary") });
    for (name, value) in fields.as_object().expect("fields") {
        if value.is_null() {
            rule.as_object_mut().unwrap().remove(name);
        } else {
            rule[name] = value.clone();
        }
    }
    rule
}

fn document() -> Value {
    let delay = json!({ "fixedDelay": "150ms", "percentage": all() });
    let abort = json!({ "httpStatus": 503, "percentage": all() });
    let copy = json!({ "host": "copy" });
    let headers = json!({
        "request": { "set": { "x-set": "1" }, "remove": ["x-gone"] },
        "response": { "add": { "x-out": "1" } },
    });
    let split = json!([
        { "destination": { "host": "primary" }, "weight": 50 },
        { "destination": { "host": "primary", "subset": "v2" }, "weight": 50 },
    ]);
    let cors = json!({ "allowOrigins": [{ "exact": "https://a.com" }] });
    let mut document = any_host(json!([
        rule("/abort", json!({ "fault": { "abort": abort }, "mirror": copy })),
        rule(
            "/delay-abort",
            json!({ "fault": { "delay": delay, "abort": abort }, "mirror": copy })
        ),
        rule(
            "/delay",
            json!({
                "fault": { "delay": delay }, "mirror": copy, "headers": headers,
                "rewrite": { "uri": "/rewritten", "authority": "rewritten.com" },
            })
        ),
        rule("/mirror", json!({ "mirror": copy, "headers": headers, "corsPolicy": cors })),
        rule("/split", json!({ "route": split })),
        rule("/redirect", json!({ "route": null, "redirect": { "uri": "/elsewhere" } })),
        rule(
            "/respond",
            json!({
                "route": null, "directResponse": { "status": 418, "body": { "string": "teapot" } },
                "headers": { "response": { "add": { "x-out": "1" } } },
            })
        ),
        rule(
            "/reset",
            json!({
                "fault": { "reset": { "afterBytes": 10, "percentage": all() } }, "mirror": copy,
            })
        ),
        rule(
            "/slow",
            json!({
                "fault": { "responseRateLimit": { "limitKbps": 4, "percentage": all() } },
            })
        ),
    ]));
    document["sampling"] = json!({ "key": [{ "header": "user" }] });
    document["faults"] = json!({ "headers": { "delay": all() } });
    document
}

/// A request: its path, its headers, and whether it is copied.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);

const ROWS: [Row<'_>; 16] = [
    ("/abort", &[], false),
    ("/abort/grpc", &[("content-type", "application/grpc")], false),
    ("/delay-abort", &[], false),
    ("/delay/a?b=c", &[("x-gone", "1"), ("x-sluice-mirror-1", "primary")], true),
    ("/mirror", &[("x-gone", "1"), ("x-sluice-mirror-0", "primary")], true),
    ("/mirror/cors", &[("origin", "https://a.com")], true),
    ("/split/a", &[("user", "a"), ("x-sluice-cluster", "copy")], false),
    ("/split/b", &[("user", "b"), ("x-sluice-mirror-0", "copy")], false),
    ("/split/c", &[("user", "c"), ("x-envoy-max-retries", "9")], false),
    ("/redirect", &[], false),
    ("/respond", &[], false),
    ("/none", &[], false),
    ("/none/delayed", &[("x-envoy-fault-delay-request", "20")], false),
    ("/split/delayed", &[("user", "a"), ("x-envoy-fault-delay-request", "20")], false),
    ("/respond/malformed", &[("x-envoy-fault-delay-request", "x")], false),
    ("/slow", &[], false),
];

async fn assert_equal(document: &Value, rows: &[Row<'_>]) {
    let (chain, bundle) = (Edge::chain(document).await, Edge::bundle(document).await);
    for (path, headers, is_copied) in rows {
        let request = |edge: &Edge| {
            let request = edge.client().get(path).host("shop.com");
            headers.iter().fold(request, |request, (name, value)| request.header(name, *value))
        };
        let of_chain = chain.see(request(&chain), path, *is_copied).await;
        let of_bundle = bundle.see(request(&bundle), path, *is_copied).await;
        assert_eq!(of_bundle, of_chain, "{path} {headers:?}");
    }
    assert_eq!(bundle.counters().await, chain.counters().await);
    assert_eq!((bundle.envoy.traps(), chain.envoy.traps()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn one_module_does_what_the_chain_does() {
    assert_equal(&document(), &ROWS).await;
}

#[tokio::test]
async fn egress_comes_first_in_both() {
    let mut document = document();
    document["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
    document["egress"] = json!({ "port": "authority", "blockStatus": 403 });
    document["serviceEntries"] = json!([{
        "hosts": ["shop.com"],
        "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
        "resolution": "DNS",
    }]);
    assert_equal(&document, &ROWS[..6]).await;
    document["serviceEntries"][0]["hosts"] = json!(["other.com"]);
    assert_equal(&document, &[("/abort", &[], false), ("/mirror", &[], false)]).await;
}

#[tokio::test]
async fn a_preflight_is_answered_and_not_copied() {
    let document = document();
    for edge in [Edge::chain(&document).await, Edge::bundle(&document).await] {
        let preflight = edge.client().request(Method::OPTIONS, "/mirror").host("shop.com");
        let preflight = preflight.header("origin", "https://a.com");
        let response = preflight.header("access-control-request-method", "PUT").send().await;
        assert_eq!(response.status, 200);
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed.as_deref(), Some("https://a.com"));
        assert_eq!(edge.counters().await, BTreeMap::from([counter("router.preflight", 1)]));
    }
}

#[tokio::test]
async fn a_response_can_be_reset() {
    let document = document();
    for edge in [Edge::chain(&document).await, Edge::bundle(&document).await] {
        let mut connection = edge.client().connect().await;
        let request = edge.client().get("/reset").host("shop.com");
        assert!(connection.try_send(request).await.is_err());
        until("the copy arrives", async || edge.copy.received("/reset").pop()).await;
        assert_eq!(edge.envoy.access_log("/reset").await["fault"], "reset");
        let expected = [
            counter("fault.active_faults", 0),
            counter("fault.resets_injected", 1),
            counter("mirror.mirrored", 1),
            counter("router.forwarded", 1),
        ];
        let expected: BTreeMap<_, _> = expected.into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(edge.counters().await, expected);
    }
}

fn counter(name: &str, value: u64) -> (String, u64) {
    (format!("wasmcustom.sluice.{name}"), value)
}

/// Delays and the calls of comparisons share the timer of the plugin.
#[tokio::test]
async fn delays_are_precise_while_answers_are_compared() {
    if sluice_e2e::is_left_out("comparisons need a wasm module") {
        return;
    }
    let mut document = document();
    document["mirroring"] = json!({ "compare": { "statuses": true, "timeout": "5s" } });
    let edge = Edge::bundle(&document).await;
    let mut delayed = JoinSet::new();
    let client = edge.client();
    for number in 0..20 {
        for wait in 0..5 {
            let path = format!("/delay/{number}/{wait}");
            delayed.spawn(client.get(&path).host("shop.com").send());
        }
        let response = client.get(&format!("/mirror/{number}")).host("shop.com").send().await;
        assert_eq!(response.status, 200);
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    for response in delayed.join_all().await {
        assert_eq!((response.status, response.upstream().as_str()), (200, "primary"));
        assert!(response.elapsed + LAG >= DELAY, "{:?}", response.elapsed);
    }
    let all = async || {
        let counters = edge.counters().await;
        let count = |name| counters.get(&counter(name, 0).0).copied().unwrap_or_default();
        let compared = count("mirror.compare_match") + count("mirror.compare_mismatch");
        (compared == 120).then(|| count("mirror.compare_match"))
    };
    assert_eq!(until("all answers are compared", all).await, 120);
    assert_eq!(edge.copy.received("").len(), 120);
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

/// Source: the egress filter, which lets no request pass that it knows nothing about.
#[tokio::test]
async fn a_document_with_an_error_is_refused_as_a_whole() {
    let mut document = document();
    document["egress"] = json!({ "blockStatus": 403 });
    let bootstrap = Bootstrap::new()
        .listener(Listener::new("edge").bundle(&document))
        .cluster("primary", &[Upstream::echo("primary").address()]);
    let failure = Envoy::try_start(&bootstrap).await.err().expect("a refusal");
    assert!(failure.log.contains("outboundTrafficPolicy: is required"), "{}", failure.log);
}
