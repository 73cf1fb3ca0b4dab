//! Copies that the filter sends itself, to compare the responses.

use std::net::TcpListener;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sluice_e2e::{Answer, Bootstrap, Envoy, Listener, Upstream, until};

use crate::{Edge, assert_copied, bootstrap, mirror_all, to_copy};

/// Envoy sends this header to the upstream if there is a timeout.
const EXPECTED_TIME: &str = "x-envoy-expected-rq-timeout-ms";

fn comparing(fields: Value) -> Value {
    let mut compare = json!({
        "statuses": true,
        "headers": ["x-version", "content-type"],
        "bodyHash": true,
        "timeout": "1s",
    });
    for (name, value) in fields.as_object().expect("fields") {
        compare[name] = value.clone();
    }
    mirror_all(json!({ "compare": compare }))
}

/// Responses by path; the path names the part that differs in the response to the copy.
fn answers(is_copy: bool) -> impl Fn(&sluice_e2e::Received) -> Answer {
    move |received| {
        let differs = |what: &str| is_copy && received.path.contains(what);
        Answer {
            status: if differs("status") { 500 } else { 200 },
            headers: vec![("x-version", if differs("header") { "v2" } else { "v1" })],
            body: Some(if differs("body") { "BODY" } else { "body" }),
            ..Answer::default()
        }
    }
}

async fn edge(document: &Value) -> Edge {
    let primary = Upstream::answering("primary", answers(false));
    let copy = Upstream::answering("copy", answers(true));
    let listener = Listener::new("edge").mirror(document).plugin(document).mirroring(to_copy());
    let envoy = Envoy::start(&bootstrap(&primary, copy.address()).listener(listener)).await;
    Edge { envoy, primary, copy }
}

async fn counted(edge: &Edge, name: &str, expected: u64) {
    let what = format!("{name} is {expected}");
    until(&what, async || (edge.count(name).await == expected).then_some(())).await;
}

