//! Waiting requests, and events while they wait.

use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Request, Upstream, any_host, until};
use tokio::task::JoinSet;

use crate::{
    Counts, LAG, NONE, abort, all, assert_counts, cases, counts, delay, faulty, route, start,
    until_active, with_settings,
};

fn waiting(client: &Client, path: &str) -> Request {
    client.get(path).header("case", "faulty")
}

#[tokio::test]
async fn a_client_that_leaves_is_forgotten() {
    let (envoy, upstream) = start(faulty(delay("2s"))).await;
    let edge = envoy.listener("edge");
    let start = Instant::now();
    let gone = tokio::spawn(waiting(&edge, "/gone").send());
    until_active(&envoy, 1).await;
    assert_eq!(counts(&envoy).await, Counts { delays: 1, active: 1, ..NONE });
    gone.abort();
    assert_counts(&envoy, Counts { delays: 1, ..NONE }).await;
    assert_eq!(envoy.access_log("/gone").await["flags"], "DC");
    assert!(start.elapsed() < Duration::from_secs(2), "gone before its time");

    // A later request waits longer than that one would have.
    let stays = waiting(&edge, "/stays").send().await;
    assert_eq!((stays.status, stays.header("x-sluice-fault").as_deref()), (200, Some("delay")));
    assert!(stays.elapsed + LAG >= Duration::from_secs(2), "{:?}", stays.elapsed);
    assert_eq!(edge.get("/other").send().await.status, 200);
    assert_eq!(upstream.received("/gone").len(), 0);
    assert_counts(&envoy, Counts { delays: 2, ..NONE }).await;
}

#[tokio::test]
async fn lengths_of_delays_are_in_a_histogram() {
    let lengths = [("short", delay("30ms")), ("long", delay("700ms"))];
    let document = cases(lengths.map(|(name, fault)| (name.to_owned(), fault)));
    let upstream = Upstream::echo("service");
    let envoy = Envoy::start(
        &Bootstrap::new()
            .setting("stats_flush_interval", json!("0.1s"))
            .listener(Listener::new("edge").fault(&document).plugin(&document))
            .cluster("service", &[upstream.address()]),
    )
    .await;
    let edge = envoy.listener("edge");
    for case in ["short", "none", "long", "short"] {
        assert_eq!(edge.get("/").header("case", case).send().await.status, 200);
    }
    let delays = envoy.histogram("sluice.fault.delay_ms", 3).await;
    let counts = ["25", "50", "500", "1000"].map(|bound| delays.up_to(bound));
    assert_eq!(counts, [0, 2, 2, 3], "{delays:?}");
    assert_counts(&envoy, Counts { delays: 3, ..NONE }).await;
}

#[tokio::test]
async fn a_stream_that_is_reset_is_forgotten_and_its_connection_lives_on() {
    let (envoy, upstream) = start(faulty(delay("2s"))).await;
    let edge = envoy.listener("edge").http2();
    let mut connection = edge.connect().await;
    let (mut shared, request) = (connection.share(), waiting(&edge, "/gone"));
    let gone = tokio::spawn(async move { shared.send(request).await });
    let (mut shared, request) = (connection.share(), waiting(&edge, "/stays"));
    let stays = tokio::spawn(async move { shared.send(request).await });
    until_active(&envoy, 2).await;
    gone.abort();
    until_active(&envoy, 1).await;
    assert_eq!(counts(&envoy).await, Counts { delays: 2, active: 1, ..NONE });
    // On the same connection.
    let fast = connection.send(edge.get("/fast")).await;
    assert_eq!((fast.status, fast.header("x-sluice-fault")), (200, None));
    assert!(!stays.is_finished());

    let stays = stays.await.unwrap();
    assert_eq!(stays.status, 200);
    assert!(stays.elapsed + LAG >= Duration::from_secs(2), "{:?}", stays.elapsed);
    let later = connection.send(waiting(&edge, "/later")).await;
    assert!(later.elapsed + LAG >= Duration::from_secs(2), "{:?}", later.elapsed);
    assert_eq!(upstream.received("/gone").len(), 0);
    assert_counts(&envoy, Counts { delays: 3, ..NONE }).await;
}

