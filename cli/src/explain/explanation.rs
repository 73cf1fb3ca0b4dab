//! The decisions of the filters about one request.

use std::time::SystemTime;

use sluice_policy::desk::explain::{Explainer, Trace};
use sluice_policy::fault;
use sluice_policy::mirror;
use sluice_policy::request::{Chance, Draws, Request, SharedDraw};
use sluice_policy::router::decision::Decision;
use sluice_policy::router::shadow::ShadowDecision;
use sluice_policy::spec::document::Document;
use sluice_policy::spec::fault::AbortStatus;

use super::others::{self, EgressOutcome, OutlierOutcome, SniOutcome};
use super::request::{Client, lossy};
use crate::bundle::Bundle;
use crate::finding::Place;
use crate::tree::Tree;

/// A filter's generator of random numbers, which takes down the filter's choices.
struct Recorder {
    generator: fastrand::Rng,
    /// Whether a random number was drawn: the choices for a user are made by a hash
    is_random: bool,
    chances: Vec<Chance>,
}

impl Draws for Recorder {
    fn draw(&mut self) -> u64 {
        self.is_random = true;
        self.generator.u64(..)
    }

    fn chose(&mut self, chance: Chance) {
        self.chances.push(chance);
    }
}

/// What an explanation has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The decisions, and the rules that were tried
    Rules,
    /// Only the decisions, for many requests
    Decisions,
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
    /// The path as the client sent it, if Envoy normalizes it to another one
    pub(super) sent_path: Option<&'a str>,
    /// Whether the document has rules for HTTP
    pub(super) has_rules: bool,
    /// The seed of the random choices
    pub(super) seed: u64,
    /// Whether there were random choices
    pub(super) is_random: bool,
    pub(super) trace: Trace,
    /// Paths of rules that have the host but do not select the proxy
    pub(super) left_out: Vec<String>,
    /// The decision about the TLS connection, if Envoy does not terminate it
    pub(super) connection: Option<SniOutcome>,
    /// The decision of the sni filter about the request
    pub(super) agreement: Option<SniOutcome>,
    pub(super) egress: Option<EgressOutcome>,
    /// The decision of the fault filter; none for a request that was refused before
    pub(super) fault: Option<FaultOutcome>,
    /// The decisions of the mirror filter and the router; none for an aborted request
    pub(super) routed: Option<Routed<'a>>,
    /// The outlier detection of the cluster
    pub(super) outlier: Option<OutlierOutcome>,
}

/// The decision of the fault filter, without its limits.
pub(super) struct FaultOutcome {
    pub(super) plan: fault::Plan,
    pub(super) abort: Option<AbortStatus>,
    /// Whether it was a random choice
    pub(super) is_drawn: bool,
    /// Whether the document limits faults
    pub(super) is_limited: bool,
    /// Whether there is none only because `faults.notAfter` has passed
    pub(super) is_over: bool,
    /// Whether it is only counted (`faults.mode: shadow`)
    pub(super) is_shadow: bool,
    /// The rule of `faults.rules` that has the fault, by its name or place
    pub(super) rule: Option<String>,
}

/// The decisions of the mirror filter, without its budget, and of the router.
pub(super) struct Routed<'a> {
    pub(super) copies: mirror::Plan<'a>,
    /// Whether the document has a budget of copies
    pub(super) has_budget: bool,
    /// Whether copies are only counted (`mirroring.mode: shadow`)
    pub(super) copies_in_shadow: bool,
    pub(super) decision: Decision<'a>,
    /// Whether the decision is only counted (`router.mode: shadow`)
    pub(super) is_shadow: bool,
    /// The decision of the second policy; `None` without one
    pub(super) shadow: Option<ShadowDecision<'a>>,
    /// The random number of the router, below the sum of all weights
    pub(super) drawn: Option<u64>,
}

