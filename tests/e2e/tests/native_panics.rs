//! Panics in a dynamic module: `sluice-test-panics`, whose filter panics where a request or its
//! document says so, runs before `libsluice.so` in a real Envoy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use serde_json::json;
use sluice_e2e::{
    Bootstrap, Client, Envoy, Listener, Request, Response, Upstream, any_host, native_of,
    test_modules, until,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const PANICS: &str = "wasmcustom.sluice.panics";
const ACTIVE: &str = "wasmcustom.sluice.fault.active_faults";
const REQUESTS: &str = "http.edge.downstream_rq_active";

/// The filter says this if what it keeps of a request is used for another one.
const OTHER_STREAM: &str = "the entry of another stream";

fn module() -> PathBuf {
    let file = test_modules().join("libsluice_test_panics.so");
    assert!(file.exists(), "{} is missing; run `cargo xtask test-module` first", file.display());
    file
}

/// A listener with the filter that panics, and `libsluice.so` after it: a request with the header
/// `x-delay` waits there for a second, and one with `x-abort` gets 429.
fn listener(document: &str) -> Listener {
    let all = json!({ "value": 100 });
    let delay = json!({ "delay": { "fixedDelay": "1s", "percentage": all } });
    let abort = json!({ "abort": { "httpStatus": 429, "percentage": all } });
    let route = json!([{ "destination": { "host": "service" } }]);
    let rules = any_host(json!([
        { "match": [{ "headers": { "x-delay": {} } }], "fault": delay, "route": route },
        { "match": [{ "headers": { "x-abort": {} } }], "fault": abort, "route": route },
        { "route": route },
    ]));
    let panics = native_of(&module(), "panics", document);
    Listener::new("edge").first(panics).bundle(&rules).native()
}

fn bootstrap(document: &str) -> Bootstrap {
    Bootstrap::new().listener(listener(document)).dynamic_listeners().workers(2)
}

async fn start(document: &str) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("service");
    let bootstrap = bootstrap(document).cluster("service", &[upstream.address()]);
    (Envoy::start(&bootstrap).await, upstream)
}

/// Sends a request on a connection of its own. An error is a reset.
async fn send(client: &Client, request: Request) -> Result<Response, String> {
    client.connect().await.try_send(request).await
}

async fn status(client: &Client, request: Request) -> Option<u16> {
    send(client, request).await.ok().map(|response| response.status)
}

/// The number of lines in Envoy's log that say where a hook has panicked.
fn logged(envoy: &Envoy) -> usize {
    let log = envoy.log();
    let lines = log.lines().filter(|line| line.contains("[dynamic_modules]"));
    lines.filter(|line| line.contains("sluice: panicked at tests/panics/src/")).count()
}

#[tokio::test]
async fn a_panic_ends_only_its_own_request() {
    const RESET: Option<u16> = None;
    let (envoy, _upstream) = start("").await;
    let client = envoy.listener("edge");
    let cases = [
        ("request-headers", Some(500)),
        ("request-body", Some(500)),
        // Not the reply of the callback that panics.
        ("reply", Some(500)),
        ("own-response", Some(500)),
        ("tick", Some(500)),
        ("response-headers", Some(500)),
        // The response has begun.
        ("response-body", RESET),
        ("waiting-response", RESET),
        ("response-tick", RESET),
        // The response is over.
        ("log", Some(200)),
        ("end", Some(200)),
    ];
    for (count, (place, expected)) in (1..).zip(cases) {
        let mut waiting = JoinSet::new();
        for _ in 0..8 {
            let (client, request) = (client.clone(), client.get("/").header("x-delay", "1"));
            waiting.spawn(async move { status(&client, request).await });
        }
        let all_wait = async || (envoy.stat(ACTIVE).await == 8).then_some(());
        until("all requests of libsluice.so wait", all_wait).await;

        let path = format!("/{place}");
        let request = client.request(Method::POST, &path).body("body").header("x-panic", place);
        let request = if place == "tick" { request.header("x-wait", "100") } else { request };
        let answered = send(&client, request).await;
        let found = answered.as_ref().ok().map(|response| response.status);
        assert_eq!(found, expected, "{place}: {answered:?}");
        if expected == Some(500) {
            assert_eq!(answered.unwrap().text(), "", "{place}");
            assert_eq!(envoy.access_log(&path).await["details"], "sluice_panic", "{place}");
        }
        let is_counted = async || (envoy.stat(PANICS).await == count).then_some(());
        until(&format!("the panic of {place} is counted"), is_counted).await;
        assert_eq!(logged(&envoy) as u64, count, "{}", envoy.log());

        // Both workers go on.
        for _ in 0..16 {
            assert_eq!(status(&client, client.get("/")).await, Some(200), "after {place}");
        }
        for status in waiting.join_all().await {
            assert_eq!(status, Some(200), "it has waited in libsluice.so during {place}");
        }
        assert_eq!(envoy.stat(PANICS).await, count, "once for {place}");
        assert_eq!(envoy.stat(ACTIVE).await, 0);
    }
}

