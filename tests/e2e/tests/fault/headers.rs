//! Faults that request headers demand.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Counts, NONE, abort, all, assert_counts, faulty, start, with_settings};

const DELAY: &str = "x-envoy-fault-delay-request";
const DELAY_SHARE: &str = "x-envoy-fault-delay-request-percentage";
const ABORT: &str = "x-envoy-fault-abort-request";
const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
const ABORT_SHARE: &str = "x-envoy-fault-abort-request-percentage";

/// Rules that let headers request these shares of faults. Requests with `case: faulty` are always
/// aborted.
fn document(settings: Value) -> Value {
    let rules = faulty(abort(json!({ "httpStatus": 500 })));
    with_settings(rules, json!({ "headers": settings }))
}

#[tokio::test]
async fn a_request_gets_what_it_asks_for() {
    let (envoy, upstream) = start(document(json!({ "delay": all(), "abort": all() }))).await;
    let edge = envoy.listener("edge");
    let grpc = edge.clone().http2();
    let grpc = || grpc.get("/grpc").header("content-type", "application/grpc");

    let delayed = edge.get("/delayed").header(DELAY, "400").send().await;
    assert_eq!(delayed.header("x-sluice-fault").as_deref(), Some("delay"));
    delayed.assert_took(Duration::from_millis(400)..Duration::from_secs(3));
    assert_eq!(upstream.received("/delayed").len(), 1);

    let aborted = edge.get("/").header(ABORT, "429").send().await;
    assert_eq!((aborted.status, aborted.text().as_str()), (429, "fault filter abort"));
    let aborted = grpc().header(ABORT_GRPC, "5").send().await;
    assert_eq!((aborted.status, aborted.header("grpc-status").as_deref()), (200, Some("5")));
    assert_eq!(aborted.header("grpc-message").as_deref(), Some("fault filter abort"));
    assert_eq!(envoy.access_log("/grpc").await["details"], "fault_filter_abort");
    // The HTTP status has precedence over the gRPC status.
    let aborted = edge.get("/").header(ABORT, "429").header(ABORT_GRPC, "5").send().await;
    assert_eq!((aborted.status, aborted.body.len()), (429, 18));
    let aborted = grpc().header(ABORT, "429").header(ABORT_GRPC, "5").send().await;
    assert_eq!((aborted.status, aborted.header("grpc-status").as_deref()), (200, Some("14")));

    let both = edge.get("/").header(DELAY, "300").header(ABORT, "503").send().await;
    assert_eq!(both.status, 503);
    both.assert_took(Duration::from_millis(300)..Duration::from_secs(3));
    assert_counts(&envoy, Counts { delays: 2, aborts: 5, ..NONE }).await;

    // Headers override the rule, and a duration of 0 means no delay.
    let aborted = edge.get("/").header("case", "faulty").header(ABORT, "404").send().await;
    assert_eq!(aborted.status, 404);
    let plain = edge.get("/").header(DELAY, "0").send().await;
    assert_eq!((plain.status, plain.header("x-sluice-fault")), (200, None));
    assert_counts(&envoy, Counts { delays: 2, aborts: 6, ..NONE }).await;
}

#[tokio::test]
async fn a_request_may_ask_for_less_but_not_for_more() {
    let never = json!({ "value": 0 });
    for (most, asked, is_hit) in
        [(all(), "0", false), (all(), "100", true), (never.clone(), "100", false)]
    {
        let (envoy, _upstream) =
            start(document(json!({ "delay": most.clone(), "abort": most }))).await;
        let edge = envoy.listener("edge");
        for _ in 0..10 {
            let request = edge.get("/").header(ABORT, "429").header(ABORT_SHARE, asked);
            let request = request.header(DELAY, "1").header(DELAY_SHARE, asked);
            assert_eq!(request.send().await.status, if is_hit { 429 } else { 200 });
        }
        let hits = if is_hit { 10 } else { 0 };
        assert_counts(&envoy, Counts { delays: hits, aborts: hits, ..NONE }).await;
    }
}

