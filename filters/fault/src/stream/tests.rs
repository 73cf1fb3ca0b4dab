use sluice_host::fake::FakeHost;
use sluice_host::host::Host;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;

/// A worker with these settings; every request waits a second and is aborted.
fn worker(settings: &str) -> Rc<Shared> {
    worker_with(settings, r#"{"delay": {"fixedDelay": "1s", "percentage": {"value": 100}}}"#)
}

/// The same with another fault at `/wait`.
fn worker_with(settings: &str, fault: &str) -> Rc<Shared> {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "faults": {settings}, "virtualServices": [
            {{"hosts": ["a"], "http": [{{
                "fault": {fault},
                "match": [{{"uri": {{"exact": "/wait"}}}}],
                "route": [{{"destination": {{"host": "b"}}}}]}}, {{
                "fault": {{"delay": {{"fixedDelay": "1s", "percentage": {{"value": 100}}}},
                    "abort": {{"grpcStatus": "UNAVAILABLE", "percentage": {{"value": 100}}}}}},
                "route": [{{"destination": {{"host": "b"}}}}]}}]}}]}}"#
    );
    let (faults, notices) = Faults::compile(document.as_bytes(), &NoMetadata).unwrap();
    assert_eq!(notices, []);
    let next_id = Cell::new(0);
    let id = || {
        next_id.set(next_id.get() + 1);
        next_id.get()
    };
    let counters = Counters::new(|_| Counter(id()), |_| Gauge(id()));
    Rc::new(Shared::new(faults, counters))
}

fn stream(id: u32, path: &str, shared: &Rc<Shared>) -> Stream<FakeHost> {
    let host = FakeHost::default()
        .with_request_header(":authority", "a")
        .with_request_header(":path", path);
    Stream::new(id, host, Rc::clone(shared))
}

/// Lets a second pass and a tick come.
fn tick(shared: &Shared, stream: &Stream<FakeHost>) {
    stream.host().pass(Duration::from_secs(1));
    let due = shared.queue.borrow_mut().pop_due(stream.host().now());
    due.expect("a stream whose time has come").1.on_time_over(shared, stream.host());
}

/// Delays, aborts, overflows, exhausted budgets and active faults, by one stream's host.
fn counts(shared: &Shared, stream: &Stream<FakeHost>) -> [u64; 5] {
    let counters = &shared.counters;
    let host = stream.host();
    let count = |counter| u64::try_from(host.count(counter)).unwrap();
    [
        count(counters.delays_injected),
        count(counters.aborts_injected),
        count(counters.faults_overflow),
        count(counters.budget_exhausted),
        host.value(counters.active_faults),
    ]
}

#[test]
fn a_request_waits_and_then_goes_on() {
    let shared = worker("{}");
    let mut stream = stream(7, "/wait", &shared);
    let wait = Next::Wait(Timer::Arm(Duration::from_secs(1)));
    assert_eq!(stream.on_request_headers(), wait);
    assert_eq!(counts(&shared, &stream), [1, 0, 0, 0, 1]);
    assert_eq!(stream.host().resumptions(), 0);
    tick(&shared, &stream);
    assert_eq!(stream.host().resumptions(), 1);
    assert_eq!(stream.host().replies(), []);
    // Not active any more, though the stream goes on.
    assert_eq!(counts(&shared, &stream), [1, 0, 0, 0, 0]);
    stream.on_response_headers();
    assert_eq!(stream.host().response_headers(), [(MARK.to_owned(), b"delay".to_vec())]);
    assert!(shared.queue.borrow().is_empty());
}

