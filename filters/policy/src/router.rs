//! The router: selects the cluster of a request and the changes to its headers, according to the
//! virtual services of the document. Picks a destination of the matching route by weight.

pub mod decision;
pub mod route_counters;
pub mod shadow;

use std::borrow::Cow;
use std::sync::Arc;

use crate::bytes;
use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::request::header_map::NameFilter;
use crate::request::{Draws, Request};
use crate::router::decision::{Decision, Outcome, Reply, ResponsePlan};
use crate::router::route_counters::RouteCounters;
use crate::router::shadow::{Difference, ShadowDecision};
use crate::spec::cors::CorsDecision;
use crate::spec::destination::ClusterName;
use crate::spec::document::Document;
use crate::spec::explain::ExplainSettings;
use crate::spec::http_match::MatchedPath;
use crate::spec::http_route::{Action, HttpRoute};
use crate::spec::mode::Mode;
use crate::spec::policy::Policy;
use crate::spec::sampling::Sampling;
use crate::spec::timeouts::ROUTER_HEADERS;
use crate::spec::virtual_services::{Match, NoMatch, VirtualServices};
use crate::value::header::{CLUSTER, HeaderEdit, HeaderOperation};

/// The header with the path from the client. Envoy's path rewrites set the same header.
const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// The router's part of a document.
#[derive(Debug, Default)]
pub struct Router {
    services: Arc<VirtualServices>,
    sampling: Sampling,
    passes_unmatched_hosts: bool,
    /// `explain` of the document
    pub explain: Option<Arc<ExplainSettings>>,
    /// What happens beside decisions or in their place; `None` without a shadow mode
    pub shadow: Option<Box<Shadow>>,
    counters: Option<RouteCounters>,
}

/// The part of a document that changes nothing for requests.
#[derive(Debug)]
pub struct Shadow {
    mode: Mode,
    /// The second policy; `None` without `shadow`
    policy: Option<Router>,
}

impl Shadow {
    /// Creates the shadow of a document; `None` without `shadow` and `router.mode: shadow`.
    fn new(document: &Document) -> Option<Box<Self>> {
        let mode = document.router.mode;
        if document.shadow.is_none() && !mode.is_shadow() {
            return None;
        }
        let second = |services: &Arc<VirtualServices>| Router {
            services: Arc::clone(services),
            sampling: document.sampling.clone(),
            passes_unmatched_hosts: document.passes_unmatched_hosts,
            ..Router::default()
        };
        Some(Box::new(Self { mode, policy: document.shadow.as_ref().map(second) }))
    }

    /// Returns whether decisions are only counted (`router.mode: shadow`).
    pub fn replaces_decisions(&self) -> bool {
        self.mode.is_shadow()
    }

    /// Decides about a request by the second policy, and compares this with `decision`. `None`
    /// without a second policy. `draws` must return the number of `decision` again, so that both
    /// choose alike.
    pub fn compare<'a, 'r: 'a>(
        &'a self,
        decision: &Decision<'_>,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Option<ShadowDecision<'a>> {
        let second = self.policy.as_ref()?.route(request, draws);
        let difference = Difference::of(decision, &second);
        Some(ShadowDecision { decision: second, difference })
    }
}

impl Policy for Router {
    fn filters(_: &Json) -> Filters {
        Filter::Router.into()
    }

    fn new(document: &Document) -> Self {
        Self {
            services: Arc::clone(&document.services),
            sampling: document.sampling.clone(),
            passes_unmatched_hosts: document.passes_unmatched_hosts,
            explain: document.explain.clone(),
            shadow: Shadow::new(document),
            counters: document
                .metrics
                .routes
                .then(|| RouteCounters::new(&document.services, document.shadow.is_some())),
        }
    }
}

impl Router {
    /// The rules.
    pub fn rules(&self) -> &VirtualServices {
        &self.services
    }

    /// Returns the names of the counters of routes, by number; none unless the document asks for
    /// them (`metrics.routes`).
    pub fn counter_names(&self) -> &[String] {
        self.counters.as_ref().map_or(&[], RouteCounters::names)
    }

    /// Returns the number of the counter of a request, if the document asks for it. `target` is the
    /// index of its destination, or `None` if the filter answers it.
    #[inline]
    fn counter(&self, matched: &Match<'_>, target: Option<usize>) -> Option<u32> {
        self.counters.as_ref().and_then(|counters| counters.number(matched, target))
    }

    /// Returns the number of the counter of a request with a second decision, if the document asks
    /// for it. `is_same`: whether both decisions are the same.
    pub fn shadow_counter(&self, matched: &Match<'_>, is_same: bool) -> Option<u32> {
        self.counters.as_ref().and_then(|counters| counters.shadow_number(matched, is_same))
    }

    /// Decides about a request. A weighted choice that is not sticky takes a number from `draws`.
    pub fn route<'a, 'r: 'a>(
        &'a self,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Decision<'a> {
        self.route_beside(self.services.find(request), request, draws)
    }

    /// Like [`Router::route_matched`], for decisions that few requests need. It is not inlined, so
    /// that the code of the others stays small.
    #[cold]
    #[inline(never)]
    pub fn route_beside<'a, 'r: 'a>(
        &'a self,
        matched: Result<Match<'a>, NoMatch>,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Decision<'a> {
        self.route_matched(matched, request, draws)
    }

    /// Returns a decision with the outcome, name and counter of `decision` that leaves the request
    /// to Envoy's own routes.
    pub fn withheld<'a, 'r: 'a>(decision: Decision<'a>, request: &Request<'r>) -> Decision<'a> {
        let Decision { outcome, note, counter, .. } = decision;
        Decision { outcome, note, counter, ..pass(request) }
    }

