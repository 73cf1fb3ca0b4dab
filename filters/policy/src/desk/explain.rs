//! Explains why a request is treated as it is: rule by rule, what is required and what was found.
//!
//! The conditions are those by which the filters decide. Only the way is different: all of them are
//! evaluated, in order.

use std::rc::Rc;
use std::time::SystemTime;

use crate::desk::conditions::{Condition, conditions};
use crate::fault::{self, Faults};
use crate::lookup::virtual_hosts::VirtualHosts;
use crate::mirror::{self, Mirrors};
use crate::request::{Draws, Request};
use crate::router::Router;
use crate::router::decision::Decision;
use crate::spec::document::{Document, LeftOut};
use crate::spec::http_route::{Action, Target};
use crate::spec::place::Place;
use crate::spec::policy::Policy;
use crate::spec::virtual_services::VirtualServices;
use crate::value::header::{CLUSTER, FixedEdit};
use crate::value::host_name::aliases;

/// The rules of a document.
#[derive(Debug)]
pub struct Explainer {
    router: Router,
    faults: Faults,
    mirrors: Mirrors,
    rules: Rc<VirtualServices>,
    left_out: Vec<LeftOut>,
}

/// The rules that were tried for a request, up to the one that the request takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whether any virtual service has the request's host
    pub has_virtual_host: bool,
    /// Each rule that was tried
    pub tried: Vec<Tried>,
    /// The clusters of the route that is taken, with their weights out of the sum of all
    pub shares: Vec<(u32, String)>,
}

/// A rule that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The place of the match, or of a route without matches
    pub place: Place,
    /// Its conditions
    pub conditions: Vec<Condition>,
    /// Whether the request takes this rule
    pub fits: bool,
}

impl Explainer {
    /// The rules of a document.
    pub fn new(document: &Document) -> Self {
        Self {
            router: Router::new(document),
            faults: Faults::new(document),
            mirrors: Mirrors::new(document),
            rules: Rc::clone(&document.services),
            left_out: document.left_out.clone(),
        }
    }

    /// The places of the rules for the host of a request that are not for this proxy, by its
    /// gateways, labels or namespace. The filters do not have these rules at all.
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
        let has_virtual_host = candidates.is_some();
        let mut trace = Trace { has_virtual_host, tried: Vec::new(), shares: Vec::new() };
        for rule in candidates.unwrap_or_default() {
            let fits = rule.matches(request).is_some();
            let conditions = conditions(&rule.conditions, request);
            trace.tried.push(Tried { place: rule.place, conditions, fits });
            if !fits {
                continue;
            }
            if let Action::Forward(split) = &rule.route.action {
                let shares = split.shares().map(|(weight, target)| (weight, cluster(target)));
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

    /// What the fault filter does, before its limits.
    pub fn fault(
        &self,
        request: &Request<'_>,
        now: SystemTime,
        draws: &mut dyn Draws,
    ) -> fault::Plan {
        self.faults.plan(request, || now, draws)
    }

    /// What the mirror filter does, before its budget.
    pub fn mirror<'a>(&'a self, request: &Request<'_>, draws: &mut dyn Draws) -> mirror::Plan<'a> {
        self.mirrors.plan(request, draws)
    }
}

/// The cluster of a destination.
fn cluster(target: &Target) -> String {
    let edit = target.request.iter().rev().find(|edit| edit.name() == CLUSTER);
    let edit = edit.map(FixedEdit::as_edit);
    edit.map_or(String::new(), |edit| String::from_utf8_lossy(&edit.value).into_owned())
}

impl Trace {
    /// The place of the rule that decided.
    pub fn taken(&self) -> Option<Place> {
        self.tried.last().filter(|tried| tried.fits).map(|tried| tried.place)
    }

    /// The place of the route that is taken.
    pub fn route(&self) -> Option<Place> {
        self.taken().map(Place::of_route)
    }
}