#[tokio::test]
async fn answers_are_compared_and_what_differs_is_counted_and_logged() {
    let edge = edge(&comparing(json!({ "removeHeaders": ["authorization"] }))).await;
    for path in ["/same?q=1", "/status", "/header", "/body", "/status-header-body"] {
        let request = edge.client().get(path).host("a.com").header("authorization", "secret");
        let response = request.header("x-bytes", b"\xff").send().await;
        assert_eq!((response.status, response.text().as_str()), (200, "body"));
        let (original, copy) = edge.pair(path).await;
        assert_copied(&original, &copy, &["authorization", EXPECTED_TIME]);
        assert_eq!((original.host.as_str(), copy.host.as_str()), ("a.com", "a.com"));
        assert_eq!(original.header("authorization"), ["secret"]);
        assert_eq!(copy.header("authorization"), [""; 0]);
    }
    counted(&edge, "compare_match", 1).await;
    counted(&edge, "compare_mismatch", 4).await;
    for (name, expected) in [
        ("compare_mismatch_status", 2),
        ("compare_mismatch_header", 2),
        ("compare_mismatch_body", 2),
        ("compare_timeout", 0),
        ("compare_failed", 0),
        ("compare_skipped", 0),
        ("compare_overflow", 0),
        ("unknown_cluster", 0),
        ("mirrored", 0),
    ] {
        assert_eq!(edge.count(name).await, expected, "{name}");
    }
    let log = edge.envoy.log();
    let line = "mirror route=\"virtualServices[0].http[0]\" cluster=\"copy\" differs=status,header.x-version,body \
                original=200 copy=500 suppressed=0";
    assert!(log.contains(line), "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("differs=")).collect();
    assert_eq!(lines.len(), 4);
    assert!(!log.contains("v2") && !log.contains("secret"), "no values: {lines:?}");
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn differences_of_time_are_in_histograms() {
    // One of the two responses comes a second later, far more than anything else takes.
    let answers = |slow: &'static str| {
        move |received: &sluice_e2e::Received| {
            let is_slow = received.path == slow;
            let delay = Duration::from_secs(if is_slow { 1 } else { 0 });
            Answer { delay, body: Some("body"), ..Answer::default() }
        }
    };
    let primary = Upstream::answering("primary", answers("/slow-original"));
    let copy = Upstream::answering("copy", answers("/slow-copy"));
    let document = comparing(json!({ "timeout": "30s" }));
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let bootstrap = bootstrap(&primary, copy.address()).listener(listener);
    let envoy = Envoy::start(&bootstrap.setting("stats_flush_interval", json!("0.1s"))).await;
    let edge = Edge { envoy, primary, copy };
    for path in ["/slow-copy", "/slow-original", "/slow-copy"] {
        assert_eq!(edge.client().get(path).host("a.com").send().await.status, 200);
    }
    counted(&edge, "compare_match", 3).await;
    let slower = edge.envoy.histogram("sluice.mirror.compare_slower_ms", 2).await;
    let faster = edge.envoy.histogram("sluice.mirror.compare_faster_ms", 1).await;
    assert_eq!([slower.up_to("100"), faster.up_to("100")], [0, 0], "{slower:?} {faster:?}");
}

#[tokio::test]
async fn mismatches_are_logged_at_a_bounded_rate() {
    let edge = edge(&comparing(json!({ "maxActive": 1000 }))).await;
    let mut connection = edge.client().connect().await;
    for number in 0..200 {
        connection.send(edge.client().get(&format!("/status/{number}"))).await;
    }
    counted(&edge, "compare_mismatch", 200).await;
    let lines = edge.envoy.log().lines().filter(|line| line.contains("differs=")).count();
    // At most ten per second; the requests may take a few seconds on a busy machine.
    assert!((10..=100).contains(&lines), "{lines}");
}

#[tokio::test]
async fn unsafe_methods_are_copied_but_not_compared_unless_they_are_named() {
    let edge_of_all = edge(&comparing(json!({}))).await;
    let post = |edge: &Edge| edge.client().request(Method::POST, "/body").body("posted").send();
    assert_eq!(post(&edge_of_all).await.status, 200);
    let (original, copy) = edge_of_all.pair("/body").await;
    assert_copied(&original, &copy, &[]);
    counted(&edge_of_all, "mirrored", 1).await;
    assert_eq!(edge_of_all.count("compare_mismatch").await, 0);

    let edge_of_posts = edge(&comparing(json!({ "methods": ["POST"] }))).await;
    assert_eq!(post(&edge_of_posts).await.status, 200);
    counted(&edge_of_posts, "compare_mismatch_body", 1).await;
    let (original, copy) = edge_of_posts.pair("/body").await;
    assert_copied(&original, &copy, &[EXPECTED_TIME]);
    assert_eq!(copy.body, "posted");
    assert_eq!(edge_of_posts.count("mirrored").await, 0);
}

#[tokio::test]
async fn bodies_that_are_too_long_are_not_compared() {
    let edge = edge(&comparing(json!({ "methods": ["POST", "GET"], "maxBodyBytes": 3 }))).await;
    // The length is known to be too large, so Envoy makes the copy.
    edge.client().request(Method::POST, "/known").body("long").send().await;
    edge.pair("/known").await;
    assert_eq!((edge.count("mirrored").await, edge.count("compare_skipped").await), (1, 1));
    // The response is too long to compare, so no copy is sent.
    edge.client().request(Method::POST, "/response").body("ok").send().await;
    counted(&edge, "compare_skipped", 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(edge.copy.received("/response").len(), 0);
}

/// Requests that stop in the middle, whose bodies together have more bytes than a worker keeps.
#[tokio::test]
async fn held_bodies_have_a_maximum_in_all() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    const SIZE: usize = 1_000_000;
    let edge = edge(&comparing(json!({ "maxBodyBytes": 1 << 20, "maxActive": 1000 }))).await;
    let address = edge.client().address();
    let head = format!("GET /same HTTP/1.1\r\nhost: a.com\r\ncontent-length: {SIZE}\r\n\r\n");
    let mut clients = Vec::new();
    for _ in 0..80 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; SIZE - 1]).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        client.write_all(b"x").await.unwrap();
        let mut status = [0; 12];
        client.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    drop(clients);
    until("all are compared or left out", async || {
        let compared = edge.count("compare_match").await + edge.count("compare_failed").await;
        (compared + edge.count("compare_buffer_full").await == 80).then_some(())
    })
    .await;
    let left_out = edge.count("compare_buffer_full").await;
    assert!((40..=64).contains(&left_out), "{left_out}");
    assert_eq!(edge.envoy.traps(), [""; 0]);
    counted(&edge, "compare_buffer_full", left_out).await;
    assert_eq!(edge.client().get("/same").host("a.com").send().await.status, 200);
    until("it compares again", async || (edge.count("compare_match").await > 0).then_some(()))
        .await;
}

