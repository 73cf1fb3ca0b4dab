//! The router on one worker: what its streams share.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::explained::Explaining;
use sluice_host::host::{Counter, Host, PluginHost};
use sluice_host::http::HttpHost;
use sluice_host::log_rate::LogRate;
use sluice_host::random::Random;
use sluice_policy::explain;
use sluice_policy::request::{Request, SharedDraw};
use sluice_policy::router::decision::{Decision, Outcome};
use sluice_policy::router::shadow::Difference;
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
    /// Limits the log lines about second decisions that differ
    shadow_log: LogRate,
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
            shadow_log: LogRate::default(),
            random: Random::default(),
            explaining: Explaining::new(router.explain.as_ref()),
            router,
        }
    }

    /// Explains the next decision.
    pub fn explain(&self, request: &Request<'_>) -> String {
        explain::router(&self.router, request, &mut &self.random.ahead())
    }

    /// Decides about a request. `find` returns the rule that applies to it.
    #[inline]
    pub fn decide<'a, 'r: 'a>(
        &'a self,
        find: impl FnOnce() -> Result<Match<'a>, NoMatch>,
        request: &Request<'r>,
        host: &impl HttpHost,
    ) -> Decision<'a> {
        match &self.router.shadow {
            None => self.router.route_matched(find(), request, &mut &self.random),
            Some(shadow) => self.decide_in_shadow(shadow, find(), request, host),
        }
    }

    /// Like [`Worker::decide`], if the document has a shadow mode.
    #[cold]
    #[inline(never)]
    fn decide_in_shadow<'a, 'r: 'a>(
        &'a self,
        shadow: &'a Shadow,
        matched: Result<Match<'a>, NoMatch>,
        request: &Request<'r>,
        host: &impl HttpHost,
    ) -> Decision<'a> {
        let mut random = &self.random;
        let mut draws = SharedDraw::new(&mut random);
        let decision = self.router.route_beside(matched, request, &mut draws);
        if let Some(second) = shadow.compare(&decision, request, &mut draws) {
            let is_same = second.difference.is_none();
            let event = if is_same { Event::ShadowSame } else { Event::ShadowDifferent };
            self.counters.increment(event, host);
            let counter = matched.ok().and_then(|own| self.router.shadow_counter(&own, is_same));
            counter.into_iter().for_each(|number| self.count_route(number, host));
            if let Some(difference) = second.difference {
                self.log(difference, &decision, &second.decision, host);
            }
        }
        if !shadow.replaces_decisions() {
            return decision;
        }
        self.counters.increment(Event::Shadowed, host);
        Router::withheld(decision, request)
    }

    /// Logs two decisions that differ, without anything that the client sent.
    fn log(
        &self,
        difference: Difference,
        one: &Decision<'_>,
        other: &Decision<'_>,
        host: &impl Host,
    ) {
        let Some(suppressed) = self.shadow_log.admit(host.now()) else { return };
        let cluster = |own: &Decision<'_>| own.cluster().unwrap_or_default();
        log::info!(
            "shadow difference={} route={:?} outcome={} cluster={:?} shadow_route={:?} \
             shadow_outcome={} shadow_cluster={:?} {suppressed}",
            difference.name(),
            one.note,
            one.outcome.name(),
            cluster(one),
            other.note,
            other.outcome.name(),
            cluster(other),
        );
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
        /// The second policy (`shadow`) decided as the first did.
        ShadowSame = "shadow_same",
        /// The second policy (`shadow`) decided otherwise.
        ShadowDifferent = "shadow_different",
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