impl<'a> Explanation<'a> {
    /// Makes the decisions about the request of `client` at the time `now`.
    pub fn new(
        bundle: &'a Bundle,
        document: &'a Document,
        explainer: &'a Explainer,
        client: &'a Client,
        seed: u64,
        detail: Detail,
        now: SystemTime,
    ) -> Self {
        let request = Request::new(&client.headers, client);
        let (method, host) = (lossy(request.method), lossy(request.authority));
        let url = format!("{}://{host}{}", lossy(request.scheme), lossy(request.path_and_query));
        let trace = match detail {
            Detail::Rules => explainer.trace(&request),
            Detail::Decisions => Trace::default(),
        };
        // Each filter has a generator of its own, as in a proxy.
        let mut source = fastrand::Rng::with_seed(seed);
        let mut draws = [(); 4].map(|()| Recorder {
            generator: source.fork(),
            is_random: false,
            chances: Vec::new(),
        });
        let [of_fault, of_mirror, of_router, of_sni] = &mut draws;
        let tree = &bundle.document;
        let connection = others::connection(tree, document, client, of_sni);
        let agreement = others::agreement(tree, document, client, &request);
        let egress = others::egress(tree, document, client, &request);
        let is_refused = egress.as_ref().is_some_and(|own| own.is_refused)
            || agreement.as_ref().is_some_and(|own| own.is_refused);
        let has_rules = bundle.has_http_routes();
        let is_decided = has_rules && !is_refused;
        let fault = is_decided.then(|| {
            let plan = explainer.fault(&request, now, of_fault);
            let abort = plan.draw_abort(of_fault);
            let is_drawn = of_fault.is_random;
            let is_limited = bundle.document.field("faults").is_some();
            let rule = explainer.fault_rule(&request);
            let is_over = explainer.is_fault_over(&request, now);
            let is_shadow = document.faults.mode.is_shadow();
            FaultOutcome { plan, abort, is_drawn, is_limited, is_over, is_shadow, rule }
        });
        let is_routed = fault.as_ref().is_some_and(|own| own.is_shadow || own.abort.is_none());
        let routed = is_routed.then(|| {
            let copies = explainer.mirror(&request, of_mirror);
            let mirroring = bundle.document.field("mirroring");
            let has_budget = mirroring.is_some_and(|own| own.field("budget").is_some());
            let mut shared = SharedDraw::new(of_router);
            let decision = explainer.route(&request, &mut shared);
            let shadow = explainer.shadow(&decision, &request, &mut shared);
            let chance = of_router.chances.first().filter(|_| of_router.is_random);
            let drawn = chance.map(|chance| chance.drawn);
            let copies_in_shadow = document.mirroring.mode.is_shadow();
            let is_shadow = document.router.mode.is_shadow();
            Routed { copies, has_budget, copies_in_shadow, decision, is_shadow, shadow, drawn }
        });
        let is_random = draws.iter().any(|draws| draws.is_random);
        let carried_out = routed.as_ref().filter(|routed| !routed.is_shadow);
        let cluster = carried_out.and_then(|routed| routed.decision.cluster());
        let outlier = others::outlier(document, cluster, &request);
        let namespace = bundle.document.field("namespace").and_then(Tree::as_str);
        let left_out = match detail {
            Detail::Rules => explainer.left_out(&request, namespace),
            Detail::Decisions => Vec::new(),
        };
        let left_out = left_out.iter().map(ToString::to_string).collect();
        let sent_path = client.sent_path.as_deref();
        Self {
            bundle,
            method,
            host,
            url,
            sent_path,
            has_rules,
            seed,
            is_random,
            trace,
            left_out,
            connection,
            agreement,
            egress,
            fault,
            routed,
            outlier,
        }
    }

    /// The place of a rule: in its object, or in its plugin document.
    pub(super) fn place(&self, path: &str) -> Place {
        self.bundle.place(path)
    }

    /// A place in the files, with its line if it is known.
    pub(super) fn shown_place(&self, path: &str) -> String {
        self.bundle.shown_place(path)
    }
}
