//! The fault filter on one worker: what its streams share, and what happens to one that has waited.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::delay::Delays;
use sluice_host::explained::{Explained, Explaining};
use sluice_host::host::{ActiveStreams, Histogram, Host, PluginHost};
use sluice_host::http::{HttpHost, LocalReply};
use sluice_host::random::Random;
use sluice_policy::explain::{self, FaultExplanation};
use sluice_policy::fault::{ABORT_BODY, Faults, Plan};
use sluice_policy::request::Request;
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::value::budget::Spending;

/// The note with the fault of a request, `%FILTER_STATE(wasm.sluice.fault:PLAIN)%`.
pub const NOTE: &str = "sluice.fault";

/// The note of a request that shadow mode does not delay.
const SHADOW_DELAY: &str = "shadow delay";

/// The note of a request that shadow mode does not abort.
pub const SHADOW_ABORT: &str = "shadow abort";

/// Faults that are active, in the whole Envoy.
pub const ACTIVE_FAULTS: &str = "sluice.fault.active_faults";

/// Lengths of the delays of requests, in milliseconds. A client can leave before its delay ends.
pub const DELAY_TIME: &str = "sluice.fault.delay_ms";

counters! {
    /// What is counted, as `wasmcustom.sluice.fault.*` in Envoy's statistics. The names are those
    /// of Envoy's fault filter where it counts the same.
    pub enum Event in "sluice.fault." {
        /// A request was delayed.
        Delayed = "delays_injected",
        /// A request was aborted.
        Aborted = "aborts_injected",
        /// A response was reset.
        Reset = "resets_injected",
        /// The rate of a response was limited.
        RateLimited = "response_rl_injected",
        /// A fault was left out because `maxActive` faults were active.
        Overflowed = "faults_overflow",
        /// A fault was left out because the budget was used up.
        BudgetExhausted = "budget_exhausted",
        /// A fault header of a request could not be read.
        MalformedHeader = "malformed_headers",
        /// `mode: shadow` left out a delay.
        ShadowDelayed = "shadow_delays",
        /// `mode: shadow` left out an abort.
        ShadowAborted = "shadow_aborts",
        /// `mode: shadow` left out the reset of a response.
        ShadowReset = "shadow_resets",
        /// `mode: shadow` left out the rate limit of a response.
        ShadowRateLimited = "shadow_response_rl",
    }
}

/// What all streams of a worker share. `K` is what other filters keep of a request that waits.
#[derive(Debug)]
pub struct Worker<K = Explained> {
    /// The compiled policy
    pub faults: Arc<Faults>,
    /// The counters
    pub counters: Counters<Event>,
    /// Draws for shares and lengths
    pub random: Random,
    /// Who gets explanations
    pub explaining: Option<Rc<Explaining>>,
    /// The streams that wait
    pub delays: Delays<Waiting<K>>,
    /// The lengths of delays
    pub delay_time: Histogram,
    active_faults: ActiveStreams,
    spending: Spending,
}

/// What the queue keeps of a stream that waits.
#[derive(Debug)]
pub struct Waiting<K> {
    /// The plan for the request; `None` if it is the response that waits
    pub plan: Option<Plan>,
    /// The state of the stream
    pub state: Rc<State<K>>,
}

/// What a stream and the queue both change.
#[derive(Debug, Default)]
pub struct State<K> {
    /// The end of the wait
    pub deadline: Cell<Option<Instant>>,
    /// Whether the stream has one of the active faults
    is_active: Cell<bool>,
    /// The note of the fault. The response is marked with it, unless the mode is shadow
    pub fault: Cell<Option<&'static str>>,
    /// What other filters keep of the request
    pub kept: K,
}

impl<K> Worker<K> {
    /// The filter of a worker, without streams.
    pub fn with_policy(faults: Arc<Faults>, host: &impl PluginHost) -> Self {
        Self {
            explaining: Explaining::new(faults.explain.as_ref()),
            faults,
            counters: Counters::define(host),
            random: Random::default(),
            delays: Delays::default(),
            delay_time: host.define_histogram(DELAY_TIME),
            active_faults: host.define_active_streams(ACTIVE_FAULTS),
            spending: Spending::default(),
        }
    }

    /// Explains the next plan.
    pub fn explain(&self, request: &Request<'_>, host: &impl Host) -> FaultExplanation {
        let now = || host.time_of_day();
        explain::fault(&self.faults, request, now, &mut &self.random.ahead())
    }

    /// Admits and counts a fault if the limits allow it, but only counts it in shadow mode. `fault`
    /// is its counter. The fault of the stream is active if it is admitted.
    pub fn admit(&self, fault: Event, state: &State<K>, host: &impl Host) -> bool {
        if !state.is_active.get() {
            // One fault for the limits, as when the abort comes after the delay.
            let is_same = state.fault.get() == Some(SHADOW_DELAY) && fault == Event::Aborted;
            if !is_same && !self.is_within_limits(host) {
                return false;
            }
            if self.faults.settings.mode.is_shadow() {
                self.count_in_shadow(fault, state, host);
                return false;
            }
            self.active_faults.begin(host);
            state.is_active.set(true);
        }
        self.counters.increment(fault, host);
        true
    }

    /// Counts a fault that is left out because the mode is shadow, and leaves a note about it.
    #[cold]
    #[inline(never)]
    fn count_in_shadow(&self, fault: Event, state: &State<K>, host: &impl Host) {
        let (event, note) = match fault {
            Event::Delayed => (Event::ShadowDelayed, SHADOW_DELAY),
            Event::Aborted => (Event::ShadowAborted, SHADOW_ABORT),
            Event::Reset => (Event::ShadowReset, "shadow reset"),
            _ => (Event::ShadowRateLimited, "shadow rate limit"),
        };
        self.counters.increment(event, host);
        host.note(NOTE, note);
        state.fault.set(Some(note));
    }

    /// Returns whether the limits allow one more fault. Counts it in the budget, or counts that it
    /// is left out.
    fn is_within_limits(&self, host: &impl Host) -> bool {
        let settings = &self.faults.settings;
        if settings.max_active.is_some_and(|max| self.active_faults.count() >= max) {
            self.counters.increment(Event::Overflowed, host);
            return false;
        }
        if settings.budget.is_some_and(|budget| !self.spending.spend(budget, host.now())) {
            self.counters.increment(Event::BudgetExhausted, host);
            return false;
        }
        true
    }

    /// Ends the active fault of a stream, if it has one.
    pub fn release(&self, state: &State<K>, host: &impl Host) {
        if state.is_active.take() {
            self.active_faults.end(host);
        }
    }

    /// Draws the abort of a request and replies with it. Returns whether it was aborted.
    pub fn abort(&self, plan: &Plan, state: &State<K>, host: &impl HttpHost) -> bool {
        let Some(status) = plan.draw_abort(&mut &self.random) else { return false };
        if !self.admit(Event::Aborted, state, host) {
            return false;
        }
        host.note(NOTE, "abort");
        state.fault.set(Some("abort"));
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

    /// Resumes the response that has waited, or aborts the request. Returns true for a request that
    /// is not aborted and has to be resumed. Calls of `host` apply to this stream.
    pub fn on_delay_end(&self, waiting: &Waiting<K>, host: &impl HttpHost) -> bool {
        let state = &*waiting.state;
        state.deadline.set(None);
        let Some(plan) = &waiting.plan else {
            host.resume_response();
            return false;
        };
        let continues = !self.abort(plan, state, host);
        if continues {
            // The delay is over, so it is not active any more, although the stream continues.
            self.release(state, host);
        }
        continues
    }
}
