use std::cell::RefCell;

use super::*;
use crate::testing::outlier_settings;

fn failures(text: &str) -> Failures {
    outlier_settings(text).failures
}

/// Classifies a response with these headers and a latency of 100 ms.
fn classify(text: &str, status: u16, headers: &[(&str, &str)]) -> Option<Verdict> {
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_bytes().to_vec())
    };
    let response = Response { status, latency: Duration::from_millis(100), header: &header };
    super::classify(&failures(text), &response)
}

const SUCCESS: Option<Verdict> = Some(Verdict::Success);
const SERVER: Option<Verdict> = Some(Verdict::ServerError);
const GATEWAY: Option<Verdict> = Some(Verdict::GatewayError);

#[test]
fn statuses_from_500_are_failures() {
    for (status, verdict) in [
        (200, SUCCESS),
        (404, SUCCESS),
        (429, SUCCESS),
        (499, SUCCESS),
        (500, SERVER),
        (501, SERVER),
        (502, GATEWAY),
        (503, GATEWAY),
        (504, GATEWAY),
        (505, SERVER),
        (599, SERVER),
        (600, SUCCESS),
    ] {
        assert_eq!(classify("{}", status, &[]), verdict, "{status}");
    }
}

#[test]
fn a_list_of_statuses_replaces_the_5xx_rule() {
    let list = r#"{"outlierDetectionHttpErrorCodes": [429, 503]}"#;
    assert_eq!(classify(list, 429, &[]), SERVER);
    assert_eq!(classify(list, 503, &[]), GATEWAY, "a listed 5xx keeps its kind");
    assert_eq!(classify(list, 500, &[]), SUCCESS);
    assert_eq!(classify(list, 200, &[("grpc-status", "14")]), SUCCESS);
}

#[test]
fn a_grpc_status_in_the_headers_is_mapped_to_an_http_status() {
    for (status, verdict) in [
        ("0", SUCCESS),
        ("1", SUCCESS),
        ("2", SERVER),
        ("4", GATEWAY),
        ("8", SUCCESS),
        ("12", SERVER),
        ("13", SERVER),
        ("14", GATEWAY),
        ("15", SERVER),
        ("99", SERVER),
        ("x", SERVER),
        ("", SUCCESS),
    ] {
        assert_eq!(classify("{}", 200, &[("grpc-status", status)]), verdict, "{status}");
    }
}

#[test]
fn a_list_of_grpc_statuses_applies_to_headers_and_trailers() {
    let list = r#"{"failure": {"grpcStatus": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}"#;
    assert_eq!(classify(list, 200, &[("grpc-status", "8")]), SERVER);
    assert_eq!(classify(list, 200, &[("grpc-status", "14")]), GATEWAY);
    assert_eq!(classify(list, 200, &[("grpc-status", "13")]), SUCCESS);
    for (content_type, verdict) in [
        ("application/grpc", None),
        ("application/grpc+proto", None),
        ("application/grpc;x", None),
        ("application/grpc-web", SUCCESS),
        ("text/plain", SUCCESS),
    ] {
        assert_eq!(classify(list, 200, &[("content-type", content_type)]), verdict);
        assert_eq!(classify(list, 503, &[("content-type", content_type)]), GATEWAY);
    }
    let trailers = |status: Option<&[u8]>| super::classify_trailers(&failures(list), status);
    assert_eq!(trailers(Some(b"8")), Verdict::ServerError);
    assert_eq!(trailers(Some(b"14")), Verdict::GatewayError);
    assert_eq!([trailers(Some(b"0")), trailers(None)], [Verdict::Success; 2]);
    assert_eq!(trailers(Some(b"\xff")), Verdict::Success);
}

#[test]
fn headers_and_latency_can_make_a_response_a_failure() {
    let header = r#"{"failure": {"headers": {"X-Degraded": {"exact": "yes"}}}}"#;
    assert_eq!(classify(header, 200, &[("x-degraded", "yes")]), SERVER);
    assert_eq!(classify(header, 503, &[("x-degraded", "yes")]), GATEWAY);
    assert_eq!(classify(header, 200, &[("x-degraded", "no")]), SUCCESS);
    assert_eq!(classify(header, 200, &[]), SUCCESS);
    let slow = |bound: &str| format!(r#"{{"failure": {{"slowerThan": "{bound}"}}}}"#);
    assert_eq!(classify(&slow("99ms"), 200, &[]), SERVER);
    assert_eq!(classify(&slow("100ms"), 200, &[]), SUCCESS);
    assert!(failures(&slow("1s")).needs_latency() && !failures("{}").needs_latency());
}

#[test]
fn without_settings_only_grpc_status_is_read() {
    let read = RefCell::new(Vec::new());
    let header = |name: &str| {
        read.borrow_mut().push(name.to_owned());
        None
    };
    let response = Response { status: 200, latency: Duration::ZERO, header: &header };
    assert_eq!(super::classify(&failures("{}"), &response), SUCCESS);
    assert_eq!(*read.borrow(), ["grpc-status"]);
}
