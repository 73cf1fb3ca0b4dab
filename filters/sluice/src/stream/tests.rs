use std::sync::Arc;
use std::time::Duration;

use sluice_host::fake::FakeHost;
use sluice_host::filter::Filter;
use sluice_policy::chain::Chain;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;

const PLUGIN: u32 = 1;
const ID: u32 = 7;

/// The rules of host `a`: one for each part, and one for all other requests.
const RULES: &str = r#"[
    {"match": [{"uri": {"exact": "/abort"}}], "mirror": {"host": "copy"},
     "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 100}}},
     "route": [{"destination": {"host": "b"}}]},
    {"name": "wait", "match": [{"uri": {"exact": "/wait"}}], "mirror": {"host": "copy"},
     "fault": {"delay": {"fixedDelay": "1s", "percentage": {"value": 100}}},
     "rewrite": {"uri": "/rewritten"}, "headers": {"response": {"set": {"x-out": "1"}}},
     "route": [{"destination": {"host": "b"}}]},
    {"match": [{"uri": {"prefix": "/all"}}], "mirror": {"host": "copy"},
     "route": [{"destination": {"host": "b"}}]}]"#;

/// A worker with these members of the document before its virtual services, and these rules.
fn worker(more: &str, rules: &str) -> Rc<Worker> {
    let document = format!(
        r#"{{"clusterName": "{{host}}", {more}
            "virtualServices": [{{"hosts": ["a"], "http": {rules}}}]}}"#
    );
    let (chain, notices) = Chain::compile(document.as_bytes(), &NoMetadata).unwrap();
    assert_eq!(notices, []);
    Rc::new(Worker::new(Arc::new(chain), PLUGIN, &FakeHost::default()))
}

fn stream(worker: &Rc<Worker>, path: &str, more: &[(&str, &str)]) -> Stream<FakeHost> {
    let mut host = FakeHost::default().with_request_header(":authority", "a");
    host = host.with_property(&["response", "code_details"], "via_upstream");
    for (name, value) in [&[(":method", "GET"), (":path", path)], more].concat() {
        host = host.with_request_header(name, value);
    }
    worker.request(ID, host)
}

