//! One request through the fault filter: it goes on, waits, or is answered, and its response may break off.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use sluice_host::attributes::StreamAttributes;
use sluice_host::delay::{DelayQueue, Timer};
use sluice_host::http::{Counter, Gauge, HttpHost, LocalReply};
use sluice_host::random::Random;
use sluice_policy::fault::{ABORT_BODY, AbortStatus, Faults, Plan};
use sluice_policy::header::HeaderEdit;
use sluice_policy::request::Request;

use crate::limits::Spending;

/// The response header that tells of a fault, since a module cannot set Envoy's response flags.
pub const MARK: &str = "x-sluice-fault";

/// The note with the fault of a request, `%FILTER_STATE(wasm.sluice.fault:PLAIN)%`.
pub const NOTE: &str = "sluice.fault";

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// The compiled policy
    pub faults: Faults,
    /// What is counted
    pub counters: Counters,
    /// Draws for shares and lengths
    pub random: Random,
    /// The requests that wait
    pub queue: RefCell<DelayQueue<Waiting>>,
    spending: Spending,
}

/// The filter's counters, `wasmcustom.sluice.fault.*` in Envoy's statistics, called as those of
/// Envoy's fault filter where it has them.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    delays_injected: Counter,
    aborts_injected: Counter,
    resets_injected: Counter,
    faults_overflow: Counter,
    budget_exhausted: Counter,
    malformed_headers: Counter,
    active_faults: Gauge,
}

impl Counters {
    /// Defines them.
    pub fn new(
        counter: impl Fn(&'static str) -> Counter,
        gauge: impl Fn(&'static str) -> Gauge,
    ) -> Self {
        Self {
            delays_injected: counter("sluice.fault.delays_injected"),
            aborts_injected: counter("sluice.fault.aborts_injected"),
            resets_injected: counter("sluice.fault.resets_injected"),
            faults_overflow: counter("sluice.fault.faults_overflow"),
            budget_exhausted: counter("sluice.fault.budget_exhausted"),
            malformed_headers: counter("sluice.fault.malformed_headers"),
            active_faults: gauge("sluice.fault.active_faults"),
        }
    }
}

impl Shared {
    /// Nothing waits yet.
    pub fn new(faults: Faults, counters: Counters) -> Self {
        Self {
            faults,
            counters,
            random: Random::default(),
            queue: RefCell::default(),
            spending: Spending::default(),
        }
    }
}

/// What happens to a request after its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on through the filters.
    Continue,
    /// It was answered.
    Replied,
    /// It waits; the timer is to be set so.
    Wait(Timer),
}

/// What the queue keeps of a request that waits.
#[derive(Debug)]
pub struct Waiting {
    plan: Plan,
    state: Rc<State>,
}

/// What a stream and the queue both know.
#[derive(Debug, Default)]
struct State {
    /// Until when it waits
    deadline: Cell<Option<Instant>>,
    /// Whether it is one of the active faults
    is_active: Cell<bool>,
    /// What its response is marked with
    mark: Cell<Option<&'static str>>,
}

/// One request.
#[derive(Debug)]
pub struct Stream<H: HttpHost> {
    id: u32,
    host: H,
    shared: Rc<Shared>,
    state: Rc<State>,
    /// How much of the response's body may still pass, where it is to break off
    body_left: Option<u64>,
}

impl<H: HttpHost> Stream<H> {
    /// A stream that has just begun; `id` is its context's.
    pub fn new(id: u32, host: H, shared: Rc<Shared>) -> Self {
        Self { id, host, shared, state: Rc::default(), body_left: None }
    }

    /// Injects what is due to the request.
    pub fn on_request_headers(&mut self) -> Next {
        let shared = &*self.shared;
        let headers = self.host.request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::new(&headers, &attributes);
        let plan = shared.faults.plan(&request, || self.host.time_of_day(), &mut &shared.random);
        for _ in 0..plan.malformed_headers {
            self.host.increment(shared.counters.malformed_headers);
        }
        self.body_left = plan.reset_after;
        if let Some(delay) = plan.delay
            && self.state.admit(shared, &self.host)
        {
            self.host.increment(shared.counters.delays_injected);
            self.host.note(NOTE, "delay");
            self.state.mark.set(Some("delay"));
            let now = self.host.now();
            // A deadline beyond the clock's end: as good as never.
            let Some(deadline) = now.checked_add(delay) else { return Next::Wait(Timer::Keep) };
            self.state.deadline.set(Some(deadline));
            let waiting = Waiting { plan, state: Rc::clone(&self.state) };
            return Next::Wait(shared.queue.borrow_mut().push(self.id, deadline, now, waiting));
        }
        if self.state.abort(&plan, shared, &self.host) { Next::Replied } else { Next::Continue }
    }

