//! One request through the fault filter: it goes on, waits, or is answered, and its response may be slow or
//! break off.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sluice_host::attributes::StreamAttributes;
use sluice_host::delay::{DelayQueue, Timer};
use sluice_host::http::{Counter, Gauge, HttpHost, LocalReply};
use sluice_host::random::Random;
use sluice_policy::fault::{ABORT_BODY, Faults, Plan};
use sluice_policy::request::Request;
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::value::budget::Spending;
use sluice_policy::value::header::HeaderEdit;

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
    response_rl_injected: Counter,
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
            response_rl_injected: counter("sluice.fault.response_rl_injected"),
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

/// What happens to a piece of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It is held back; the timer is to be set so.
    Hold(Timer),
    /// It goes on.
    Pass,
    /// The stream is reset.
    Reset,
}

/// What the queue keeps of a stream that waits.
#[derive(Debug)]
pub struct Waiting {
    /// What is to be decided about a request; absent where it is the response that waits
    request: Option<Plan>,
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
    pace: Option<Pace>,
}

/// How fast a response's body passes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    bytes_per_second: u64,
    /// When everything so far may have passed
    paid_until: Option<Instant>,
}

impl<H: HttpHost> Stream<H> {
    /// A stream that has just begun; `id` is its context's.
    pub fn new(id: u32, host: H, shared: Rc<Shared>) -> Self {
        Self { id, host, shared, state: Rc::default(), body_left: None, pace: None }
    }

    /// Injects what is due to the request.
    pub fn on_request_headers(&mut self) -> Next {
        let shared = &*self.shared;
        if !shared.faults.may_inject() {
            return Next::Continue;
        }
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        let plan = shared.faults.plan(&request, || self.host.time_of_day(), &mut &shared.random);
        for _ in 0..plan.malformed_headers {
            self.host.increment(shared.counters.malformed_headers);
        }
        self.body_left = plan.reset_after;
        self.pace = plan
            .bytes_per_second
            .map(|bytes_per_second| Pace { bytes_per_second, paid_until: None });
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
            let waiting = Waiting { request: Some(plan), state: Rc::clone(&self.state) };
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

    /// Breaks off a response whose time has come, or holds a piece of it until its time has.
    pub fn on_response_body(&mut self, size: usize) -> Body {
        // The abort's own body is not the upstream's.
        if self.state.mark.get() == Some("abort") {
            return Body::Pass;
        }
        let left = self.body_left.map(|left| left.checked_sub(size as u64));
        self.body_left = left.flatten();
        if left == Some(None) && self.state.admit(&self.shared, &self.host) {
            self.host.increment(self.shared.counters.resets_injected);
            self.host.note(NOTE, "reset");
            self.host.reset_response();
            return Body::Reset;
        }
        self.hold(size)
    }

    /// Holds a piece of the body until all that has come, with it, could have passed at the rate.
    fn hold(&mut self, size: usize) -> Body {
        let Some(pace) = &mut self.pace else { return Body::Pass };
        let now = self.host.now();
        let paid_until = match pace.paid_until {
            Some(paid_until) => paid_until.max(now),
            None if self.state.admit(&self.shared, &self.host) => {
                self.host.increment(self.shared.counters.response_rl_injected);
                now
            }
            None => {
                self.pace = None;
                return Body::Pass;
            }
        };
        let cost = Duration::from_secs_f64(size as f64 / pace.bytes_per_second as f64);
        let Some(deadline) = paid_until.checked_add(cost) else { return Body::Pass };
        pace.paid_until = Some(deadline);
        let mut queue = self.shared.queue.borrow_mut();
        let held = self.state.deadline.take().and_then(|held| queue.remove(self.id, held));
        // The empty piece that ends a body costs nothing, but it does not overtake the others.
        if held.is_none() && cost.is_zero() {
            return Body::Pass;
        }
        self.state.deadline.set(Some(deadline));
        let waiting = Waiting { request: None, state: Rc::clone(&self.state) };
        Body::Hold(queue.push(self.id, deadline, now, waiting))
    }

    /// Whether a part of the response's body is held back.
    pub fn holds_response(&self) -> bool {
        self.state.deadline.get().is_some()
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
    /// The time is over: answers the request or lets it go on, or the response. Calls of `host` have
    /// to be about the stream that waited.
    pub fn on_time_over(self, shared: &Shared, host: &impl HttpHost) {
        self.state.deadline.set(None);
        let Some(plan) = self.request else {
            host.resume_response();
            return;
        };
        if !self.state.abort(&plan, shared, host) {
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
mod tests;
