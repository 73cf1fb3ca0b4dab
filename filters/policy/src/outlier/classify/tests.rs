use std::cell::RefCell;

use super::*;
use crate::testing::outlier_settings;

fn failures(text: &str) -> Failures {
    outlier_settings(text).failures
}

/// What the headers of a response say. Headers are asked for only when they are there, or `known`.
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
fn a_list_of_statuses_replaces_that() {
    let list = r#"{"outlierDetectionHttpErrorCodes": [429, 503]}"#;
    assert_eq!(classify(list, 429, &[]), SERVER);
    assert_eq!(classify(list, 503, &[]), GATEWAY, "a listed 5xx is counted as what it is");
    assert_eq!(classify(list, 500, &[]), SUCCESS);
    assert_eq!(classify(list, 200, &[("grpc-status", "14")]), SUCCESS);
}

#[test]
fn a_grpc_status_in_the_headers_is_mapped() {
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
fn a_list_of_grpc_statuses_looks_at_trailers_too() {
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
fn headers_and_latency_make_failures_of_successes() {
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
fn only_one_header_is_read_of_a_response_that_nothing_is_asked_of() {
    let asked = RefCell::new(Vec::new());
    let header = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };
    let response = Response { status: 200, latency: Duration::ZERO, header: &header };
    assert_eq!(super::classify(&failures("{}"), &response), SUCCESS);
    assert_eq!(*asked.borrow(), ["grpc-status"]);
}