#[tokio::test]
async fn a_new_configuration_does_not_affect_waiting_requests() {
    let listener = |length, rules: &str| {
        let mut document = faulty(delay(length));
        document["virtualServices"][0]["http"][1]["headers"] =
            json!({ "response": { "set": { "x-rules": rules } } });
        Listener::new("edge").fault(&document).plugin(&document)
    };
    let upstream = Upstream::echo("service");
    let bootstrap = Bootstrap::new().dynamic_listeners().listener(listener("4s", "old"));
    let envoy = Envoy::start(&bootstrap.cluster("service", &[upstream.address()])).await;
    let edge = envoy.listener("edge");
    let rules = async || edge.get("/other").send().await.header("x-rules");
    assert_eq!(rules().await.as_deref(), Some("old"));
    let mut old = JoinSet::new();
    for _ in 0..3 {
        old.spawn(waiting(&edge, "/old").send());
        old.spawn(waiting(&edge.clone().http2(), "/old").send());
    }
    until_active(&envoy, 6).await;

    assert!(envoy.update(&[listener("300ms", "new")]).await, "{}", envoy.log());
    until("the new rules are in force", async || rules().await.filter(|rules| rules == "new"))
        .await;
    let new = waiting(&edge, "/new").send().await;
    assert_eq!(new.header("x-sluice-fault").as_deref(), Some("delay"));
    assert!(new.elapsed + LAG >= Duration::from_millis(300), "{:?}", new.elapsed);
    assert_eq!(upstream.received("/old").len(), 0, "the old ones wait for longer");

    for old in old.join_all().await {
        assert_eq!((old.status, old.header("x-sluice-fault").as_deref()), (200, Some("delay")));
        assert!(old.elapsed + LAG >= Duration::from_secs(4), "{:?}", old.elapsed);
        assert!(old.elapsed < Duration::from_secs(8), "{:?}", old.elapsed);
    }
    assert_eq!(upstream.received("/old").len(), 6);
    assert_counts(&envoy, Counts { delays: 7, ..NONE }).await;
}

#[tokio::test]
async fn a_thousand_delays_do_not_block_other_requests() {
    const DELAY: Duration = Duration::from_secs(3);
    let (envoy, upstream) = start(faulty(delay("3s"))).await;
    let edge = envoy.listener("edge").http2();
    let mut all = JoinSet::new();
    for _ in 0..10 {
        let connection = edge.connect().await;
        for _ in 0..100 {
            let (mut shared, request) = (connection.share(), waiting(&edge, "/waiting"));
            all.spawn(async move { shared.send(request).await });
        }
    }
    until_active(&envoy, 1000).await;
    let mut others = edge.connect().await;
    for _ in 0..20 {
        let response = others.send(edge.get("/other")).await;
        assert_eq!((response.status, response.header("x-sluice-fault")), (200, None));
        assert!(response.elapsed < Duration::from_millis(500), "{:?}", response.elapsed);
    }
    assert_eq!(counts(&envoy).await, Counts { delays: 1000, active: 1000, ..NONE });
    assert_eq!(upstream.received("/waiting").len(), 0);

    for response in all.join_all().await {
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.header("x-sluice-fault").as_deref(), Some("delay"));
        assert!(response.elapsed + LAG >= DELAY, "{:?} is early", response.elapsed);
    }
    assert_eq!(upstream.received("/waiting").len(), 1000);
    assert_counts(&envoy, Counts { delays: 1000, ..NONE }).await;
}

