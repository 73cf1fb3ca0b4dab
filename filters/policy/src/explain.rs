//! Explanations of the filters' decisions: one JSON object for each decision, for the response to a
//! request that has the secret of `explain`, and for logs. They decide again, with the same random
//! numbers.
//!
//! The members have the names of `sluice explain --format json` where it has them too.

pub mod conditions;
mod json;

use std::time::SystemTime;

use crate::egress;
use crate::explain::conditions::conditions;
use crate::explain::json::Members;
use crate::fault::{self, Faults};
use crate::mirror::Mirrors;
use crate::request::{Chance, Draws, Request, SharedDraw};
use crate::router::Router;
use crate::spec::http_route::{Action, Rule};
use crate::spec::target::cluster;

/// The longest explanation of a decision, in bytes. Those of all filters together are shorter than
/// the 60 KiB that Envoy allows for the headers of a response.
pub const MAX_BYTES: usize = 4096;

/// How much of an explanation may be about the rules before the one that applies, in bytes.
const MAX_RULES: usize = 1500;

/// How much of an explanation may be a list of destinations, in bytes.
const MAX_DESTINATIONS: usize = 750;

/// Takes down the choices of a decision.
struct Recorder<'a> {
    draws: &'a mut dyn Draws,
    chances: Vec<Chance>,
}

impl<'a> Recorder<'a> {
    fn new(draws: &'a mut dyn Draws) -> Self {
        Self { draws, chances: Vec::new() }
    }
}

impl Draws for Recorder<'_> {
    fn draw(&mut self) -> u64 {
        self.draws.draw()
    }

    fn chose(&mut self, chance: Chance) {
        self.chances.push(chance);
    }
}

/// What the fault filter plans for a request.
#[derive(Clone, Debug)]
pub struct FaultExplanation {
    plan: fault::Plan,
    has_abort: bool,
    /// Whether the request has no faults only because `faults.notAfter` has passed
    is_over: bool,
    /// The name of the rule with the faults
    rule: Option<String>,
    chances: Vec<Chance>,
}

/// Explains a decision of the egress filter. `is_refused` says whether the request is refused.
pub fn egress(decision: egress::Decision, is_refused: bool) -> String {
    let mut members = Members::default();
    match decision {
        egress::Decision::Known { entry: Some(entry) } => {
            let entry = ["serviceEntries[", itoa::Buffer::new().format(entry), "]"].concat();
            members.string("serviceEntry", &entry);
        }
        egress::Decision::Known { entry: None } | egress::Decision::Passthrough => {}
        egress::Decision::Refused(reason) => members.string("reason", reason.name()),
    }
    members.flag("isRefused", is_refused);
    named("egress", members)
}

/// Explains the faults of a request. `now` is the time of day.
pub fn fault(
    faults: &Faults,
    request: &Request<'_>,
    now: impl FnOnce() -> SystemTime,
    draws: &mut dyn Draws,
) -> FaultExplanation {
    let mut draws = Recorder::new(draws);
    let matched = faults.find(request);
    let source = faults.source(matched, request);
    let is_over = faults.is_over_for(source, now);
    let plan = if is_over {
        fault::Plan::default()
    } else {
        faults.plan_matched(matched, request, &mut draws)
    };
    // After a delay other requests have taken the random numbers.
    let has_abort = plan.delay.is_none() && plan.draw_abort(&mut draws).is_some();
    let rule = source.filter(|source| source.route.fault.is_some());
    let rule = rule.map(|source| source.name.to_owned());
    FaultExplanation { plan, has_abort, is_over, rule, chances: draws.chances }
}

impl FaultExplanation {
    /// The explanation, if the fault filter did what its note says: `delay`, `abort` or nothing.
    pub fn text(&self, note: Option<&str>) -> String {
        let is_planned = self.has_abort || self.plan.delay.is_some();
        let mut members = Members::default();
        members.string("outcome", note.unwrap_or(if is_planned { "limited" } else { "none" }));
        if let Some(rule) = &self.rule {
            members.string("rule", rule);
        }
        if self.is_over {
            members.flag("isOver", true);
        }
        if let Some(delay) = self.plan.delay {
            members.number("delayMilliseconds", delay.as_millis() as u64);
        }
        if let Some(bytes) = self.plan.reset_after {
            members.number("resetAfterBytes", bytes);
        }
        if let Some(rate) = self.plan.bytes_per_second {
            members.number("bytesPerSecond", rate);
        }
        add_chances(&mut members, &self.chances);
        named("fault", members)
    }
}

