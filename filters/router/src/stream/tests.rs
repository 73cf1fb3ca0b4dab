use std::sync::Arc;

use sluice_host::fake::FakeHost;
use sluice_host::filter::Filter;
use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;
use crate::worker::NOTE;

const DOCUMENT: &str = r#"{"clusterName": "{host}", "virtualServices": [
    {"hosts": ["a.com"], "http": [
        {"name": "gone", "match": [{"uri": {"exact": "/gone"}}],
         "directResponse": {"status": 410, "body": {"string": "gone"}},
         "headers": {"response": {"add": {"x-out": "1"}}}},
        {"name": "all", "headers": {"request": {"remove": ["x-in"]},
         "response": {"remove": ["server"], "set": {"x-out": "2"}}},
         "route": [{"destination": {"host": "b"}}]}]}]}"#;

/// A request that goes through a router with this document.
fn stream(document: &str, host: &FakeHost) -> Stream<FakeHost> {
    let compiled = Router::compile(document.as_bytes(), &NoMetadata);
    let (router, warnings) = compiled.unwrap();
    assert_eq!(warnings, []);
    Stream::new(host.clone(), Rc::new(Worker::new(Arc::new(router), 1, host)))
}

fn host(authority: &str, path: &str) -> FakeHost {
    FakeHost::default()
        .with_request_header(":authority", authority)
        .with_request_header(":path", path)
        .with_response_header("server", "x")
}

#[test]
fn a_forwarded_request_is_edited_noted_and_counted() {
    let host = host("a.com", "/")
        .with_request_header("x-in", b"\xff")
        .with_request_header("x-sluice-cluster", "evil");
    let stream = stream(DOCUMENT, &host);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    let headers = host.request_headers();
    let cluster: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-")).collect();
    assert_eq!(cluster, [&("x-sluice-cluster".to_owned(), b"b".to_vec())]);
    assert_eq!(host.notes(), [(NOTE.to_owned(), "all".to_owned())]);
    assert_eq!(host.count("sluice.router.forwarded"), 1);
    assert_eq!(host.count("sluice.router.responded"), 0);
    assert_eq!(host.replies(), []);
    stream.on_response_headers(false);
    let response = [("x-out".to_owned(), b"2".to_vec())];
    assert_eq!(host.response_headers(), response);
    // The edits are applied once, even if Envoy calls again.
    stream.on_response_headers(false);
    assert_eq!(host.response_headers(), response);
}

#[test]
fn a_request_for_another_host_is_left_to_the_routes_of_envoy() {
    let document = DOCUMENT.replacen('{', r#"{"unmatchedHosts": "pass", "#, 1);
    let host = host("other.com", "/")
        .with_request_header("x-in", "1")
        .with_request_header("x-sluice-cluster", "evil");
    let stream = stream(&document, &host);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    let names: Vec<_> = host.request_headers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [":authority", ":path", "x-in"]);
    assert_eq!(host.replies(), []);
    assert_eq!(host.count("sluice.router.passed"), 1);
    assert_eq!(host.notes(), [(NOTE.to_owned(), "no virtual host".to_owned())]);
}

#[test]
fn a_reply_is_sent_once_and_edited_like_a_response() {
    let host = host("a.com", "/gone");
    let stream = stream(DOCUMENT, &host);
    assert_eq!(stream.on_request_headers(), Action::Pause);
    let replies = host.replies();
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].status, replies[0].body.as_slice()), (410, &b"gone"[..]));
    assert_eq!(replies[0].details, "sluice_router_responded");
    assert_eq!(host.count("sluice.router.responded"), 1);
    stream.on_response_headers(false);
    let added = ("x-out".to_owned(), b"1".to_vec());
    assert!(host.response_headers().contains(&added));
}

#[test]
fn in_shadow_mode_decisions_are_counted_and_requests_left_to_the_routes_of_envoy() {
    let document = DOCUMENT.replacen('{', r#"{"router": {"mode": "shadow"}, "#, 1);
    for (authority, path, counter, note) in [
        ("a.com", "/", "forwarded", "all"),
        ("a.com", "/gone", "responded", "gone"),
        ("b.com", "/", "no_virtual_host", "no virtual host"),
    ] {
        let host = host(authority, path)
            .with_request_header("x-in", "1")
            .with_request_header("x-sluice-cluster", "evil");
        let stream = stream(&document, &host);
        assert_eq!(stream.on_request_headers(), Action::Continue);
        let names: Vec<_> = host.request_headers().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [":authority", ":path", "x-in"], "clients must not select a cluster");
        assert_eq!(host.replies(), []);
        for counter in [counter, "shadowed"] {
            assert_eq!(host.count(&format!("sluice.router.{counter}")), 1, "{counter}");
        }
        assert_eq!(host.notes(), [(NOTE.to_owned(), note.to_owned())]);
        stream.on_response_headers(false);
        assert_eq!(host.response_headers(), [("server".to_owned(), b"x".to_vec())]);
    }
}

#[test]
fn a_second_policy_is_counted_and_changes_nothing() {
    let shadow = r#"{"metrics": {"routes": true}, "shadow": {"virtualServices": [
        {"hosts": ["a.com"], "http": [
            {"match": [{"uri": {"prefix": "/same"}}], "headers": {"request": {"remove": ["x-in"]},
             "response": {"remove": ["server"], "set": {"x-out": "2"}}},
             "route": [{"destination": {"host": "b"}}]},
            {"directResponse": {"status": 418}}]}]}, "#;
    let document = DOCUMENT.replacen('{', shadow, 1);
    for (authority, path, decision, route) in [
        ("a.com", "/same", "same", Some("all")),
        ("a.com", "/other", "different", Some("all")),
        ("a.com", "/gone", "different", Some("gone")),
        ("b.com", "/", "same", None),
    ] {
        let own = host(authority, path).with_request_header("x-in", "1");
        let stream = stream(&document, &own);
        let plain = host(authority, path).with_request_header("x-in", "1");
        let without = self::stream(DOCUMENT, &plain);
        assert_eq!(stream.on_request_headers(), without.on_request_headers());
        stream.on_response_headers(false);
        without.on_response_headers(false);
        assert_eq!(own.request_headers(), plain.request_headers());
        assert_eq!(own.response_headers(), plain.response_headers());
        assert_eq!(own.replies().len(), plain.replies().len());
        assert_eq!(own.notes(), plain.notes());
        for word in ["same", "different"] {
            let expected = usize::from(word == decision);
            assert_eq!(own.count(&format!("sluice.router.shadow_{word}")), expected, "{path}");
            for known in ["all", "gone"] {
                let name = format!("sluice.router.shadow;route={known};decision={word};");
                let expected = usize::from(word == decision && route == Some(known));
                assert_eq!(own.count(&name), expected, "{path} {name}");
            }
        }
    }
}
