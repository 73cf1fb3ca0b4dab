//! Responses of aborted requests, and their time.

use std::time::Duration;

use serde_json::json;
use sluice_e2e::{Client, Response, is_native};

use crate::{Counts, NONE, abort, assert_counts, cases, delay, faulty, start, with_settings};

async fn call(client: &Client, case: &str, content_type: &str) -> Response {
    let call = client.request("POST".parse().unwrap(), "/service/Method");
    call.header("case", case).header("content-type", content_type).body("message").send().await
}

/// A gRPC response with only a status.
fn assert_grpc(response: &Response, status: u8) {
    assert_eq!((response.status, response.text().as_str()), (200, ""), "{response:?}");
    let header = |name| response.header(name).unwrap_or_default();
    assert_eq!(header("grpc-status"), status.to_string(), "{response:?}");
    assert_eq!(header("grpc-message"), "fault filter abort");
    assert_eq!(header("content-type"), "application/grpc");
    assert_eq!(header("x-sluice-fault"), "abort");
}

/// The 18 bytes of Envoy's fault filter, as text.
fn assert_plain(response: &Response, status: u16) {
    assert_eq!(
        (response.status, response.text().as_str()),
        (status, "fault filter abort"),
        "{response:?}"
    );
    assert_eq!(response.header("content-type").as_deref(), Some("text/plain"));
    assert_eq!(response.header("grpc-status"), None);
    assert_eq!(response.header("x-sluice-fault").as_deref(), Some("abort"));
}

#[tokio::test]
async fn an_http_status_becomes_a_grpc_status_for_grpc_as_in_envoy() {
    const MAPPED: [(u16, u8); 12] = [
        (200, 2),
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (418, 2),
        (429, 14),
        (500, 2),
        (502, 14),
        (503, 14),
        (504, 14),
        (599, 2),
    ];
    let rule =
        |(status, _): &(u16, u8)| (status.to_string(), abort(json!({ "httpStatus": status })));
    let (envoy, upstream) = start(cases(MAPPED.iter().map(rule))).await;
    let edge = envoy.listener("edge");
    for (http, grpc) in MAPPED {
        let case = http.to_string();
        assert_grpc(&call(&edge.clone().http2(), &case, "application/grpc").await, grpc);
        assert_grpc(&call(&edge, &case, "application/grpc+proto").await, grpc);
        assert_plain(&call(&edge, &case, "application/json").await, http);
    }
    assert_eq!(upstream.received("/").len(), 0);
    assert_counts(&envoy, Counts { aborts: 3 * MAPPED.len() as u64, ..NONE }).await;
}

#[tokio::test]
async fn a_grpc_status_goes_to_grpc_and_the_others_get_200() {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let rule = |name: &str| (name.to_owned(), abort(json!({ "grpcStatus": name })));
    let (envoy, upstream) = start(cases(NAMES.map(rule))).await;
    let edge = envoy.listener("edge");
    for (status, name) in (0..).zip(NAMES) {
        assert_grpc(&call(&edge.clone().http2(), name, "application/grpc").await, status);
        assert_plain(&call(&edge, name, "application/json").await, 200);
    }
    assert_eq!(upstream.received("/").len(), 0);
    assert_counts(&envoy, Counts { aborts: 2 * NAMES.len() as u64, ..NONE }).await;
}

#[tokio::test]
async fn an_abort_comes_after_the_delay() {
    let mut http = abort(json!({ "httpStatus": 503 }));
    http["delay"] = delay("1s")["delay"].take();
    let mut grpc = abort(json!({ "grpcStatus": "DEADLINE_EXCEEDED" }));
    grpc["delay"] = delay("1s")["delay"].take();
    let (envoy, upstream) =
        start(cases([("http".to_owned(), http), ("grpc".to_owned(), grpc)])).await;
    let (http1, http2) = (envoy.listener("edge"), envoy.listener("edge").http2());
    let (plain, grpc) = tokio::join!(
        call(&http1, "http", "application/json"),
        call(&http2, "grpc", "application/grpc"),
    );
    for response in [&plain, &grpc] {
        let took = response.elapsed;
        assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
    }
    assert_plain(&plain, 503);
    assert_grpc(&grpc, 4);
    assert_eq!(upstream.received("/").len(), 0);
    let logged = envoy.access_log("/service/Method").await;
    assert_eq!(logged["details"], "fault_filter_abort");
    // There, a dynamic module cannot change a note.
    let keeps_notes = is_native() && envoy.is_of("1.38.").await;
    assert_eq!(logged["fault"], if keeps_notes { "delay" } else { "abort" });
    assert_counts(&envoy, Counts { delays: 2, aborts: 2, ..NONE }).await;
}

#[tokio::test]
async fn responses_are_not_marked_if_disabled() {
    let document = cases([
        ("abort".to_owned(), abort(json!({ "httpStatus": 500 }))),
        ("delay".to_owned(), delay("1ms")),
    ]);
    let (envoy, _upstream) =
        start(with_settings(document, json!({ "markResponses": false }))).await;
    let edge = envoy.listener("edge");
    for (case, status) in [("abort", 500), ("delay", 200)] {
        let response = edge.get(&format!("/{case}")).header("case", case).send().await;
        assert_eq!((response.status, response.header("x-sluice-fault")), (status, None));
        // The access log, which only operators see, still contains the fault.
        assert_eq!(envoy.access_log(&format!("/{case}")).await["fault"], case);
    }
    assert_counts(&envoy, Counts { delays: 1, aborts: 1, ..NONE }).await;
}

#[tokio::test]
async fn without_a_percentage_there_is_never_a_fault() {
    let fault = json!({ "delay": { "fixedDelay": "9s" }, "abort": { "httpStatus": 500 } });
    let (envoy, upstream) = start(faulty(fault)).await;
    let mut connection = envoy.listener("edge").connect().await;
    for _ in 0..20 {
        let request = envoy.listener("edge").get("/").header("case", "faulty");
        let response = connection.send(request).await;
        assert_eq!((response.status, response.header("x-sluice-fault")), (200, None));
    }
    assert_eq!(upstream.received("/").len(), 20);
    assert_counts(&envoy, NONE).await;
}
