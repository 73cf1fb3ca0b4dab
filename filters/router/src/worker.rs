//! The router on one worker: what its streams share.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::explained::Explaining;
use sluice_host::host::{Counter, Host, PluginHost};
use sluice_host::http::HttpHost;
use sluice_host::random::Random;
use sluice_policy::explain;
use sluice_policy::request::Request;
use sluice_policy::router::decision::{Decision, Outcome};
use sluice_policy::router::{Router, Shadow};
use sluice_policy::spec::virtual_services::{Match, NoMatch};

pub use sluice_host::host::ROUTE_NOTE as NOTE;

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Worker {
    /// The compiled policy
    pub router: Arc<Router>,
    /// The counters
    pub counters: Counters<Event>,
    /// The counters of routes, by number
    routes: Box<[Counter]>,
    /// Draws for weighted choices
    pub random: Random,
    /// Who gets explanations
    pub explaining: Option<Rc<Explaining>>,
}

impl Worker {
    /// The filter of a worker.
    pub fn with_policy(router: Arc<Router>, host: &impl PluginHost) -> Self {
        let routes = router.counter_names().iter().map(|name| host.define_own_counter(name));
        Self {
            counters: Counters::define(host),
            routes: routes.collect(),
            random: Random::default(),
            explaining: Explaining::new(router.explain.as_ref()),
            router,
        }
    }

    /// Explains the next decision.
    pub fn explain(&self, request: &Request<'_>) -> String {
        explain::router(&self.router, request, &mut &self.random.ahead())
    }

    /// Decides about a request, to which the rule `matched` applies.
    #[inline]
    pub fn decide<'a, 'r: 'a>(
        &'a self,
        matched: Result<Match<'a>, NoMatch>,
        request: &Request<'r>,
        host: &impl HttpHost,
    ) -> Decision<'a> {
        match &self.router.shadow {
            None => self.router.route_matched(matched, request, &mut &self.random),
            Some(shadow) => self.decide_in_shadow(shadow, matched, request, host),
        }
    }

    /// Like [`Worker::decide`], if the document has a shadow mode.
    #[cold]
    #[inline(never)]
    fn decide_in_shadow<'a, 'r: 'a>(
        &'a self,
        shadow: &Shadow,
        matched: Result<Match<'a>, NoMatch>,
        request: &Request<'r>,
        host: &impl HttpHost,
    ) -> Decision<'a> {
        let decision = self.router.route_matched(matched, request, &mut &self.random);
        if !shadow.replaces_decisions() {
            return decision;
        }
        self.counters.increment(Event::Shadowed, host);
        Router::withheld(decision, request)
    }

    /// Adds one to the counter of a route, which has this number in the policy.
    pub fn count_route(&self, number: u32, host: &impl Host) {
        let counter = usize::try_from(number).ok().and_then(|number| self.routes.get(number));
        counter.into_iter().for_each(|counter| host.increment(*counter));
    }
}

counters! {
    /// What is counted, as `wasmcustom.sluice.router.*` in Envoy's statistics.
    pub enum Event in "sluice.router." {
        /// A destination was chosen.
        Forwarded = "forwarded",
        /// The route of the Gateway API had no valid backend, or an invalid one was chosen.
        NoBackend = "no_backend",
        /// No route of the virtual host matched.
        NoRoute = "no_route",
        /// No virtual service has the host.
        NoVirtualHost = "no_virtual_host",
        /// No virtual service has the host, and Envoy's own routes apply.
        Passed = "passed",
        /// A CORS preflight was answered.
        Preflight = "preflight",
        /// The response was a redirect.
        Redirected = "redirected",
        /// The response was a fixed one.
        Responded = "responded",
        /// `mode: shadow` left the request to Envoy's own routes. Its decision is counted too.
        Shadowed = "shadowed",
    }
}

impl From<Outcome> for Event {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Forwarded => Self::Forwarded,
            Outcome::NoBackend => Self::NoBackend,
            Outcome::NoRoute => Self::NoRoute,
            Outcome::NoVirtualHost => Self::NoVirtualHost,
            Outcome::Passed => Self::Passed,
            Outcome::Preflight => Self::Preflight,
            Outcome::Redirected => Self::Redirected,
            Outcome::Responded => Self::Responded,
        }
    }
}

/// `%RESPONSE_CODE_DETAILS%` of the reply to a request with this outcome: the name of its counter,
/// with `_` for dots.
pub fn details(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded | Outcome::Passed => "",
        Outcome::NoBackend => "sluice_router_no_backend",
        Outcome::NoRoute => "sluice_router_no_route",
        Outcome::NoVirtualHost => "sluice_router_no_virtual_host",
        Outcome::Preflight => "sluice_router_preflight",
        Outcome::Redirected => "sluice_router_redirected",
        Outcome::Responded => "sluice_router_responded",
    }
}