/// The request's headers, without those of the client.
fn added(stream: &Stream<FakeHost>) -> Vec<(String, String)> {
    let headers = stream.host.request_headers().into_iter();
    let added = headers.filter(|(name, _)| name.starts_with("x-"));
    added.map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Delays, aborts, mirrored requests, forwarded requests and requests without a route.
fn counts(stream: &Stream<FakeHost>) -> [usize; 5] {
    [
        "fault.delays_injected",
        "fault.aborts_injected",
        "mirror.mirrored",
        "router.forwarded",
        "router.no_route",
    ]
    .map(|name| stream.host.count(&format!("sluice.{name}")))
}

fn notes(stream: &Stream<FakeHost>) -> Vec<(String, String)> {
    stream.host.notes()
}

/// Advances the time by a second and ticks.
fn tick(stream: &Stream<FakeHost>) {
    stream.host.pass(Duration::from_secs(1));
    stream.worker.on_tick(PLUGIN, &stream.host);
}

#[test]
fn a_request_is_copied_and_routed() {
    let stream = stream(&worker("", RULES), "/all", &[]);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    let expected = pairs(&[("x-sluice-mirror-0", "copy"), ("x-sluice-cluster", "b")]);
    assert_eq!(added(&stream), expected);
    assert_eq!(counts(&stream), [0, 0, 1, 1, 0]);
    let route = "virtualServices[0].http[2].match[0]";
    assert_eq!(notes(&stream), pairs(&[("sluice.route", route)]));
    assert_eq!(stream.host.timer(), None);
}

#[test]
fn an_aborted_request_is_neither_copied_nor_routed() {
    let stream = stream(&worker("", RULES), "/abort", &[]);
    assert_eq!(stream.on_request_headers(), Action::Pause);
    assert_eq!((added(&stream), counts(&stream)), (Vec::new(), [0, 1, 0, 0, 0]));
    assert_eq!(notes(&stream), pairs(&[("sluice.fault", "abort")]));
    let replies = stream.host.replies();
    assert_eq!((replies.len(), replies[0].status), (1, 503));
    stream.on_response_headers(false);
    let mark = ("x-sluice-fault".to_owned(), b"abort".to_vec());
    assert_eq!(stream.host.response_headers(), [mark]);
}

#[test]
fn a_delayed_request_is_copied_and_routed_after_its_delay() {
    let stream = stream(&worker("", RULES), "/wait", &[("x-sluice-mirror-7", "evil")]);
    assert_eq!(stream.on_request_headers(), Action::Pause);
    assert_eq!(stream.host.timer(), Some(Duration::from_secs(1)));
    assert_eq!(added(&stream), pairs(&[("x-sluice-mirror-7", "evil")]), "as it arrived");
    assert_eq!(counts(&stream), [1, 0, 0, 0, 0]);
    tick(&stream);
    assert_eq!((stream.host.resumptions(), stream.host.timer()), (1, None));
    assert_eq!(counts(&stream), [1, 0, 1, 1, 0]);
    let expected = pairs(&[
        ("x-sluice-mirror-0", "copy"),
        ("x-envoy-original-path", "/wait"),
        ("x-sluice-cluster", "b"),
    ]);
    assert_eq!(added(&stream), expected);
    assert_eq!(notes(&stream), pairs(&[("sluice.fault", "delay"), ("sluice.route", "wait")]));
    stream.on_response_headers(false);
    let expected = [("x-out", "1"), ("x-sluice-fault", "delay")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    assert_eq!(stream.host.response_headers(), expected, "the edits of the router come first");
    stream.on_end();
}

#[test]
fn a_delayed_request_without_a_route_is_answered_after_its_delay() {
    let settings = r#""faults": {"headers": {"delay": {"value": 100}}},"#;
    let header = [("x-envoy-fault-delay-request", "1000")];
    let stream = stream(&worker(settings, RULES), "/nowhere", &header);
    assert_eq!(stream.on_request_headers(), Action::Pause);
    assert_eq!((stream.host.replies(), counts(&stream)), (Vec::new(), [1, 0, 0, 0, 0]));
    tick(&stream);
    let replies = stream.host.replies();
    assert_eq!((replies.len(), replies[0].status, stream.host.resumptions()), (1, 404, 0));
    assert_eq!(counts(&stream), [1, 0, 0, 0, 1]);
}

#[test]
fn a_client_that_leaves_during_the_delay_is_neither_copied_nor_routed() {
    let worker = worker("", RULES);
    let stream = stream(&worker, "/wait", &[]);
    assert_eq!(stream.on_request_headers(), Action::Pause);
    stream.on_end();
    tick(&stream);
    assert_eq!((added(&stream), stream.host.resumptions()), (Vec::new(), 0));
    assert_eq!(counts(&stream), [1, 0, 0, 0, 0]);
    assert_eq!(stream.host.gauge("sluice.fault.active_faults"), 0);
}

#[test]
fn clients_cannot_steer_also_without_mirrors() {
    let worker = worker("", r#"[{"route": [{"destination": {"host": "b"}}]}]"#);
    let sent = [("x-sluice-mirror-0", "evil"), ("x-sluice-cluster", "evil")];
    let stream = stream(&worker, "/", &sent);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    assert_eq!(added(&stream), pairs(&[("x-sluice-cluster", "b")]));
}

#[test]
fn egress_comes_first_and_sees_the_host_of_the_client() {
    let more = r#""outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}, "egress": {"port": "authority"},
        "serviceEntries": [{"hosts": ["a"], "ports": [{"number": 80, "name": "http",
            "protocol": "HTTP"}], "resolution": "DNS"}],"#;
    let rewritten = RULES.replace(r#"{"uri": "/rewritten"}"#, r#"{"authority": "other"}"#);
    let worker = worker(more, &rewritten);
    let known = stream(&worker, "/wait", &[]);
    assert_eq!(known.on_request_headers(), Action::Pause);
    tick(&known);
    let expected = [
        ("sluice.egress", "serviceEntries[0]"),
        ("sluice.fault", "delay"),
        ("sluice.route", "wait"),
    ];
    assert_eq!(notes(&known), pairs(&expected), "the delay does not repeat it");
    let host = FakeHost::default()
        .with_request_header(":method", "GET")
        .with_request_header(":authority", "unknown")
        .with_request_header(":path", "/abort");
    let unknown = worker.request(ID, host);
    assert_eq!(unknown.on_request_headers(), Action::Pause);
    let replies = unknown.host.replies();
    assert_eq!((replies.len(), replies[0].status), (1, 502));
    assert_eq!(
        (notes(&unknown), counts(&unknown)),
        (pairs(&[("sluice.egress", "unknown_name")]), [0; 5])
    );
}

/// Settings that compare the answers to copies.
const COMPARE: &str = r#""mirroring": {"compare": {"bodyHash": true, "timeout": "2s"}},"#;

#[test]
fn copies_of_a_delayed_request_are_compared() {
    let worker = worker(COMPARE, RULES);
    let stream = stream(&worker, "/wait", &[]);

    assert_eq!(stream.on_request_headers(), Action::Pause);
    tick(&stream);
    assert_eq!(counts(&stream), [1, 0, 0, 1, 0], "the filter sends the copy itself");
    stream.on_response_headers(false);
    assert_eq!(stream.on_response_body(0), Action::Continue);
    stream.on_log();
    stream.on_end();
    let calls = stream.host.take_calls();
    let paths: Vec<_> = calls
        .iter()
        .flat_map(|call| &call.headers)
        .filter(|(name, _)| name == ":path")
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect();
    assert_eq!((calls.len(), paths), (1, vec!["/rewritten".to_owned()]), "as it was forwarded");
}

#[test]
fn the_tick_of_calls_turns_the_timer_off() {
    let rules = r#"[{"mirror": {"host": "copy"}, "route": [{"destination": {"host": "b"}}]}]"#;
    let worker = worker(COMPARE, rules);
    let host = FakeHost::default();
    sluice_host::host::Host::set_timer(&host, Some(Duration::from_millis(1)));
    worker.on_tick(PLUGIN, &host);
    assert_eq!(host.timer(), None);
}

#[test]
fn a_body_can_be_slow() {
    let rules = r#"[{"mirror": {"host": "copy"}, "route": [{"destination": {"host": "b"}}],
        "fault": {"responseRateLimit": {"limitKbps": 1, "percentage": {"value": 100}}}}]"#;
    let worker = worker("", rules);
    let stream = stream(&worker, "/", &[]);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    assert_eq!(stream.on_response_body(1024), Action::Pause);
    assert_eq!(stream.on_response_trailers(), Action::Pause);
    tick(&stream);
    assert_eq!((stream.host.resumptions(), counts(&stream)), (1, [0, 0, 1, 1, 0]));
    assert_eq!(stream.on_response_trailers(), Action::Continue);
}
