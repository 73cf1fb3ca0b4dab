//! A request in the fault filter. It continues, waits or is aborted; its response may be slowed
//! down or reset.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sluice_host::attributes::StreamAttributes;
use sluice_host::explained::{Explained, Place};
use sluice_host::filter::{Action, HttpStream};
use sluice_host::followed::Followed;
use sluice_host::http::HttpHost;
use sluice_policy::fault::Plan;
use sluice_policy::request::Request;
use sluice_policy::spec::virtual_services::Match;
use sluice_policy::value::header::HeaderEdit;

use crate::worker::{Event, NOTE, SHADOW_ABORT, State, Waiting, Worker};

/// The response header that names the fault, as a module cannot set Envoy's response flags.
pub const MARK: &str = "x-sluice-fault";

/// One request. `K` is what other filters keep of it.
pub struct Stream<H, K = Explained> {
    id: u32,
    host: H,
    worker: Rc<Worker<K>>,
    state: Rc<State<K>>,
    /// How many bytes of the response's body may pass before a reset, if there is to be one
    bytes_until_reset: Cell<Option<u64>>,
    rate_limit: Cell<Option<RateLimit>>,
    /// For the body of the response
    followed: Cell<Option<Followed>>,
}

/// The rate limit of a response's body.
#[derive(Clone, Copy, Debug)]
struct RateLimit {
    bytes_per_second: u64,
    /// When everything that has arrived may have passed
    passed_at: Option<Instant>,
}

impl<H: HttpHost, K: Default> Stream<H, K> {
    /// A stream that has just begun. `id` is its context.
    pub fn new(id: u32, host: H, worker: Rc<Worker<K>>) -> Self {
        Self {
            id,
            host,
            worker,
            state: Rc::default(),
            bytes_until_reset: Cell::default(),
            rate_limit: Cell::default(),
            followed: Cell::default(),
        }
    }

    /// The faults of a request to which the rule `matched` applies.
    pub fn plan_matched(&self, matched: Option<Match<'_>>, request: &Request<'_>) -> Plan {
        let Worker { faults, random, .. } = &*self.worker;
        if faults.is_over(|| self.host.time_of_day()) {
            return Plan::default();
        }
        faults.plan_matched(matched, request, &mut &*random)
    }

    /// What other filters keep of the request.
    pub fn kept(&self) -> &K {
        &self.state.kept
    }

    /// Delays or aborts the request, as planned.
    pub fn apply(&self, plan: Plan) -> Action {
        let worker = &*self.worker;
        for _ in 0..plan.malformed_headers {
            self.count(Event::MalformedHeader);
        }
        self.bytes_until_reset.set(plan.reset_after);
        let rate_limit = |bytes_per_second| RateLimit { bytes_per_second, passed_at: None };
        self.rate_limit.set(plan.bytes_per_second.map(rate_limit));
        if plan.reset_after.is_some() || plan.bytes_per_second.is_some() {
            self.followed.set(Some(Followed::begin()));
        }
        if let Some(delay) = plan.delay
            && worker.admit(Event::Delayed, &self.state, &self.host)
        {
            let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            self.host.record(worker.delay_time, milliseconds);
            self.host.note(NOTE, "delay");
            self.state.fault.set(Some("delay"));
            let now = self.host.now();
            // A deadline that the clock cannot express is never reached.
            if let Some(deadline) = now.checked_add(delay) {
                self.state.deadline.set(Some(deadline));
                let waiting = Waiting { plan: Some(plan), state: Rc::clone(&self.state) };
                worker.delays.push(self.id, deadline, now, waiting, &self.host);
            }
            return Action::Pause;
        }
        match worker.abort(&plan, &self.state, &self.host) {
            true => Action::Pause,
            false => Action::Continue,
        }
    }