/// The bound is far below the mirror's times and leaves room for a busy machine.
async fn assert_quick(edge: &Envoy, requests: usize) {
    let client = edge.listener("edge");
    let mut connection = client.connect().await;
    for number in 0..requests {
        let response = connection.send(client.get(&format!("/same/{number}"))).await;
        assert_eq!((response.status, response.text().as_str()), (200, "body"));
        assert!(response.elapsed < Duration::from_millis(900), "{:?}", response.elapsed);
    }
}

#[tokio::test]
async fn a_mirror_that_hangs_costs_the_original_nothing() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let primary = Upstream::answering("primary", answers(false));
    let document = comparing(json!({ "maxActive": 20 }));
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let bootstrap = bootstrap(&primary, hanging.local_addr().unwrap()).listener(listener);
    let envoy = Envoy::start(&bootstrap).await;
    assert_quick(&envoy, 50).await;
    let edge = Edge { envoy, primary, copy: Upstream::echo("unused") };
    counted(&edge, "compare_timeout", 20).await;
    assert_eq!(edge.count("compare_overflow").await, 30, "only so many are under way at once");
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn a_mirror_that_is_down_costs_the_original_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let primary = Upstream::answering("primary", answers(false));
    let document = comparing(json!({ "maxActive": 1000 }));
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let envoy = Envoy::start(&bootstrap(&primary, closed).listener(listener)).await;
    assert_quick(&envoy, 300).await;
    let edge = Edge { envoy, primary, copy: Upstream::echo("unused") };
    counted(&edge, "compare_failed", 300).await;
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn a_mirror_that_dies_while_it_answers_costs_the_original_nothing() {
    const COPIES: usize = 20;
    let primary = Upstream::answering("primary", answers(false));
    let copy = Upstream::slow("copy", Duration::from_secs(30));
    let document = comparing(json!({ "maxActive": COPIES, "timeout": "60s" }));
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let bootstrap = bootstrap(&primary, copy.address()).listener(listener);
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, primary, copy };
    assert_quick(&edge.envoy, COPIES).await;
    until("it answers the copies", async || {
        (edge.copy.received("/").len() == COPIES).then_some(())
    })
    .await;
    edge.copy.stop().await;
    counted(&edge, "compare_failed", COPIES as u64).await;
    // None of them counts as active any more.
    let back = Upstream::at(edge.copy.address(), "copy", answers(true));
    assert_quick(&edge.envoy, 1).await;
    counted(&edge, "compare_match", 1).await;
    assert_eq!(back.received("/").len(), 1);
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn an_unknown_cluster_is_logged_once_and_counted() {
    let primary = Upstream::answering("primary", answers(false));
    let document = comparing(json!({}));
    let listener = Listener::new("edge").mirror(&document).plugin(&document);
    let bootstrap = Bootstrap::new().calling().cluster("primary", &[primary.address()]);
    let bootstrap = bootstrap.listener(listener);
    let envoy = Envoy::start(&bootstrap).await;
    assert_quick(&envoy, 5).await;
    let edge = Edge { envoy, primary, copy: Upstream::echo("unused") };
    counted(&edge, "unknown_cluster", 5).await;
    let log = edge.envoy.log();
    let line = "mirror cluster=\"copy\" error=\"Envoy has no such cluster\"";
    assert_eq!(log.matches(line).count(), 1, "{log}");
}

