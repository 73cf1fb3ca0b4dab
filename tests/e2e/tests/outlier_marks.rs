//! Failures that the outlier filter marks and Envoy's own outlier detection counts: by the wasm
//! module, or with `ATTACH=native` by the dynamic module.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{
    Answer, Bootstrap, Envoy, Listener, Mirroring, Response, Upstream, is_native, until,
};

/// A host that answers each request with 200 and this header.
fn with_header(name: &str, header: (&'static str, &'static str)) -> Upstream {
    Upstream::answering(name, move |_| Answer { headers: vec![header], ..Answer::default() })
}

/// Envoy's settings, with which three failures eject a host.
fn envoy_settings() -> Value {
    json!({ "consecutive_5xx": 3, "base_ejection_time": "60s", "max_ejection_percent": 100 })
}

fn document(failure: &Value) -> Value {
    json!({ "clusterName": "{host}", "destinationRules": [{
        "host": "pool",
        "trafficPolicy": { "outlierDetection": { "consecutive5xxErrors": 3, "failure": failure } },
    }] })
}

/// An Envoy with a cluster `pool` of these hosts, whose failures are marked.
fn marking(failure: &Value, hosts: &[&Upstream], listener: Listener) -> Bootstrap {
    let addresses: Vec<_> = hosts.iter().map(|host| host.address()).collect();
    Bootstrap::new()
        .cluster("pool", &addresses)
        .marked_outlier_detection(&document(failure), envoy_settings())
        .listener(listener)
}

fn edge() -> Listener {
    Listener::new("edge").cluster("pool")
}

/// Sends 30 requests to these hosts, whose failures are marked, and returns the responses.
async fn send(failure: Value, hosts: &[&Upstream], listener: Listener) -> (Envoy, Vec<Response>) {
    let envoy = Envoy::start(&marking(&failure, hosts, listener)).await;
    let client = envoy.listener("edge");
    let mut connection = client.connect().await;
    let mut responses = Vec::new();
    for number in 0..30 {
        responses.push(connection.send(client.get(&format!("/{number}"))).await);
    }
    assert_quiet(&envoy);
    (envoy, responses)
}

/// Asserts that neither Envoy nor the filter has reported an error.
fn assert_quiet(envoy: &Envoy) {
    assert_eq!(envoy.traps(), [""; 0]);
    let log = envoy.log();
    for error in ["outlier error=", "Unsupported attribute", "sluice_panic"] {
        assert!(!log.contains(error), "{log}");
    }
}

async fn ejected(envoy: &Envoy) -> u64 {
    envoy.stat("cluster.pool.outlier_detection.ejections_active").await
}

fn statuses(responses: &[Response]) -> Vec<u16> {
    responses.iter().map(|response| response.status).collect()
}

#[tokio::test]
async fn envoy_ejects_a_host_whose_successes_are_marked() {
    let (bad, good) = (with_header("bad", ("x-health", "bad")), Upstream::echo("good"));
    let failure = json!({ "headers": { "x-health": { "exact": "bad" } } });
    let (envoy, responses) = send(failure, &[&bad, &good], edge()).await;
    assert_eq!(statuses(&responses), [200; 30]);
    assert_eq!((bad.received("/").len(), good.received("/").len()), (3, 27));
    assert_eq!(ejected(&envoy).await, 1);
    assert_eq!(
        envoy.stat("cluster.pool.outlier_detection.ejections_enforced_consecutive_5xx").await,
        1
    );
}

#[tokio::test]
async fn a_slow_host_is_ejected_and_a_fast_one_is_not() {
    let slow = Upstream::slow("slow", Duration::from_millis(300));
    let fast = Upstream::echo("fast");
    let (envoy, _) = send(json!({ "slowerThan": "150ms" }), &[&slow, &fast], edge()).await;
    assert_eq!((slow.received("/").len(), fast.received("/").len()), (3, 27));
    assert_eq!(ejected(&envoy).await, 1);
}

/// The route of this test's listener leaves the mark in responses, so that the client sees it.
#[tokio::test]
async fn the_value_of_the_mark_is_the_cause() {
    let pool = Upstream::answering("pool", |request| {
        let header = match request.path.as_str() {
            "/header" => vec![("x-health", "bad")],
            "/grpc" => vec![("grpc-status", "14")],
            _ => Vec::new(),
        };
        let status = if request.path == "/status" { 500 } else { 200 };
        let is_slow = request.path.starts_with("/latency");
        let delay = Duration::from_millis(if is_slow { 300 } else { 0 });
        Answer { status, headers: header, delay, ..Answer::default() }
    });
    let failure = json!({
        "headers": { "x-health": { "exact": "bad" } },
        "slowerThan": "150ms",
        "rules": [{
            "match": [{ "uri": { "prefix": "/latency/export" } }],
            "slowerThan": "60s",
        }],
    });
    let envoy = Envoy::start(&marking(&failure, &[&pool], edge())).await;
    let expected = [
        ("/", None),
        ("/grpc", Some("grpc_status")),
        ("/header", Some("header")),
        ("/latency", Some("latency")),
        // The rule for these requests allows more time.
        ("/latency/export", None),
        ("/status", Some("status")),
    ];
    for (path, mark) in expected {
        let response = envoy.listener("edge").get(path).send().await;
        assert_eq!(response.header("x-sluice-failure").as_deref(), mark, "{path}");
    }
    if is_native() {
        // The wasm module defines statistics, all of them 0.
        let stats = envoy.admin("/stats?filter=sluice.outlier").await.text();
        assert_eq!(stats, "", "the statistics are those of Envoy");
    }
    assert_quiet(&envoy);
}