/// Explains the copies of a request, before the budget applies.
pub fn mirror(mirrors: &Mirrors, request: &Request<'_>, draws: &mut dyn Draws) -> String {
    let mut draws = Recorder::new(draws);
    let plan = mirrors.plan(request, &mut draws);
    let mut members = Members::default();
    let copies = plan.copies.iter().map(|copy| json::string(copy.cluster()));
    members.list("copies", MAX_DESTINATIONS, copies);
    members.number("notSampled", plan.not_sampled as u64);
    members.number("notEligible", plan.not_eligible as u64);
    if mirrors.settings.mode.is_shadow() {
        members.flag("isShadow", true);
    }
    add_chances(&mut members, &draws.chances);
    named("mirror", members)
}

/// Explains the route of a request: the rule that applies, why the rules before it do not, and the
/// choice of the destination.
pub fn router(router: &Router, request: &Request<'_>, draws: &mut dyn Draws) -> String {
    let mut shared = SharedDraw::new(draws);
    let mut draws = Recorder::new(&mut shared);
    let decision = router.route(request, &mut draws);
    let chances = draws.chances;
    let candidates = router.rules().candidates(request).unwrap_or_default();
    // Two rules may have names that are equal.
    let applies = |rule: &Rule| std::ptr::eq(&*rule.name, decision.note);
    let applied = candidates.iter().position(|rule| applies(rule));
    let before = candidates.get(..applied.unwrap_or(candidates.len())).unwrap_or_default();

    let mut members = Members::default();
    members.string("outcome", decision.outcome.name());
    if router.shadow.as_ref().is_some_and(|shadow| shadow.replaces_decisions()) {
        members.flag("isShadow", true);
    }
    if let Some(reply) = &decision.reply {
        members.number("status", reply.status.into());
    }
    if let Some(cluster) = decision.cluster() {
        members.string("cluster", &cluster);
    }
    if let Some(rule) = applied.and_then(|index| candidates.get(index)) {
        members.string("name", &rule.name);
        members.string("place", &rule.place.path());
        if let Action::Forward(split) = &rule.route.action {
            let shares = split.shares().map(|(weight, target)| {
                let mut share = Members::default();
                share.string("cluster", &cluster(target, request));
                share.number("weight", weight.into());
                share.object()
            });
            members.list("shares", MAX_DESTINATIONS, shares);
        }
    }
    if let Some(shadow) = &router.shadow
        && let Some(second) = shadow.compare(&decision, request, &mut shared)
    {
        let mut own = Members::default();
        own.string("outcome", second.decision.outcome.name());
        own.string("route", second.decision.note);
        if let Some(cluster) = second.decision.cluster() {
            own.string("cluster", &cluster);
        }
        if let Some(difference) = second.difference {
            own.string("difference", difference.name());
        }
        members.json("shadow", &own.object());
    }
    add_chances(&mut members, &chances);
    let failed = before.iter().map(|rule| failed_rule(rule, request));
    let shown = members.list("rules", MAX_RULES, failed);
    members.number("rulesOmitted", before.len().saturating_sub(shown) as u64);
    named("router", members)
}

/// A rule that does not match, with the first of its conditions that does not hold.
fn failed_rule(rule: &Rule, request: &Request<'_>) -> String {
    let mut members = Members::default();
    members.string("place", &rule.place.path());
    let failed = conditions(&rule.conditions, request).into_iter().find(|own| !own.holds);
    if let Some(failed) = failed {
        members.string("field", &failed.field);
        members.string("wanted", &failed.wanted);
        members.string("found", &failed.found);
    }
    members.object()
}

fn add_chances(members: &mut Members, chances: &[Chance]) {
    let chance = |own: &Chance| {
        let mut chance = Members::default();
        chance.string("of", own.of);
        chance.number("drawn", own.drawn);
        if let Some(below) = own.below {
            chance.number("below", below);
        }
        chance.number("total", own.total);
        chance.object()
    };
    members.list("chances", MAX_DESTINATIONS, chances.iter().map(chance));
}

/// The explanation of a filter.
fn named(filter: &str, members: Members) -> String {
    ["{\"", filter, "\":", &members.object(), "}"].concat()
}

#[cfg(test)]
mod tests;