#[tokio::test]
async fn headers_have_no_effect_unless_configured() {
    let (envoy, upstream) = start(faulty(json!({ "abort": { "httpStatus": 500 } }))).await;
    let edge = envoy.listener("edge");
    for case in ["faulty", "other"] {
        let request = edge.get("/").header("case", case).header(DELAY, "9000").header(ABORT, "429");
        let request = request.header(ABORT_GRPC, "5").header(DELAY_SHARE, "x");
        let response = request.header(ABORT_SHARE, b"\xff").send().await;
        assert_eq!((response.status, response.header("x-sluice-fault")), (200, None));
    }
    assert_eq!(upstream.received("/").len(), 2);
    assert_counts(&envoy, NONE).await;
}

#[tokio::test]
async fn one_kind_may_be_configured_without_the_other() {
    let (envoy, _upstream) = start(document(json!({ "abort": all() }))).await;
    let edge = envoy.listener("edge");
    let response = edge.get("/").header(DELAY, "9000").header(DELAY_SHARE, "x").send().await;
    assert_eq!((response.status, response.header("x-sluice-fault")), (200, None));
    assert_eq!(edge.get("/").header(ABORT, "429").send().await.status, 429);
    assert_counts(&envoy, Counts { aborts: 1, ..NONE }).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_ignored_and_counted() {
    let (envoy, upstream) = start(document(json!({ "delay": all(), "abort": all() }))).await;
    let edge = envoy.listener("edge");
    let long = [b'9'; 8_000];
    let values: [&[u8]; 13] = [
        b"\xff\xfe",
        b"\xc3\x28",
        b"4\xff9",
        b"99999999999999999999999999",
        &long,
        b"-1",
        b"-9223372036854775809",
        b"1.5",
        b"0x1f",
        b"1e2",
        b"429,503",
        b"true",
        b"",
    ];
    let mut malformed = 0;
    for name in [DELAY, DELAY_SHARE, ABORT, ABORT_GRPC, ABORT_SHARE] {
        for value in values {
            let shown = String::from_utf8_lossy(&value[..value.len().min(30)]);
            let response = edge.get("/").header(name, value).send().await;
            assert_eq!(
                (response.status, response.header("x-sluice-fault")),
                (200, None),
                "{shown}"
            );
            malformed += 1;
            assert_eq!(crate::counts(&envoy).await.malformed, malformed, "{name}: {shown}");
        }
    }
    // Out of range.
    for (name, value) in [
        (ABORT, "199"),
        (ABORT, "600"),
        (ABORT_GRPC, "17"),
        (ABORT_SHARE, "101"),
        (DELAY_SHARE, "101"),
        (DELAY, "86400001"),
    ] {
        assert_eq!(edge.get("/").header(name, value).send().await.status, 200, "{name}: {value}");
        malformed += 1;
    }
    assert_eq!(upstream.received("/").len() as u64, malformed);
    assert_counts(&envoy, Counts { malformed, ..NONE }).await;

    // If no header is readable, the rule applies; if only the share is not, the configured share
    // applies.
    let response = edge.get("/").header("case", "faulty").header(ABORT, "x").send().await;
    assert_eq!(response.status, 500);
    let response = edge.get("/").header(ABORT, "429").header(ABORT_SHARE, "x").send().await;
    assert_eq!(response.status, 429);
    malformed += 2;
    assert_counts(&envoy, Counts { aborts: 2, malformed, ..NONE }).await;
}

#[tokio::test]
async fn the_first_of_repeated_headers_counts() {
    let (envoy, _upstream) = start(document(json!({ "delay": all(), "abort": all() }))).await;
    for client in [envoy.listener("edge"), envoy.listener("edge").http2()] {
        let twice = |first, second| client.get("/").header(ABORT, first).header(ABORT, second);
        assert_eq!(twice("429", "503").send().await.status, 429);
        assert_eq!(twice("429", "x").send().await.status, 429);
        assert_eq!(twice("x", "429").send().await.status, 200);
    }
    assert_counts(&envoy, Counts { aborts: 4, malformed: 2, ..NONE }).await;
}