/// Envoy's router reads the mark before it decides about a retry, and removes no header itself.
#[tokio::test]
async fn a_marked_attempt_can_be_retried_and_every_attempt_counts() {
    let (bad, good) = (with_header("bad", ("x-health", "bad")), Upstream::echo("good"));
    let failure = json!({ "headers": { "x-health": {} } });
    let retries = json!({
        "retry_on": "retriable-headers", "num_retries": 2,
        "retriable_headers": [{ "name": "x-sluice-failure", "present_match": true }],
    });
    let (envoy, responses) = send(failure, &[&bad, &good], edge().retry_policy(retries)).await;
    for response in &responses {
        assert_eq!(response.header("x-health"), None, "no client gets a failed attempt");
    }
    assert_eq!((bad.received("/").len(), good.received("/").len()), (3, 30));
    assert_eq!(ejected(&envoy).await, 1);
}

#[tokio::test]
async fn a_mark_that_the_upstream_sets_itself_ejects_nothing() {
    let (forger, good) =
        (with_header("forger", ("x-sluice-failure", "status")), Upstream::echo("good"));
    let (envoy, responses) = send(json!({}), &[&forger, &good], edge()).await;
    assert_eq!((forger.received("/").len(), good.received("/").len()), (15, 15));
    assert_eq!(ejected(&envoy).await, 0);
    for response in &responses {
        assert_eq!(response.header("x-sluice-failure"), None);
    }
}

/// The filter edits the request of an attempt, for which Envoy has chosen the route before.
#[tokio::test]
async fn a_list_of_hosts_from_a_client_does_not_reach_the_host() {
    let pool = Upstream::echo("pool");
    let envoy = Envoy::start(&marking(&json!({}), &[&pool], edge())).await;
    for _ in 0..3 {
        let request = envoy.listener("edge").get("/").header("x-sluice-host", "127.0.0.1:1");
        assert_eq!(request.send().await.status, 200);
    }
    for received in pool.received("/") {
        assert!(!received.headers.contains_key("x-sluice-host"), "{received:?}");
    }
    assert_eq!(pool.received("/").len(), 3);
    assert_quiet(&envoy);
}

/// Envoy sends a mirrored request without a client's connection.
#[tokio::test]
async fn failures_of_mirrored_requests_count() {
    let (original, bad) = (Upstream::echo("original"), with_header("bad", ("x-health", "bad")));
    let listener =
        Listener::new("edge").cluster("original").mirroring(Mirroring::Native("pool", 100));
    let failure = json!({ "headers": { "x-health": { "exact": "bad" } } });
    let bootstrap = marking(&failure, &[&bad], listener).cluster("original", &[original.address()]);
    let envoy = Envoy::start(&bootstrap).await;
    for _ in 0..3 {
        let request = envoy.listener("edge").get("/").header("x-sluice-host", "127.0.0.1:1");
        assert_eq!(request.send().await.status, 200);
    }
    until("the host is ejected", async || (ejected(&envoy).await == 1).then_some(())).await;
    assert_eq!(bad.received("/").len(), 3);
    assert_quiet(&envoy);
}

#[tokio::test]
async fn connections_that_fail_and_clients_that_leave_break_nothing() {
    let closed = Upstream::echo("closed");
    closed.stop().await;
    let slow = Upstream::slow("slow", Duration::from_millis(200));
    let failure = json!({ "slowerThan": "1s" });
    let envoy = Envoy::start(&marking(&failure, &[&closed, &slow], edge())).await;
    for number in 0..8 {
        let client = envoy.listener("edge");
        let request = client.get(&format!("/{number}"));
        let _ = tokio::time::timeout(Duration::from_millis(50), request.send()).await;
    }
    until("all hosts of the first requests are known", async || {
        let response = envoy.listener("edge").get("/then").send().await;
        (response.status == 200 && ejected(&envoy).await == 1).then_some(())
    })
    .await;
    assert_quiet(&envoy);
}

#[tokio::test]
async fn the_filter_has_no_effect_in_a_listener() {
    let host = with_header("host", ("x-health", "bad"));
    let failure = json!({ "headers": { "x-health": { "exact": "bad" } } });
    let bootstrap = Bootstrap::new()
        .workers(2)
        .cluster("pool", &[host.address()])
        .listener(edge().marker(&document(&failure)));
    let envoy = Envoy::start(&bootstrap).await;
    for _ in 0..8 {
        let response = envoy.listener("edge").get("/").send().await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-sluice-failure"), None);
    }
    let log = envoy.log();
    let warned: Vec<_> =
        log.lines().filter(|line| line.contains("has no effect in a listener")).collect();
    assert!(warned.len() == 1 && warned[0].contains("outlier.enforcement: filter"), "{warned:?}");
    assert_quiet(&envoy);
}