#[tokio::test]
async fn responses_of_envoy_itself_are_not_compared() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let copy = Upstream::echo("copy");
    let document = comparing(json!({}));
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let bootstrap = Bootstrap::new()
        .calling()
        .cluster("primary", &[closed])
        .cluster("copy", &[copy.address()])
        .listener(listener);
    let envoy = Envoy::start(&bootstrap).await;
    let edge = Edge { envoy, primary: Upstream::echo("unused"), copy };
    assert_eq!(edge.client().get("/same").send().await.status, 503);
    counted(&edge, "compare_skipped", 1).await;
    assert_eq!(edge.copy.received("/").len(), 0);
}

/// The cluster of the copies has the same module in the same VM, so Envoy calls the module while
/// the module sends a copy.
#[tokio::test]
async fn the_module_may_be_called_while_it_sends() {
    let document = comparing(json!({}));
    let (primary, copy) = (
        Upstream::answering("primary", answers(false)),
        Upstream::answering("copy", answers(true)),
    );
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let bootstrap =
        bootstrap(&primary, copy.address()).upstream_plugin("mirror", &document).listener(listener);
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, primary, copy };
    for number in 0..20 {
        assert_eq!(edge.client().get(&format!("/same/{number}")).send().await.status, 200);
    }
    until("20 answers match", async || {
        // Envoy 1.36 counts a plugin's statistics under the cluster if the cluster had the first
        // plugin of the VM.
        let names =
            ["", "cluster.copy."].map(|of| format!("{of}wasmcustom.sluice.mirror.compare_match"));
        let counts = (edge.envoy.stat(&names[0]).await, edge.envoy.stat(&names[1]).await);
        (counts.0 + counts.1 == 20).then_some(())
    })
    .await;
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn a_new_configuration_cancels_pending_comparisons() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let primary = Upstream::answering("primary", answers(false));
    let listener = |document: &Value| {
        Listener::new("edge").mirror(document).plugin(document).mirroring(to_copy())
    };
    let bootstrap = bootstrap(&primary, hanging.local_addr().unwrap())
        .dynamic_listeners()
        .listener(listener(&comparing(json!({ "timeout": "1s" }))));
    let envoy = Envoy::start(&bootstrap).await;
    assert_quick(&envoy, 10).await;
    assert!(envoy.update(&[listener(&comparing(json!({ "timeout": "2s" })))]).await);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(envoy.traps(), [""; 0]);
}

/// In a wasm module, they end with their configuration. In a dynamic module, the extension that has
/// sent the copies lives as long as Envoy.
#[tokio::test]
async fn a_dynamic_module_compares_answers_that_come_after_their_configuration() {
    if !sluice_e2e::is_native() {
        println!("left out: only a dynamic module does it");
        return;
    }
    const UPDATES: usize = 10;
    let slow = |received: &sluice_e2e::Received| {
        let delay = Duration::from_secs(3);
        Answer { delay, ..answers(true)(received) }
    };
    let (primary, copy) =
        (Upstream::answering("primary", answers(false)), Upstream::answering("copy", slow));
    let listener = |number: usize| {
        let document = comparing(json!({ "timeout": format!("{}s", 60 + number) }));
        Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy())
    };
    let bootstrap = bootstrap(&primary, copy.address())
        .dynamic_listeners()
        .drain_time(Duration::from_secs(1))
        .workers(2)
        .listener(listener(0));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, primary, copy };
    for number in 1..=UPDATES {
        // Their configurations end while the mirror takes its time.
        assert_eq!(edge.client().get("/body").host("a.com").send().await.status, 200);
        assert!(edge.envoy.update(&[listener(number)]).await);
    }
    until("all old configurations have ended", async || {
        (edge.envoy.stat("listener_manager.total_listeners_draining").await == 0).then_some(())
    })
    .await;
    counted(&edge, "compare_mismatch_body", UPDATES as u64).await;
    assert_eq!(edge.client().get("/same").host("a.com").send().await.status, 200);
    counted(&edge, "compare_match", 1).await;
}
