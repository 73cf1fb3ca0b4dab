//! Unusual requests and delays.

use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::{any_host, exchange};

use crate::{
    Counts, LAG, NONE, all, assert_counts, cases, counts, delay, route, start, until_active,
};

#[tokio::test]
async fn a_delay_may_be_longer_than_any_timer() {
    // The last one is the maximum duration; a timer has at most 49 days.
    let rules = ["century", "longest", "soon"];
    let lengths = ["876000h", "2562047h", "200ms"];
    let rules =
        rules.into_iter().zip(lengths).map(|(name, length)| (name.to_owned(), delay(length)));
    let (envoy, upstream) = start(cases(rules)).await;
    let edge = envoy.listener("edge");
    let long: Vec<_> = ["century", "longest"]
        .map(|case| tokio::spawn(edge.get("/long").header("case", case).send()))
        .into();
    until_active(&envoy, 2).await;
    // Twice, so that the timer is set for the long delays between them.
    for _ in 0..2 {
        let soon = edge.get("/soon").header("case", "soon").send().await;
        soon.assert_took(Duration::from_millis(200)..Duration::from_secs(3));
    }
    assert_eq!(counts(&envoy).await, Counts { delays: 4, active: 2, ..NONE });
    long.iter().for_each(tokio::task::JoinHandle::abort);
    assert_counts(&envoy, Counts { delays: 4, ..NONE }).await;
    assert_eq!(upstream.received("/long").len(), 0);
}

#[tokio::test]
async fn pipelined_requests_wait_one_after_the_other() {
    let (envoy, upstream) =
        start(any_host(json!([{ "fault": delay("300ms"), "route": route() }]))).await;
    let start = Instant::now();
    let bytes = b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n\
        GET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = exchange(envoy.listener("edge").address(), bytes).await;
    assert!(start.elapsed() + LAG >= Duration::from_millis(600), "{:?}", start.elapsed());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert_eq!(answer.matches("x-sluice-fault: delay").count(), 2, "{answer}");
    assert_eq!(upstream.received("/").len(), 2);
    assert_counts(&envoy, Counts { delays: 2, ..NONE }).await;
}

#[tokio::test]
async fn any_method_is_delayed_and_aborted() {
    let fault = json!({
        "delay": { "fixedDelay": "1ms", "percentage": all() },
        "abort": { "httpStatus": 503, "percentage": all() },
    });
    let (envoy, upstream) = start(any_host(json!([{ "fault": fault, "route": route() }]))).await;
    let edge = envoy.listener("edge");
    for request in [
        "HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\n",
    ] {
        let answer = exchange(edge.address(), request.as_bytes()).await;
        assert!(answer.contains(" 503 Service Unavailable\r\n"), "{request}{answer}");
        assert!(answer.contains("\r\nx-sluice-fault: abort\r\n"), "{request}{answer}");
        let body = answer.split("\r\n\r\n").nth(1);
        let expected = if request.starts_with("HEAD") { "" } else { "fault filter abort" };
        assert_eq!(body, Some(expected), "{request}");
    }
    assert_counts(&envoy, Counts { delays: 4, aborts: 4, ..NONE }).await;

    // A CONNECT request has no path, so no rule matches it.
    let answer = exchange(edge.address(), b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert_eq!(upstream.received("/").len(), 0);
    assert_counts(&envoy, Counts { delays: 4, aborts: 4, ..NONE }).await;
}