    /// Like [`Router::route`], if the rule that applies to the request is already found.
    #[inline]
    pub fn route_matched<'a, 'r: 'a>(
        &'a self,
        matched: Result<Match<'a>, NoMatch>,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Decision<'a> {
        let matched = match matched {
            Ok(matched) => matched,
            Err(NoMatch::Route) => return Decision::not_found(Outcome::NoRoute, "no route"),
            Err(NoMatch::VirtualHost) if self.passes_unmatched_hosts => return pass(request),
            Err(NoMatch::VirtualHost) => {
                return Decision::not_found(Outcome::NoVirtualHost, NO_VIRTUAL_HOST);
            }
        };
        let Match { route, name, path } = matched;
        let cors = route.cors.as_ref().map(|cors| cors.decide(request));
        let allowed_origin = match cors {
            Some(CorsDecision::Preflight(headers)) => {
                let reply = Reply { status: 200, headers, body: &[] };
                let counter = self.counter(&matched, None);
                return Decision { counter, ..Decision::reply(Outcome::Preflight, name, reply) };
            }
            Some(CorsDecision::Allowed(origin)) => Some(origin),
            Some(CorsDecision::Forward) | None => None,
        };
        let (decision, target) = match &route.action {
            Action::Redirect(redirect, _) => {
                let location = Cow::Owned(redirect.location(request, path));
                let headers = vec![("location", location)];
                let reply = Reply { status: redirect.status, headers, body: &[] };
                (Decision::reply(Outcome::Redirected, name, reply), None)
            }
            Action::Respond(response, _) => {
                let (status, body) = (response.status, &*response.body);
                let location = response.location(request).map(Cow::Owned);
                let headers = location.into_iter().map(|own| ("location", own)).collect();
                let reply = Reply { status, headers, body };
                (Decision::reply(Outcome::Responded, name, reply), None)
            }
            Action::Forward(split) => {
                let user = self.sampling.user(request);
                let Some((index, target)) = split.pick(user, draws) else {
                    return Decision::not_found(Outcome::NoRoute, "no destination");
                };
                if target.is_invalid {
                    let reply = Reply { status: 500, headers: Vec::new(), body: &[] };
                    let response = ResponsePlan::new(route, index, None);
                    let decision = Decision::reply(Outcome::NoBackend, name, reply);
                    return Decision {
                        response,
                        counter: self.counter(&matched, None),
                        ..decision
                    };
                }
                let mut edits = forward_edits(request, route, path);
                if let Some(cluster) = &target.cluster_by_port {
                    edits.push(steer_by_port(cluster, request));
                }
                (Decision::forward(Outcome::Forwarded, name, edits, &target.request), Some(index))
            }
        };
        let response = ResponsePlan::new(route, target.unwrap_or_default(), allowed_origin);
        Decision { response, counter: self.counter(&matched, target), ..decision }
    }
}

/// The note of requests for hosts without a virtual service.
const NO_VIRTUAL_HOST: &str = "no virtual host";

/// Leaves a request to Envoy's own routes. The cluster header is removed, because clients must not
/// select a cluster. The headers of Envoy's router stay, because this filter does not route the
/// request.
fn pass<'a>(request: &Request<'a>) -> Decision<'a> {
    let sent = request.first_header(CLUSTER).is_some();
    let edits = if sent { vec![HeaderEdit::remove(CLUSTER)] } else { Vec::new() };
    Decision::forward(Outcome::Passed, NO_VIRTUAL_HOST, edits, &[])
}

/// The edit that selects a cluster whose name depends on the port that the client called. `Add` is
/// enough, because the values from the client have been removed.
#[inline(never)]
fn steer_by_port<'a>(cluster: &'a ClusterName, request: &Request<'_>) -> HeaderEdit<'a> {
    let value = match cluster.at(|| request.destination_port()) {
        Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
        Cow::Owned(name) => Cow::Owned(name.into_bytes()),
    };
    HeaderEdit { operation: HeaderOperation::Add, name: CLUSTER, value }
}

/// The headers that the router sets to control Envoy. Clients must not set them.
const STEERING: NameFilter = {
    let [timeout, per_try, retries, retry_on, retry_grpc_on, codes] = ROUTER_HEADERS;
    let filter = NameFilter::NONE.with(CLUSTER.as_bytes());
    let filter = filter.with(timeout.as_bytes()).with(per_try.as_bytes()).with(retries.as_bytes());
    filter.with(retry_on.as_bytes()).with(retry_grpc_on.as_bytes()).with(codes.as_bytes())
};

/// The edits of a forwarded request, without those of its destination. The first edits remove the
/// headers of [`STEERING`] that the client sent.
#[inline]
fn forward_edits<'a, 'r: 'a>(
    request: &Request<'r>,
    route: &'a HttpRoute,
    matched: MatchedPath,
) -> Vec<HeaderEdit<'a>> {
    let mut edits = Vec::new();
    if STEERING.may_meet(request.names()) {
        for (sent, _) in request.headers().iter().filter(|(sent, _)| STEERING.may_have(sent)) {
            let mut steering = ROUTER_HEADERS.iter().chain([&CLUSTER]);
            let Some(name) = steering.find(|name| bytes::equal(name.as_bytes(), sent)) else {
                continue;
            };
            let removal = HeaderEdit::remove(name);
            if !edits.contains(&removal) {
                edits.push(removal);
            }
        }
    }
    // Computed from the original path, which header operations cannot change.
    if let Some(target) = route.rewrite.target(request.path_and_query, matched) {
        edits.push(HeaderEdit::set(ORIGINAL_PATH, request.path_and_query));
        edits.push(HeaderEdit::set(":path", target));
    }
    edits
}

#[cfg(test)]
mod tests;