#[test]
fn the_abort_comes_after_the_delay_and_counts_as_one_active_fault() {
    let shared = worker("{}");
    let mut stream = stream(7, "/", &shared);
    assert!(matches!(stream.on_request_headers(), Next::Wait(_)));
    assert_eq!(stream.host().replies(), []);
    tick(&shared, &stream);
    let replies = stream.host().replies();
    assert_eq!((replies[0].status, replies[0].grpc_status), (200, Some(14)));
    assert_eq!(replies[0].body, ABORT_BODY.as_bytes());
    assert_eq!(replies[0].details, "fault_filter_abort");
    assert_eq!((replies.len(), stream.host().resumptions()), (1, 0));
    assert_eq!(counts(&shared, &stream), [1, 1, 0, 0, 1]);
    stream.on_response_headers();
    assert_eq!(stream.host().response_headers(), [(MARK.to_owned(), b"abort".to_vec())]);
}

#[test]
fn a_response_breaks_off_when_it_is_longer_than_it_may_be() {
    let fault = r#"{"reset": {"afterBytes": 10, "percentage": {"value": 100}}}"#;
    let shared = worker_with("{}", fault);
    let mut longer = stream(1, "/wait", &shared);
    assert_eq!(longer.on_request_headers(), Next::Continue);
    let (pass, reset) = (Body::Pass, Body::Reset);
    assert_eq!([6, 4, 0, 1].map(|size| longer.on_response_body(size)), [pass, pass, pass, reset]);
    assert_eq!(
        (longer.host().resets(), longer.host().count(shared.counters.resets_injected)),
        (1, 1)
    );
    assert_eq!(longer.on_response_body(1), pass, "once is enough");
    let mut other = stream(2, "/", &worker("{}"));
    other.on_request_headers();
    assert_eq!(other.on_response_body(1000), pass);
}

#[test]
fn a_response_passes_at_its_rate() {
    let fault = r#"{"responseRateLimit": {"limitKbps": 1, "percentage": {"value": 100}}}"#;
    let shared = worker_with("{}", fault);
    let mut stream = stream(1, "/wait", &shared);
    assert_eq!(stream.on_request_headers(), Next::Continue);
    let half = Duration::from_millis(500);
    assert_eq!(stream.on_response_body(512), Body::Hold(Timer::Arm(half)));
    assert_eq!(counts(&shared, &stream)[4], 1);
    // More comes while it is held: all of it goes together, at the time of the last.
    stream.host().pass(Duration::from_millis(250));
    assert_eq!(stream.on_response_body(512), Body::Hold(Timer::Keep));
    assert_eq!(stream.on_response_body(0), Body::Hold(Timer::Keep), "not before the others");
    assert!(stream.holds_response());
    stream.host().pass(Duration::from_millis(250));
    assert!(shared.queue.borrow_mut().pop_due(stream.host().now()).is_none());
    tick(&shared, &stream);
    assert_eq!(stream.host().resumptions(), 1);
    assert!(!stream.holds_response() && shared.queue.borrow().is_empty());
    assert_eq!(stream.on_response_body(0), Body::Pass);
    assert_eq!(stream.host().count(shared.counters.response_rl_injected), 1);
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let shared = worker("{}");
    let mut stream = stream(7, "/wait", &shared);
    stream.on_request_headers();
    assert_eq!(shared.queue.borrow().len(), 1);
    drop(stream);
    assert!(shared.queue.borrow().is_empty());
}

#[test]
fn limits_let_requests_pass() {
    let full = worker(r#"{"maxActive": 0}"#);
    let mut first = stream(1, "/", &full);
    assert_eq!(first.on_request_headers(), Next::Continue);
    // The delay and then the abort were both over the limit.
    assert_eq!(counts(&full, &first), [0, 0, 2, 0, 0]);
    let spent = worker(r#"{"budget": {"faults": 1, "window": "1h"}, "markResponses": false}"#);
    let mut first = stream(1, "/wait", &spent);
    assert!(matches!(first.on_request_headers(), Next::Wait(_)));
    tick(&spent, &first);
    let mut second = stream(2, "/wait", &spent);
    assert_eq!(second.on_request_headers(), Next::Continue);
    assert_eq!(counts(&spent, &second), [0, 0, 0, 1, 0]);
    first.on_response_headers();
    assert_eq!(first.host().response_headers(), []);
}
