//! Failures that are marked for Envoy's own outlier detection.

use std::sync::Arc;

use super::*;

const DOCUMENT: &str = r#"{
    "clusterName": "{host}",
    "destinationRules": [{"host": "pool", "trafficPolicy": {"outlierDetection": {
        "failure": {"headers": {"x-health": {"exact": "bad"}}, "slowerThan": "2s"}
    }}}]
}"#;

/// Returns what the stream did to the response of an attempt that took `latency` milliseconds.
fn respond(document: &str, latency: u64, headers: &[(&str, &str)]) -> Option<String> {
    let mut host = FakeHost::default()
        .with_property(&["plugin_root_id"], "upstream")
        .with_property(&["xds", "cluster_name"], "pool");
    for (name, value) in headers {
        host = match name.strip_prefix("request ") {
            Some(name) => host.with_request_header(name, *value),
            None => host.with_response_header(name, *value),
        };
    }
    let (outliers, _) = Outliers::compile(document.as_bytes(), &NoMetadata).unwrap();
    let worker = Rc::new(Worker::with_policy(Arc::new(outliers), &host));
    let stream = Stream::new(host.clone(), worker);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    host.pass(Duration::from_millis(latency));
    assert_eq!(stream.on_response_headers(true), Action::Continue);
    assert_eq!(stream.on_response_trailers(), Action::Continue);
    stream.on_end();
    assert_eq!(host.gauge(EJECTIONS_ACTIVE), 0, "the filter ejects nothing itself");
    host.response_header(FAILURE).map(|mark| String::from_utf8(mark).unwrap())
}

#[test]
fn failures_are_marked_with_their_cause() {
    let mark = |latency, headers: &[(&str, &str)]| respond(DOCUMENT, latency, headers);
    assert_eq!(mark(0, &[(":status", "200")]), None);
    assert_eq!(mark(0, &[(":status", "503")]).as_deref(), Some("status"));
    assert_eq!(mark(2001, &[(":status", "200")]).as_deref(), Some("latency"));
    let bad = [(":status", "200"), ("x-health", "bad")];
    assert_eq!(mark(0, &bad).as_deref(), Some("header"));
    let unavailable = [(":status", "200"), ("grpc-status", "14")];
    assert_eq!(mark(0, &unavailable).as_deref(), Some("grpc_status"));
}

#[test]
fn a_mark_of_the_upstream_is_removed() {
    let forged = [(":status", "200"), (FAILURE, "status")];
    assert_eq!(respond(DOCUMENT, 0, &forged), None);
    let failed = [(":status", "500"), (FAILURE, "forged")];
    assert_eq!(respond(DOCUMENT, 0, &failed).as_deref(), Some("status"));
    assert_eq!(respond(r#"{"clusterName": "{host}"}"#, 0, &forged), None, "no rule");
}

#[test]
fn the_first_rule_for_a_request_replaces_the_other_conditions() {
    let document = DOCUMENT.replace(
        r#""slowerThan": "2s""#,
        r#""slowerThan": "2s", "rules": [
            {"match": [{"uri": {"prefix": "/export"}}, {"method": {"exact": "PUT"}}],
             "slowerThan": "30s"},
            {"match": [{"uri": {"prefix": "/"}, "headers": {"x-user": {}}}],
             "headers": {"x-sick": {}}}
        ]"#,
    );
    let mark = |path, method, latency, headers: &[(&'static str, &'static str)]| {
        let request = [("request :path", path), ("request :method", method), (":status", "200")];
        respond(&document, latency, &[&request[..], headers].concat())
    };
    assert_eq!(mark("/a", "GET", 2001, &[]).as_deref(), Some("latency"), "no rule");
    assert_eq!(mark("/export/1", "GET", 29_000, &[("x-health", "bad")]), None);
    assert_eq!(mark("/a", "PUT", 30_001, &[]).as_deref(), Some("latency"), "the second match");
    let user = ("request x-user", "1");
    assert_eq!(mark("/a", "GET", 5000, &[user]), None);
    assert_eq!(mark("/a", "GET", 0, &[user, ("x-sick", "")]).as_deref(), Some("header"));
}
