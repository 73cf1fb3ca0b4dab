use std::sync::Arc;

use sluice_host::counters::CounterSet;
use sluice_host::fake::FakeHost;
use sluice_host::filter::Filter;
use sluice_policy::egress::Egress;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;
use crate::worker::{Event, NOTE};

const ENTRIES: &str = r#"[
    {"hosts": ["a.com"], "resolution": "DNS", "ports": [
        {"number": 80, "name": "http", "protocol": "HTTP"},
        {"number": 443, "name": "tls", "protocol": "TLS"}]},
    {"hosts": ["b.com"], "addresses": ["192.0.2.0/24"], "ports": [
        {"number": 80, "name": "http", "protocol": "HTTP"},
        {"number": 443, "name": "tls", "protocol": "TLS"},
        {"number": 5432, "name": "tcp", "protocol": "TCP"}]}]"#;

/// The filter with this mode and these settings.
fn filter(mode: &str, settings: &str) -> Rc<Worker> {
    let document = format!(
        r#"{{"outboundTrafficPolicy": {{"mode": "{mode}"}}, "serviceEntries": {ENTRIES},
            "egress": {settings}}}"#
    );
    let (egress, warnings) = Egress::compile(document.as_bytes(), &NoMetadata).unwrap();
    assert_eq!(warnings, []);
    Rc::new(Worker::new(Arc::new(egress), 1, &FakeHost::default()))
}

fn on_request_headers(worker: &Rc<Worker>, host: &FakeHost) -> Action {
    worker.request(2, host.clone()).on_request_headers()
}

fn on_new_connection(worker: &Rc<Worker>, host: &FakeHost) -> Action {
    worker.connection(2, host.clone()).unwrap().on_new_connection()
}

fn host(authority: &str, server_name: &str, destination: &str) -> FakeHost {
    FakeHost::default()
        .with_request_header(":method", "GET")
        .with_request_header(":authority", authority)
        .with_property(&["connection", "requested_server_name"], server_name)
        .with_property(&["destination", "address"], destination)
}

/// The counters that were incremented, each by one, and the note.
fn observed(host: &FakeHost) -> (Vec<&'static str>, String) {
    let incremented = Event::NAMES.iter().filter(|name| host.count(name) > 0);
    let names = incremented.map(|name| {
        assert_eq!(host.count(name), 1);
        name.strip_prefix("sluice.egress.").unwrap()
    });
    let notes = host.notes();
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].0, NOTE);
    (names.collect(), notes[0].1.clone())
}

#[test]
fn a_request_passes_or_is_answered() {
    let worker = filter("REGISTRY_ONLY", "{}");
    for (authority, destination, counter, note) in [
        ("a.com", "10.0.0.1:80", "known", "serviceEntries[0]"),
        ("b.com", "192.0.2.1:80", "known", "serviceEntries[1]"),
        ("b.com", "10.0.0.1:80", "address_mismatch", "address_mismatch"),
        ("a.com", "10.0.0.1:443", "unknown_port", "unknown_port"),
        ("c.com", "10.0.0.1:80", "unknown_name", "unknown_name"),
        ("192.0.2.1", "192.0.2.1:80", "known", "address"),
        ("192.0.3.1", "192.0.3.1:80", "unknown_address", "unknown_address"),
        ("", "192.0.2.1:80", "no_name", "no_name"),
    ] {
        let host = host(authority, "", destination);
        let action = on_request_headers(&worker, &host);
        assert_eq!(observed(&host), (vec![counter], note.to_owned()), "{authority}");
        let replies = host.replies();
        assert_eq!(action == Action::Pause, counter != "known");
        assert_eq!(replies.len(), usize::from(action == Action::Pause));
        for reply in replies {
            assert_eq!((reply.status, reply.body, reply.headers), (502, Vec::new(), Vec::new()));
            assert_eq!(reply.details, format!("sluice_egress_{counter}"));
        }
    }
}

#[test]
fn a_connection_passes_or_is_closed() {
    let worker = filter("REGISTRY_ONLY", "{}");
    for (server_name, destination, counter, note) in [
        ("a.com", "10.0.0.1:443", "known", "serviceEntries[0]"),
        ("b.com", "192.0.2.1:443", "known", "serviceEntries[1]"),
        ("b.com", "10.0.0.1:443", "address_mismatch", "address_mismatch"),
        ("a.com", "10.0.0.1:80", "unknown_port", "unknown_port"),
        ("c.com", "10.0.0.1:443", "unknown_name", "unknown_name"),
        ("c.com", "192.0.2.1:5432", "known", "address"),
        ("", "192.0.2.1:5432", "known", "address"),
        ("", "192.0.2.1:443", "no_name", "no_name"),
        ("a.com", "", "unknown_port", "unknown_port"),
    ] {
        let host = host("", server_name, destination);
        let action = on_new_connection(&worker, &host);
        assert_eq!(observed(&host), (vec![counter], note.to_owned()), "{server_name}");
        assert_eq!(action == Action::Pause, counter != "known");
        assert_eq!(host.closures(), usize::from(action == Action::Pause));
    }
}

#[test]
fn what_is_only_reported_passes() {
    let worker = filter("REGISTRY_ONLY", r#"{"mode": "shadow"}"#);
    let request = host("c.com", "c.com", "10.0.0.1:80");
    assert_eq!(on_request_headers(&worker, &request), Action::Continue);
    let expected = (vec!["reported", "unknown_name"], "unknown_name".to_owned());
    assert_eq!(observed(&request), expected);
    assert_eq!(request.replies(), []);
    let connection = host("c.com", "c.com", "10.0.0.1:80");
    assert_eq!(on_new_connection(&worker, &connection), Action::Continue);
    assert_eq!(observed(&connection), expected);
    assert_eq!(connection.closures(), 0);
}

#[test]
fn all_may_be_called_where_everything_is_allowed() {
    let worker = filter("ALLOW_ANY", "{}");
    let passthrough = (vec!["passthrough"], "passthrough".to_owned());
    for name in ["c.com", ""] {
        let request = host(name, name, "10.0.0.1:80");
        assert_eq!(on_request_headers(&worker, &request), Action::Continue);
        assert_eq!(observed(&request), passthrough);
        let connection = host(name, name, "10.0.0.1:80");
        assert_eq!(on_new_connection(&worker, &connection), Action::Continue);
        assert_eq!(observed(&connection), passthrough);
    }
}

#[test]
fn a_reason_is_told_with_403() {
    let worker = filter("REGISTRY_ONLY", r#"{"blockStatus": 403}"#);
    let host = host("c.com", "", "10.0.0.1:80");
    assert_eq!(on_request_headers(&worker, &host), Action::Pause);
    let replies = host.replies();
    assert_eq!((replies[0].status, replies.len()), (403, 1));
    assert_eq!(replies[0].body, b"egress: the host is not registered");
}
