//! Explains a decision rule by rule: what each condition requires, and what the request has.
//!
//! The conditions are those of the filters. In contrast to the filters, this module evaluates all
//! of them, in order.

use std::sync::Arc;
use std::time::SystemTime;

use crate::explain::conditions::{Condition, conditions};
use crate::fault::{self, Faults};
use crate::lookup::virtual_hosts::VirtualHosts;
use crate::mirror::{self, Mirrors};
use crate::request::{Draws, Request};
use crate::router::Router;
use crate::router::decision::Decision;
use crate::router::shadow::ShadowDecision;
use crate::spec::document::Document;
use crate::spec::http_route::Action;
use crate::spec::left_out::LeftOut;
use crate::spec::place::Place;
use crate::spec::policy::Policy;
use crate::spec::target::cluster;
use crate::spec::virtual_services::{NoMatch, VirtualServices};
use crate::value::host_name::aliases;

/// The rules of a document.
#[derive(Debug)]
pub struct Explainer {
    router: Router,
    faults: Faults,
    mirrors: Mirrors,
    rules: Arc<VirtualServices>,
    left_out: Vec<LeftOut>,
}

/// The rules that were tried for a request, up to the first one that matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Whether any virtual service has the request's host
    pub has_virtual_host: bool,
    /// Each rule that was tried
    pub tried: Vec<Tried>,
    /// The clusters of the route that applies, with their weights
    pub shares: Vec<(u32, String)>,
}

/// A rule that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The place of the match, or of a route without matches
    pub place: Place,
    /// Its conditions
    pub conditions: Vec<Condition>,
    /// Whether the rule matches the request
    pub fits: bool,
}

impl Explainer {
    /// The rules of a document.
    pub fn new(document: &Document) -> Self {
        Self {
            router: Router::new(document),
            faults: Faults::new(document),
            mirrors: Mirrors::new(document),
            rules: Arc::clone(&document.services),
            left_out: document.left_out.clone(),
        }
    }

    /// Returns the places of rules that have the host of a request but do not apply to this proxy,
    /// because of its gateways, labels, namespace or port. The filters ignore these rules.
    pub fn left_out(&self, request: &Request<'_>, namespace: Option<&str>) -> Vec<Place> {
        let is_for = |left_out: &&LeftOut| {
            let mut hosts = VirtualHosts::default();
            for host in &*left_out.hosts {
                hosts.entry(host, 0);
                aliases(host, namespace).iter().for_each(|alias| _ = hosts.entry(alias, 0));
            }
            hosts.find(request.authority).is_some()
        };
        self.left_out.iter().filter(is_for).map(|left_out| left_out.place).collect()
    }

    /// The rules that are tried for a request.
    pub fn trace(&self, request: &Request<'_>) -> Trace {
        let candidates = self.rules.candidates(request);
        let has_virtual_host = !matches!(self.rules.find(request), Err(NoMatch::VirtualHost));
        let mut trace = Trace { has_virtual_host, tried: Vec::new(), shares: Vec::new() };
        for rule in candidates.unwrap_or_default() {
            let fits = rule.matches(request).is_some();
            let conditions = conditions(&rule.conditions, request);
            trace.tried.push(Tried { place: rule.place, conditions, fits });
            if !fits {
                continue;
            }
            if let Action::Forward(split) = &rule.route.action {
                let shares =
                    split.shares().map(|(weight, target)| (weight, cluster(target, request)));
                trace.shares = shares.collect();
            }
            break;
        }
        trace
    }

    /// The router's decision.
    pub fn route<'a, 'r: 'a>(
        &'a self,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Decision<'a> {
        self.router.route(request, draws)
    }

    /// The decision of the second policy, compared with that of the router; `None` without one.
    pub fn shadow<'a, 'r: 'a>(
        &'a self,
        decision: &Decision<'_>,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Option<ShadowDecision<'a>> {
        self.router.shadow.as_ref()?.compare(decision, request, draws)
    }

    /// Returns the plan of the fault filter, before its limits apply.
    pub fn fault(
        &self,
        request: &Request<'_>,
        now: SystemTime,
        draws: &mut dyn Draws,
    ) -> fault::Plan {
        self.faults.plan(request, || now, draws)
    }

    /// Returns whether a request has no faults only because `faults.notAfter` has passed.
    pub fn is_fault_over(&self, request: &Request<'_>, now: SystemTime) -> bool {
        self.faults.is_over_for(self.faults.source(self.faults.find(request), request), || now)
    }

    /// Returns the name or place of the rule of `faults.rules` that applies to a request.
    pub fn fault_rule(&self, request: &Request<'_>) -> Option<String> {
        self.faults.rule(request).map(|matched| matched.name.to_owned())
    }

    /// Returns the plan of the mirror filter, before its budget applies.
    pub fn mirror<'a>(&'a self, request: &Request<'_>, draws: &mut dyn Draws) -> mirror::Plan<'a> {
        self.mirrors.plan(request, draws)
    }
}

impl Trace {
    /// Returns the place of the rule that matched.
    pub fn taken(&self) -> Option<Place> {
        self.tried.last().filter(|tried| tried.fits).map(|tried| tried.place)
    }

    /// Returns the place of the route that applies.
    pub fn route(&self) -> Option<Place> {
        self.taken().map(Place::of_route)
    }
}