/// Envoy calls the hook inside of the call by which the other filter replies.
#[tokio::test]
async fn a_panic_in_the_reply_of_another_filter() {
    let (envoy, upstream) = start("").await;
    let client = envoy.listener("edge");
    let aborted = || client.get("/").header("x-abort", "1");
    assert_eq!(status(&client, aborted()).await, Some(429));
    let request = aborted().header("x-panic", "response-headers");
    assert_eq!(status(&client, request).await, Some(500));
    assert_eq!(envoy.stat(PANICS).await, 1);
    assert_eq!(status(&client, aborted()).await, Some(429));
    assert_eq!(status(&client, client.get("/")).await, Some(200));
    assert_eq!(upstream.received("/").len(), 1);
}

async fn grpc_server() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(socket)));
    address
}

#[tokio::test]
async fn a_panic_is_an_error_for_a_grpc_client() {
    let envoy = Envoy::start(&bootstrap("").http2_cluster("service", grpc_server().await)).await;
    let address = envoy.listener("edge").address();
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = channel.connect().await.unwrap();
    let check = async |place: &'static str| {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert("x-panic", place.parse().unwrap());
        request.set_timeout(Duration::from_secs(10));
        let answer = HealthClient::new(channel.clone()).check(request).await;
        answer.map(|answer| answer.into_inner().status).map_err(|status| status.code())
    };
    for (count, place) in (1..).zip(["request-headers", "request-body", "response-headers"]) {
        assert_eq!(check(place).await, Err(Code::Unknown), "{place}");
        assert_eq!(envoy.stat(PANICS).await, count, "{place}");
        assert!(check("").await.is_ok());
    }
    for (count, place) in (4..).zip(["response-body", "response-trailers"]) {
        assert!(check(place).await.is_err(), "{place}: the response has no end");
        assert_eq!(envoy.stat(PANICS).await, count, "{place}");
        assert!(check("").await.is_ok());
    }
}

/// A tick continues several streams, and the number of a stream is used again.
#[tokio::test]
async fn panics_at_the_end_of_a_wait_end_the_right_requests() {
    let (envoy, _upstream) = start("").await;
    let client = envoy.listener("edge").http2();
    for number in 1..=4 {
        // This one leaves while it waits, and the callback panics that ends it. Its entry is due
        // when all the others wait.
        let leaving = client.get("/left").header("x-panic", "end").header("x-wait", "1000");
        let leaving = leaving.header("x-number", format!("left {number}"));
        let leaving = tokio::spawn({
            let client = client.clone();
            async move { send(&client, leaving).await }
        });
        let waits = async || (envoy.stat(REQUESTS).await == 1).then_some(());
        until("it waits", waits).await;
        leaving.abort();
        let has_left = async || (envoy.stat(PANICS).await == number).then_some(());
        until("it has left", has_left).await;
    }
    let mut requests = JoinSet::new();
    for number in 0..400 {
        let place = if number % 2 == 0 { "tick" } else { "" };
        let request = client.get("/").header("x-panic", place).header("x-wait", "1500");
        let request = request.header("x-number", number.to_string());
        let client = client.clone();
        requests.spawn(async move { (number, send(&client, request).await) });
    }
    for (number, answered) in requests.join_all().await {
        let response = answered.unwrap_or_else(|error| panic!("{number}: {error}"));
        let expected = if number % 2 == 0 { 500 } else { 200 };
        assert_eq!(response.status, expected, "{number}");
        assert!(response.elapsed >= Duration::from_millis(1500), "{number}: {response:?}");
    }
    assert_eq!(envoy.stat(PANICS).await, 204);
    assert!(!envoy.log().contains(OTHER_STREAM), "{}", envoy.log());
}

