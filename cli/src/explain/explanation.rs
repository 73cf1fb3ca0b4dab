//! The decisions of the filters about one request.

use std::time::SystemTime;

use sluice_policy::desk::explain::{Explainer, Trace};
use sluice_policy::fault;
use sluice_policy::mirror;
use sluice_policy::request::{Draws, Request};
use sluice_policy::router::decision::Decision;
use sluice_policy::spec::fault::AbortStatus;

use super::request::Client;
use crate::bundle::Bundle;
use crate::finding::Place;
use crate::tree::Tree;

/// A filter's generator of random numbers, which keeps what it has generated.
struct Recorder {
    generator: fastrand::Rng,
    drawn: Vec<u64>,
}

impl Draws for Recorder {
    fn draw(&mut self) -> u64 {
        let number = self.generator.u64(..);
        self.drawn.push(number);
        number
    }
}

/// The decisions of the filters about one request.
pub struct Explanation<'a> {
    bundle: &'a Bundle,
    /// The method of the request
    pub(super) method: String,
    /// Its host
    pub(super) host: String,
    /// Its URL
    pub(super) url: String,
    /// The seed of the random choices
    pub(super) seed: u64,
    /// Whether there were random choices
    pub(super) is_random: bool,
    pub(super) trace: Trace,
    /// Paths of rules that have the host but do not select the proxy
    pub(super) left_out: Vec<String>,
    pub(super) fault: FaultOutcome,
    /// The decisions of the mirror filter and the router; none for an aborted request
    pub(super) routed: Option<Routed<'a>>,
}

/// The decision of the fault filter, without its limits.
pub(super) struct FaultOutcome {
    pub(super) plan: fault::Plan,
    pub(super) abort: Option<AbortStatus>,
    /// Whether it was a random choice
    pub(super) is_drawn: bool,
    /// Whether the document limits faults
    pub(super) is_limited: bool,
}

/// The decisions of the mirror filter, without its budget, and of the router.
pub(super) struct Routed<'a> {
    pub(super) copies: mirror::Plan<'a>,
    /// Whether the document has a budget of copies
    pub(super) has_budget: bool,
    pub(super) decision: Decision<'a>,
    /// The random number of the router, below the sum of all weights
    pub(super) drawn: Option<u64>,
}

impl<'a> Explanation<'a> {
    /// Makes the decisions about the request of `client`.
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
        // Each filter has a generator of its own, as in a proxy.
        let mut source = fastrand::Rng::with_seed(seed);
        let mut draws = [(); 3].map(|()| Recorder { generator: source.fork(), drawn: Vec::new() });
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

    /// The place of a rule: in its object, or in its plugin document.
    pub(super) fn place(&self, path: &str) -> Place {
        self.bundle.place(path)
    }
}