    /// What the filter has done to the request.
    pub fn note(&self) -> Option<&'static str> {
        self.state.fault.get()
    }

    /// Marks the response of a request that had a fault.
    pub fn mark_response(&self) {
        if let Some(fault) = self.state.fault.get()
            && self.worker.faults.settings.marks_responses
        {
            self.host.edit_response_header(&HeaderEdit::set(MARK, fault.as_bytes()));
        }
    }

    /// Resets the response when too many bytes have arrived, or limits its rate. `size` is the
    /// length of a piece of its body.
    pub fn limit_body(&self, size: usize) -> Action {
        // The body of an abort is not the upstream's.
        if matches!(self.state.fault.get(), Some("abort" | SHADOW_ABORT)) {
            return Action::Continue;
        }
        let left = self.bytes_until_reset.get().map(|left| left.checked_sub(size as u64));
        self.bytes_until_reset.set(left.flatten());
        if left == Some(None) && self.worker.admit(Event::Reset, &self.state, &self.host) {
            self.host.note(NOTE, "reset");
            self.host.reset_response();
            return Action::Pause;
        }
        self.limit_rate(size)
    }

    /// Holds the trailers for as long as a piece of the body before them.
    pub fn limit_trailers(&self) -> Action {
        match self.state.deadline.get() {
            Some(_) => Action::Pause,
            None => Action::Continue,
        }
    }

    /// Ends the faults of the stream. The client may have left while it waited.
    pub fn end(&self) {
        if let Some(deadline) = self.state.deadline.take() {
            self.worker.delays.remove(self.id, deadline);
        }
        self.worker.release(&self.state, &self.host);
    }

    fn count(&self, event: Event) {
        self.worker.counters.increment(event, &self.host);
    }

    /// Holds a piece of the body until everything up to its end could have passed at the rate.
    fn limit_rate(&self, size: usize) -> Action {
        let Some(mut limit) = self.rate_limit.get() else { return Action::Continue };
        let now = self.host.now();
        let passed_at = match limit.passed_at {
            Some(passed_at) => passed_at.max(now),
            None if self.worker.admit(Event::RateLimited, &self.state, &self.host) => now,
            None => {
                self.rate_limit.set(None);
                return Action::Continue;
            }
        };
        let duration = Duration::from_secs_f64(size as f64 / limit.bytes_per_second as f64);
        let Some(deadline) = passed_at.checked_add(duration) else { return Action::Continue };
        limit.passed_at = Some(deadline);
        self.rate_limit.set(Some(limit));
        let delays = &self.worker.delays;
        let held = self.state.deadline.take().and_then(|held| delays.remove(self.id, held));
        // The empty piece that ends a body takes no time, but it must not overtake the others.
        if held.is_none() && duration.is_zero() {
            return Action::Continue;
        }
        self.state.deadline.set(Some(deadline));
        let waiting = Waiting { plan: None, state: Rc::clone(&self.state) };
        delays.push(self.id, deadline, now, waiting, &self.host);
        Action::Pause
    }
}

impl<H: HttpHost> HttpStream for Stream<H> {
    fn on_request_headers(&self) -> Action {
        let worker = &*self.worker;
        if !worker.faults.may_inject() {
            return Action::Continue;
        }
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        if let Some(explaining) = &worker.explaining {
            let place = Place::BeforeOthers;
            self.kept().begin(explaining, place, &request, &self.host, |own| {
                own.fault = Some(worker.explain(&request, &self.host));
            });
        }
        let plan = worker.faults.plan(&request, || self.host.time_of_day(), &mut &worker.random);
        self.apply(plan)
    }

    fn on_response_headers(&self, _: bool) -> Action {
        self.mark_response();
        self.kept().on_response_headers(self.note(), &self.host);
        Action::Continue
    }

    fn on_response_body(&self, size: usize) -> Action {
        self.limit_body(size)
    }

    fn on_response_trailers(&self) -> Action {
        self.limit_trailers()
    }

    fn on_end(&self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
