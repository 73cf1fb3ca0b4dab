use std::sync::Arc;
use std::time::SystemTime;

use sluice_host::fake::FakeHost;
use sluice_host::filter::Filter;
use sluice_policy::fault::{ABORT_BODY, Faults};
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;
use crate::worker::{ACTIVE_FAULTS, DELAY_TIME};

const PLUGIN: u32 = 1;

/// A worker with these settings. Requests for `/wait` wait for a second, others are aborted then.
fn worker(settings: &str) -> Rc<Worker> {
    worker_with(settings, r#"{"delay": {"fixedDelay": "1s", "percentage": {"value": 100}}}"#)
}

/// The same with another fault for `/wait`.
fn worker_with(settings: &str, fault: &str) -> Rc<Worker> {
    worker_on(&FakeHost::default(), settings, fault)
}

/// The same in the VM of this host.
fn worker_on(vm: &FakeHost, settings: &str, fault: &str) -> Rc<Worker> {
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
    let compiled = Faults::compile(document.as_bytes(), &NoMetadata);
    let (faults, warnings) = compiled.unwrap();
    assert_eq!(warnings, []);
    Rc::new(Worker::new(Arc::new(faults), PLUGIN, vm))
}

fn stream(id: u32, path: &str, worker: &Rc<Worker>) -> Stream<FakeHost> {
    let host = FakeHost::default()
        .with_request_header(":authority", "a")
        .with_request_header(":path", path);
    worker.request(id, host)
}

/// Advances the time by a second and ticks.
fn tick(stream: &Stream<FakeHost>) {
    stream.host.pass(Duration::from_secs(1));
    stream.worker.on_tick(PLUGIN, &stream.host);
}

/// Delays, aborts, overflows, exhausted budgets and active faults of a stream.
fn counts(stream: &Stream<FakeHost>) -> [usize; 5] {
    let host = &stream.host;
    [
        host.count("sluice.fault.delays_injected"),
        host.count("sluice.fault.aborts_injected"),
        host.count("sluice.fault.faults_overflow"),
        host.count("sluice.fault.budget_exhausted"),
        usize::try_from(host.gauge(ACTIVE_FAULTS)).unwrap(),
    ]
}

#[test]
fn a_request_waits_and_then_continues() {
    let stream = stream(7, "/wait", &worker("{}"));
    assert_eq!(stream.on_request_headers(), Action::Pause);
    assert_eq!(stream.host.timer(), Some(Duration::from_secs(1)));
    assert_eq!(counts(&stream), [1, 0, 0, 0, 1]);
    assert_eq!(stream.host.recorded(DELAY_TIME), [1_000]);
    assert_eq!(stream.host.resumptions(), 0);
    tick(&stream);
    assert_eq!(stream.host.resumptions(), 1);
    assert_eq!(stream.host.replies(), []);
    // It is not active any more, although the stream continues.
    assert_eq!(counts(&stream), [1, 0, 0, 0, 0]);
    stream.on_response_headers(false);
    assert_eq!(stream.host.response_headers(), [(MARK.to_owned(), b"delay".to_vec())]);
    assert!(stream.worker.delays.is_empty());
    assert_eq!(stream.host.timer(), None);
}

#[test]
fn the_abort_comes_after_the_delay_and_counts_as_one_active_fault() {
    let stream = stream(7, "/", &worker("{}"));
    assert_eq!(stream.on_request_headers(), Action::Pause);
    assert_eq!(stream.host.replies(), []);
    tick(&stream);
    let replies = stream.host.replies();
    assert_eq!((replies[0].status, replies[0].grpc_status), (200, Some(14)));
    assert_eq!(replies[0].body, ABORT_BODY.as_bytes());
    assert_eq!(replies[0].details, "fault_filter_abort");
    assert_eq!((replies.len(), stream.host.resumptions()), (1, 0));
    assert_eq!(counts(&stream), [1, 1, 0, 0, 1]);
    stream.on_response_headers(false);
    assert_eq!(stream.host.response_headers(), [(MARK.to_owned(), b"abort".to_vec())]);
}

#[test]
fn a_response_is_reset_when_too_many_bytes_have_arrived() {
    let fault = r#"{"reset": {"afterBytes": 10, "percentage": {"value": 100}}}"#;
    let longer = stream(1, "/wait", &worker_with("{}", fault));
    assert_eq!(longer.on_request_headers(), Action::Continue);
    let actions = [6, 4, 0, 1].map(|size| longer.on_response_body(size));
    assert_eq!(actions[..3], [Action::Continue; 3]);
    assert_eq!(actions[3], Action::Pause);
    assert_eq!((longer.host.resets(), longer.host.count("sluice.fault.resets_injected")), (1, 1));
    assert_eq!(longer.on_response_body(1), Action::Continue, "once is enough");
    assert_eq!(longer.host.resets(), 1);
    let other = stream(2, "/", &worker("{}"));
    other.on_request_headers();
    assert_eq!((other.on_response_body(1000), other.host.resets()), (Action::Continue, 0));
}

#[test]
fn a_response_passes_at_its_rate() {
    let fault = r#"{"responseRateLimit": {"limitKbps": 1, "percentage": {"value": 100}}}"#;
    let worker = worker_with("{}", fault);
    let stream = stream(1, "/wait", &worker);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    let half = Duration::from_millis(500);
    assert_eq!(stream.on_response_body(512), Action::Pause);
    assert_eq!(stream.host.timer(), Some(half));
    assert_eq!(counts(&stream)[4], 1);
    // More arrives while it is held: everything passes together, at the deadline of the last piece.
    stream.host.pass(Duration::from_millis(250));
    assert_eq!(stream.on_response_body(512), Action::Pause);
    assert_eq!(stream.on_response_body(0), Action::Pause, "not before the others");
    assert_eq!(stream.on_response_trailers(), Action::Pause);
    assert_eq!(stream.host.timer(), Some(half), "it was armed before");
    stream.host.pass(Duration::from_millis(250));
    worker.on_tick(PLUGIN, &stream.host);
    assert_eq!((stream.host.resumptions(), stream.host.timer()), (0, Some(half)));
    tick(&stream);
    assert_eq!(stream.host.resumptions(), 1);
    assert_eq!(stream.on_response_trailers(), Action::Continue);
    assert!(worker.delays.is_empty());
    assert_eq!(stream.on_response_body(0), Action::Continue);
    assert_eq!(stream.host.count("sluice.fault.response_rl_injected"), 1);
}

#[test]
fn a_stream_that_ends_while_it_waits_is_removed() {
    let stream = stream(7, "/wait", &worker("{}"));
    stream.on_request_headers();
    assert!(!stream.worker.delays.is_empty());
    assert_eq!(counts(&stream)[4], 1);
    stream.on_end();
    assert!(stream.worker.delays.is_empty());
    assert_eq!(counts(&stream)[4], 0);
}

#[test]
fn the_old_and_the_new_configuration_of_a_worker_share_the_limit_of_active_faults() {
    const SETTINGS: &str = r#"{"maxActive": 2}"#;
    const FAULT: &str = r#"{"delay": {"fixedDelay": "1s", "percentage": {"value": 100}}}"#;
    let vm = FakeHost::default();
    let old = stream(1, "/wait", &worker_on(&vm, SETTINGS, FAULT));
    assert_eq!(old.on_request_headers(), Action::Pause);
    let new = worker_on(&vm, SETTINGS, FAULT);
    assert_eq!(stream(2, "/wait", &new).on_request_headers(), Action::Pause);
    assert_eq!(stream(3, "/wait", &new).on_request_headers(), Action::Continue);
    old.on_end();
    assert_eq!(stream(4, "/wait", &new).on_request_headers(), Action::Pause);
    // The streams of a VM that has trapped never end, but a new VM does not know them.
    let reloaded = worker_on(&FakeHost::default(), SETTINGS, FAULT);
    assert_eq!(stream(5, "/wait", &reloaded).on_request_headers(), Action::Pause);
}

#[test]
fn requests_continue_without_a_fault_when_a_limit_is_reached() {
    let full = worker(r#"{"maxActive": 0}"#);
    let first = stream(1, "/", &full);
    assert_eq!(first.on_request_headers(), Action::Continue);
    // Both the delay and then the abort exceed the limit.
    assert_eq!(counts(&first), [0, 0, 2, 0, 0]);
    let spent = worker(r#"{"budget": {"faults": 1, "window": "1h"}, "markResponses": false}"#);
    let first = stream(1, "/wait", &spent);
    assert_eq!(first.on_request_headers(), Action::Pause);
    tick(&first);
    let second = stream(2, "/wait", &spent);
    assert_eq!(second.on_request_headers(), Action::Continue);
    assert_eq!(counts(&second), [0, 0, 0, 1, 0]);
    first.on_response_headers(false);
    assert_eq!(first.host.response_headers(), []);
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_step_of_the_clock_changes_neither_delays_nor_budgets() {
    let now = SystemTime::UNIX_EPOCH;
    for stepped in [now + HOUR, now - HOUR] {
        let worker = worker(r#"{"budget": {"faults": 1, "window": "60s"}}"#);
        let waiting = stream(7, "/wait", &worker);
        assert_eq!(waiting.on_request_headers(), Action::Pause);
        waiting.host.set_time_of_day(stepped);
        worker.on_tick(PLUGIN, &waiting.host);
        assert_eq!(waiting.host.resumptions(), 0, "the delay has not ended");
        tick(&waiting);
        assert_eq!(waiting.host.resumptions(), 1, "the delay has ended");

        let later = stream(8, "/wait", &worker);
        later.host.set_time_of_day(stepped);
        assert_eq!(later.on_request_headers(), Action::Continue);
        assert_eq!(counts(&later), [0, 0, 0, 1, 0], "the budget is not renewed");
    }
}

#[test]
fn the_end_of_faults_follows_the_clock() {
    let worker = worker(r#"{"notAfter": "1970-01-01T00:30:00Z"}"#);
    let start = SystemTime::UNIX_EPOCH;
    let actions = [start, start + HOUR, start - HOUR].map(|time| {
        let stream = stream(7, "/wait", &worker);
        stream.host.set_time_of_day(time);
        stream.on_request_headers()
    });
    assert_eq!(actions, [Action::Pause, Action::Continue, Action::Pause]);
}

/// The counters of faults that were left out because of the mode: delays, aborts, resets and rate
/// limits.
fn shadow_counts(stream: &Stream<FakeHost>) -> [usize; 4] {
    ["delays", "aborts", "resets", "response_rl"]
        .map(|name| stream.host.count(&format!("sluice.fault.shadow_{name}")))
}

#[test]
fn in_shadow_mode_faults_are_counted_and_nothing_is_delayed_or_aborted() {
    let worker = worker(r#"{"mode": "shadow"}"#);
    let stream = stream(7, "/other", &worker);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    assert_eq!(stream.host.replies(), []);
    assert_eq!(stream.host.timer(), None);
    let note = |text: &str| (NOTE.to_owned(), text.to_owned());
    assert_eq!(stream.host.notes(), [note("shadow delay"), note("shadow abort")]);
    assert_eq!(counts(&stream), [0; 5]);
    assert_eq!(shadow_counts(&stream), [1, 1, 0, 0]);
    assert_eq!(stream.on_response_headers(false), Action::Continue);
    assert_eq!(stream.host.response_headers(), []);
    stream.on_end();
    assert_eq!(counts(&stream), [0; 5]);
}

#[test]
fn in_shadow_mode_faults_of_responses_are_counted_where_they_would_happen() {
    let fault = r#"{"reset": {"afterBytes": 3, "percentage": {"value": 100}},
        "responseRateLimit": {"limitKbps": 1, "percentage": {"value": 100}}}"#;
    let worker = worker_with(r#"{"mode": "shadow"}"#, fault);
    let stream = stream(7, "/wait", &worker);
    assert_eq!(stream.on_request_headers(), Action::Continue);
    assert_eq!(stream.on_response_headers(false), Action::Continue);
    for (size, expected) in [(3, [0, 0, 0, 1]), (1, [0, 0, 1, 1]), (9, [0, 0, 1, 1])] {
        assert_eq!(stream.on_response_body(size), Action::Continue);
        assert_eq!(shadow_counts(&stream), expected);
    }
    assert_eq!(stream.host.resets(), 0);
    assert_eq!(counts(&stream), [0; 5]);
}

#[test]
fn in_shadow_mode_the_budget_applies() {
    let worker = worker(r#"{"mode": "shadow", "budget": {"faults": 1, "window": "1h"}}"#);
    // A delay with an abort is one fault.
    let [first, second] = [7, 8].map(|id| stream(id, "/other", &worker));
    assert_eq!(first.on_request_headers(), Action::Continue);
    assert_eq!((counts(&first), shadow_counts(&first)), ([0; 5], [1, 1, 0, 0]));
    assert_eq!(second.on_request_headers(), Action::Continue);
    assert_eq!((counts(&second), shadow_counts(&second)), ([0, 0, 0, 2, 0], [0; 4]));
}