#[tokio::test]
async fn hundreds_of_panics_at_once_cost_no_memory() {
    const PLACES: [&str; 8] = [
        "request-headers",
        "request-body",
        "reply",
        "own-response",
        "tick",
        "response-headers",
        "waiting-response",
        "end",
    ];
    const AT_ONCE: usize = 200;
    const ROUNDS: usize = 40;
    let (envoy, _upstream) = start("").await;
    let client = envoy.listener("edge");
    let round = async || {
        let mut requests = JoinSet::new();
        for number in 0..2 * AT_ONCE {
            let (client, place) = (client.clone(), PLACES[number / 2 % PLACES.len()]);
            requests.spawn(async move {
                let request = client.request(Method::POST, "/").body("body").header("x-wait", "50");
                let request = request.header("x-number", number.to_string());
                match number % 2 {
                    0 => {
                        let _ = send(&client, request.header("x-panic", place)).await;
                    }
                    _ => assert_eq!(status(&client, request).await, Some(200), "beside {place}"),
                }
            });
        }
        requests.join_all().await;
        envoy.resident_memory() >> 10
    };
    // Connections and the allocator of Envoy take memory at first.
    let mut memory = Vec::new();
    for _ in 0..ROUNDS {
        memory.push(round().await);
    }
    let is_counted = async || (envoy.stat(PANICS).await == (ROUNDS * AT_ONCE) as u64).then_some(());
    until("all panics are counted", is_counted).await;
    assert!(!envoy.log().contains(OTHER_STREAM), "{}", envoy.log());
    let (first, last) = (memory[ROUNDS / 2 - 1], memory[ROUNDS - 1]);
    // A leak of 1 KiB for each panic would be 4,000 KiB.
    assert!(last < first + 3000, "KiB after each round: {memory:?}");
}

#[tokio::test]
async fn a_panic_refuses_the_configuration() {
    let (envoy, _upstream) = start("").await;
    let client = envoy.listener("edge");
    for place in ["compile", "main"] {
        assert!(!envoy.update(&[listener(place)]).await, "{place}");
        let log = envoy.log();
        assert!(log.contains(&format!("the document says so: {place}")), "{log}");
        for _ in 0..8 {
            assert_eq!(status(&client, client.get("/")).await, Some(200), "the old one stays");
        }
    }
    assert!(envoy.update(&[listener("another")]).await, "{}", envoy.log());
    assert_eq!(status(&client, client.get("/")).await, Some(200));
    assert_eq!(envoy.stat(PANICS).await, 0, "no request has panicked");

    let refused = Envoy::try_start(&Bootstrap::new().listener(listener("compile"))).await;
    let log = refused.err().expect("Envoy does not start").log;
    assert!(log.contains("the document says so: compile"), "{log}");
}

/// A panic while the filter of a worker or of a stream is made.
#[tokio::test]
async fn no_request_passes_without_its_filter() {
    for place in ["worker", "stream"] {
        let (envoy, upstream) = start(place).await;
        let client = envoy.listener("edge");
        for count in 1..=8 {
            assert_eq!(status(&client, client.get("/")).await, Some(500), "{place}");
            assert_eq!(envoy.stat(PANICS).await, count, "{place}");
        }
        assert_eq!(envoy.access_log("/").await["details"], "sluice_panic");
        assert_eq!(upstream.received("/").len(), 0);
        assert!(envoy.update(&[listener("")]).await, "{}", envoy.log());
        let is_mended =
            async || (status(&client, client.get("/")).await == Some(200)).then_some(());
        until("the new document applies", is_mended).await;
    }
}