/// Envoy sends the response of an abort during the tick that ends the delay, and nests several of
/// them: too many in one tick would overflow the module's stack.
#[tokio::test]
async fn two_thousand_are_aborted_at_once() {
    const STREAMS: u64 = 2000;
    let mut fault = delay("2s");
    fault["abort"] = abort(json!({ "httpStatus": 418 }))["abort"].clone();
    let (envoy, upstream) = start(faulty(fault)).await;
    let edge = envoy.listener("edge").http2();
    let mut all = JoinSet::new();
    for _ in 0..STREAMS / 100 {
        let connection = edge.connect().await;
        for _ in 0..100 {
            let (mut shared, request) = (connection.share(), waiting(&edge, "/aborted"));
            all.spawn(async move { shared.send(request).await });
        }
    }
    for response in all.join_all().await {
        assert_eq!(response.status, 418, "{response:?}");
    }
    assert_eq!(envoy.traps(), [""; 0]);
    assert_eq!(upstream.received("/aborted").len(), 0);
    assert_counts(&envoy, Counts { delays: STREAMS, aborts: STREAMS, ..NONE }).await;
}

#[tokio::test]
async fn a_body_waits_with_its_headers() {
    const SIZE: usize = 3 << 20;
    let (envoy, upstream) = start(faulty(delay("1s"))).await;
    let mut body = vec![0; SIZE];
    fastrand::Rng::with_seed(1).fill(&mut body);
    for client in [envoy.listener("edge"), envoy.listener("edge").http2()] {
        let before = upstream.received("/").len();
        let request = client.request("POST".parse().unwrap(), "/upload").header("case", "faulty");
        let upload = tokio::spawn(request.body(body.clone()).send());
        until_active(&envoy, 1).await;
        assert_eq!(upstream.received("/").len(), before);
        let response = upload.await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.elapsed + LAG >= Duration::from_secs(1), "{:?}", response.elapsed);
        let received = upstream.received("/").pop().unwrap();
        assert!(received.body == body, "{} of {SIZE} bytes, or others", received.body.len());
    }
    assert_counts(&envoy, Counts { delays: 2, ..NONE }).await;
}

#[tokio::test]
async fn the_router_routes_after_the_delay() {
    let document = any_host(json!([{
        "match": [{ "uri": { "prefix": "/old/" } }],
        "fault": delay("0.3s"),
        "rewrite": { "uri": "/new/", "authority": "inner.example.com" },
        "headers": { "request": { "set": { "x-seen": "router" } } },
        "route": [{ "destination": { "host": "service", "subset": "v2" } }],
    }, {
        "route": [{ "destination": { "host": "service", "subset": "v1" } }],
    }]));
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").fault(&document).plugin(&document))
            .cluster("service-v1", &[versions[0].address()])
            .cluster("service-v2", &[versions[1].address()]),
    )
    .await;
    let edge = envoy.listener("edge");
    let response = edge.get("/old/page?q=1").send().await;
    assert_eq!(response.cluster().as_deref(), Some("service-v2"));
    assert_eq!(response.header("x-sluice-fault").as_deref(), Some("delay"));
    assert!(response.elapsed + LAG >= Duration::from_millis(300), "{:?}", response.elapsed);
    let received = versions[1].received("/new/page?q=1").pop().expect("the rewritten path");
    assert_eq!(received.header("host"), ["inner.example.com"]);
    assert_eq!(received.header("x-seen"), ["router"]);
    assert_eq!(versions[0].received("/").len(), 0);
    assert_eq!(edge.get("/").send().await.cluster().as_deref(), Some("service-v1"));
    assert_counts(&envoy, Counts { delays: 1, ..NONE }).await;
}

