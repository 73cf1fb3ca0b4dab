//! `sluice explain`: what the filters do with a request and why, rule by rule.

mod json;
mod request;
mod text;

use std::time::SystemTime;

use sluice_policy::desk::explain::{Explainer, Trace};
use sluice_policy::fault;
use sluice_policy::mirror;
use sluice_policy::request::{Draws, Request};
use sluice_policy::router::decision::Decision;
use sluice_policy::spec::fault::AbortStatus;

pub use request::{Client, ExplainArgs};

use crate::bundle::Bundle;
use crate::finding::{Finding, Severity};
use crate::tree::Tree;

/// Random numbers that can be had again: SplitMix64, each filter from the seed on its own, as each has
/// its own generator in a proxy.
struct Seeded {
    state: u64,
    /// Those that were asked for
    drawn: Vec<u64>,
}

impl Seeded {
    fn new(seed: u64, filter: u64) -> Self {
        Self { state: seed ^ filter.rotate_left(32), drawn: Vec::new() }
    }
}

impl Draws for Seeded {
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        self.drawn.push(mixed);
        mixed
    }
}

/// What becomes of one request.
pub struct Explanation<'a> {
    bundle: &'a Bundle,
    /// The request's method
    method: String,
    /// Its host
    host: String,
    /// Its address
    url: String,
    /// By which random choices were made
    seed: u64,
    /// Whether there were any
    is_random: bool,
    trace: Trace,
    /// Rules that would be for the host and are not for the proxy
    left_out: Vec<String>,
    fault: FaultOutcome,
    /// What the mirror filter and the router do, if the request gets there
    routed: Option<Routed<'a>>,
}

/// What the fault filter does, before its limits.
struct FaultOutcome {
    plan: fault::Plan,
    abort: Option<AbortStatus>,
    /// Whether there was a choice
    is_drawn: bool,
    /// Whether the document limits faults
    is_limited: bool,
}

/// What the mirror filter does, before its budget, and then the router.
struct Routed<'a> {
    copies: mirror::Plan<'a>,
    /// Whether the document has a budget of copies
    has_budget: bool,
    decision: Decision<'a>,
    /// What the router drew, out of the sum of all weights
    drawn: Option<u64>,
}

impl<'a> Explanation<'a> {
    /// Asks the filters about the request of `client`.
    pub fn new(
        bundle: &'a Bundle,
        explainer: &'a Explainer,
        client: &'a Client,
        seed: u64,
    ) -> Self {
        let request = Request::new(&client.headers, client);
        let show = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let (method, host) = (show(request.method), show(request.authority));
        let url = format!("{}://{host}{}", show(request.scheme), show(request.path_and_query));
        let trace = explainer.trace(&request);
        let mut draws = [1, 2, 3].map(|filter| Seeded::new(seed, filter));
        let [of_fault, of_mirror, of_router] = &mut draws;
        let plan = explainer.fault(&request, SystemTime::now(), of_fault);
        let abort = plan.draw_abort(of_fault);
        let is_drawn = !of_fault.drawn.is_empty();
        let is_limited = bundle.document.field("faults").is_some();
        let fault = FaultOutcome { plan, abort, is_drawn, is_limited };
        let routed = abort.is_none().then(|| {
            let copies = explainer.mirror(&request, of_mirror);
            let mirroring = bundle.document.field("mirroring");
            let has_budget = mirroring.is_some_and(|own| own.field("budget").is_some());
            let decision = explainer.route(&request, of_router);
            let total: u64 = trace.shares.iter().map(|(weight, _)| u64::from(*weight)).sum();
            let drawn = of_router.drawn.first().map(|drawn| drawn % total.max(1));
            Routed { copies, has_budget, decision, drawn }
        });
        let is_random = draws.iter().any(|draws| !draws.drawn.is_empty());
        let namespace = bundle.document.field("namespace").and_then(Tree::as_str);
        let left_out = explainer.left_out(&request, namespace);
        let left_out = left_out.iter().map(ToString::to_string).collect();
        Self { bundle, method, host, url, seed, is_random, trace, left_out, fault, routed }
    }

    /// Where a rule stands: in its object, or in its plugin document.
    fn place(&self, path: &str) -> Finding {
        self.bundle.locate(Severity::Note, path, "")
    }
}