    /// Marks the response of a request that had a fault.
    pub fn on_response_headers(&mut self) {
        if let Some(mark) = self.state.mark.get()
            && self.shared.faults.settings.marks_responses
        {
            self.host.edit_response_header(&HeaderEdit::set(MARK, mark.as_bytes()));
        }
    }

    /// Breaks off a response whose time has come; whether it did.
    pub fn on_response_body(&mut self, size: usize) -> bool {
        let Some(left) = self.body_left else { return false };
        self.body_left = left.checked_sub(size as u64);
        // The abort's own body is not the upstream's.
        let is_due = self.body_left.is_none() && self.state.mark.get() != Some("abort");
        if !is_due || !self.state.admit(&self.shared, &self.host) {
            return false;
        }
        self.host.increment(self.shared.counters.resets_injected);
        self.host.note(NOTE, "reset");
        self.host.reset_response();
        true
    }

    /// The host, for tests.
    pub fn host(&self) -> &H {
        &self.host
    }
}

impl<H: HttpHost> Drop for Stream<H> {
    /// The end of the stream, also of one whose client left while it waited.
    fn drop(&mut self) {
        if let Some(deadline) = self.state.deadline.take() {
            self.shared.queue.borrow_mut().remove(self.id, deadline);
        }
        self.state.release(&self.shared, &self.host);
    }
}

impl Waiting {
    /// The delay is over: answers the request or lets it go on. Calls of `host` have to be about
    /// the stream that waited.
    pub fn on_delay_over(self, shared: &Shared, host: &impl HttpHost) {
        self.state.deadline.set(None);
        if !self.state.abort(&self.plan, shared, host) {
            // A fault that has done its work is not active any more, however long the stream lasts.
            self.state.release(shared, host);
            host.resume_request();
        }
    }
}

impl State {
    /// Whether a fault may be injected, by the limits; then it is active.
    fn admit(&self, shared: &Shared, host: &impl HttpHost) -> bool {
        if self.is_active.get() {
            return true;
        }
        let settings = &shared.faults.settings;
        let counters = &shared.counters;
        let is_full = |max| host.value(counters.active_faults) >= u64::from(max);
        if settings.max_active.is_some_and(is_full) {
            host.increment(counters.faults_overflow);
            return false;
        }
        if settings.budget.is_some_and(|budget| !shared.spending.spend(budget, host.now())) {
            host.increment(counters.budget_exhausted);
            return false;
        }
        host.change(counters.active_faults, 1);
        self.is_active.set(true);
        true
    }

    fn release(&self, shared: &Shared, host: &impl HttpHost) {
        if self.is_active.take() {
            host.change(shared.counters.active_faults, -1);
        }
    }

    /// Draws the abort and carries it out; whether it did.
    fn abort(&self, plan: &Plan, shared: &Shared, host: &impl HttpHost) -> bool {
        let Some(status) = plan.draw_abort(&mut &shared.random) else { return false };
        if !self.admit(shared, host) {
            return false;
        }
        host.increment(shared.counters.aborts_injected);
        host.note(NOTE, "abort");
        self.mark.set(Some("abort"));
        let (status, grpc_status) = match status {
            AbortStatus::Http(status) => (status, None),
            AbortStatus::Grpc(status) => (200, Some(status)),
        };
        host.reply(&LocalReply {
            status,
            grpc_status,
            headers: Vec::new(),
            body: ABORT_BODY.as_bytes(),
            details: "fault_filter_abort",
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluice_host::fake::FakeHost;
    use sluice_policy::proxy::NoMetadata;

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
        let (faults, notices) = Faults::from_json(document.as_bytes(), &NoMetadata).unwrap();
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
        due.expect("a stream whose time has come").1.on_delay_over(shared, stream.host());
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
        assert_eq!(
            [6, 4, 0, 1].map(|size| longer.on_response_body(size)),
            [false, false, false, true]
        );
        assert_eq!(
            (longer.host().resets(), longer.host().count(shared.counters.resets_injected)),
            (1, 1)
        );
        assert!(!longer.on_response_body(1), "once is enough");
        let mut other = stream(2, "/", &worker("{}"));
        other.on_request_headers();
        assert!(!other.on_response_body(1000));
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
}