#[tokio::test]
async fn each_request_waits_for_its_own_delay() {
    let settings = json!({ "headers": { "delay": all() } });
    let rules = with_settings(any_host(json!([{ "route": route() }])), settings);
    let (envoy, _upstream) = start(rules).await;
    let edge = envoy.listener("edge").http2();
    let connection = edge.connect().await;
    let send = |milliseconds: u64| {
        let request = edge.get("/").header("x-envoy-fault-delay-request", milliseconds.to_string());
        let mut shared = connection.share();
        async move { (milliseconds, shared.send(request).await) }
    };
    // The timer is first set for this request, then for each one that is due earlier.
    let last = tokio::spawn(send(6000));
    until_active(&envoy, 1).await;
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        // Delays from 1 to 401 ms, in mixed order.
        tasks.spawn(send(1 + number * 37 % 401));
    }
    for (milliseconds, response) in tasks.join_all().await {
        assert_eq!(response.header("x-sluice-fault").as_deref(), Some("delay"));
        let (delay, took) = (Duration::from_millis(milliseconds), response.elapsed);
        assert!(took >= delay, "{took:?} is less than {delay:?}");
        assert!(took < delay + Duration::from_secs(3), "{took:?} is a lot more than {delay:?}");
    }
    assert!(!last.is_finished(), "it waits for longer than all of them");
    assert!(last.await.unwrap().1.elapsed + LAG >= Duration::from_secs(6));
    assert_counts(&envoy, Counts { delays: 201, ..NONE }).await;
}

#[tokio::test]
async fn a_timeout_begins_after_the_delay_and_an_abort_is_not_retried() {
    let abort = abort(json!({ "httpStatus": 503 }));
    let only = |path| json!([{ "uri": { "exact": path } }]);
    let retries = json!({ "attempts": 3, "retryOn": "5xx" });
    let document = any_host(json!([
        { "match": only("/late"), "fault": delay("1s"), "timeout": "0.5s", "route": route() },
        { "match": only("/aborted"), "fault": abort, "retries": retries, "route": route() },
    ]));
    let (envoy, upstream) = start(document).await;
    let edge = envoy.listener("edge");
    let late = edge.get("/late").send().await;
    assert_eq!(late.status, 200, "{}", late.text());
    assert!(late.elapsed + LAG >= Duration::from_secs(1), "{:?}", late.elapsed);
    assert_eq!(edge.get("/aborted").send().await.status, 503);
    assert_eq!(upstream.received("/aborted").len(), 0);
    assert_counts(&envoy, Counts { delays: 1, aborts: 1, ..NONE }).await;
}

#[tokio::test]
async fn delayed_requests_finish_after_the_filter_is_removed() {
    let document = faulty(delay("3s"));
    let with = Listener::new("edge").fault(&document).plugin(&document);
    let upstream = Upstream::echo("service");
    let bootstrap = Bootstrap::new().dynamic_listeners().listener(with).workers(2);
    let envoy = Envoy::start(&bootstrap.cluster("service", &[upstream.address()])).await;
    let edge = envoy.listener("edge");
    let mut old = JoinSet::new();
    for _ in 0..8 {
        old.spawn(waiting(&edge, "/old").send());
    }
    until_active(&envoy, 8).await;
    assert!(envoy.update(&[Listener::new("edge").plugin(&document)]).await, "{}", envoy.log());
    let gone = Instant::now();
    until("both workers are without the filter", async || {
        for _ in 0..4 {
            // Evaluated immediately; `until` repeats it while a request still waits.
            let asked = waiting(&edge, "/new").send();
            let answer = tokio::time::timeout(Duration::from_millis(500), asked).await.ok()?;
            answer.header("x-sluice-fault").is_none().then_some(())?;
        }
        Some(())
    })
    .await;
    assert!(gone.elapsed() < Duration::from_secs(3), "{:?}", gone.elapsed());
    for old in old.join_all().await {
        assert_eq!((old.status, old.header("x-sluice-fault").as_deref()), (200, Some("delay")));
        assert!(old.elapsed + LAG >= Duration::from_secs(3), "{:?}", old.elapsed);
    }
    assert_eq!(upstream.received("/old").len(), 8);
    until_active(&envoy, 0).await;
    assert_eq!(envoy.traps(), [""; 0]);
}
