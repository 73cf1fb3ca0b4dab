//! Finds valid rules that have no effect: routes that are never reached, matches that no request
//! can satisfy, shares of 0 %, outlier detection that never ejects a host. Tells the ports of
//! destinations without one.

mod coverage;
mod ejection;
mod ports;
mod reach;

use std::collections::HashSet;
use std::sync::Arc;

use self::coverage::by_name;
use crate::document::json::Json;
use crate::document::report::{Finding, Kind};
use crate::spec::document::Document;
use crate::spec::http_match::HttpMatch;
use crate::spec::http_route::Rule;
use crate::spec::place::{List, Place};
use crate::spec::string_match::{StringMatch, ValueMatch};
use crate::spec::virtual_services::VirtualServices;
use crate::value::percent::Percent;

/// Returns the rules without effect, and the ports of destinations without one, in addition to the
/// notices of the filters. `json` is the document as a tree.
pub fn lint(document: &Document, json: &Json) -> Vec<Finding> {
    let mut findings = lint_rules(&document.services);
    if let Some(shadow) = &document.shadow {
        // It also contains the routes of the Gateway API in the document, which are linted above.
        let is_own =
            |finding: &Finding| finding.path.starts_with(List::ShadowVirtualServices.name());
        findings.extend(lint_rules(shadow).into_iter().filter(is_own));
    }
    findings.extend(ejection::lint(json));
    findings.extend(ports::lint(json));
    findings
}

/// Returns the rules without effect of a policy.
fn lint_rules(services: &VirtualServices) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = HashSet::new();
    let mut seen_routes = HashSet::new();
    for rule in services.lists().flatten() {
        if !seen.insert(Arc::as_ptr(rule)) {
            continue;
        }
        findings.extend(contradiction(&rule.conditions).map(|(field, reason)| {
            let path = format!("{}.{field}", rule.place);
            Finding::new(path, Kind::NeverMatches, reason)
        }));
        if seen_routes.insert(Arc::as_ptr(&rule.route)) {
            lint_shares(rule, &mut findings);
        }
    }
    // A rule of a delegate can be part of several virtual services.
    let mut seen = HashSet::new();
    findings.retain(|own: &Finding| seen.insert((own.path.clone(), own.reason.clone())));
    findings.extend(reach::lint(services));
    findings
}

/// Reports faults and mirrors of the rule's route that never happen.
fn lint_shares(rule: &Rule, findings: &mut Vec<Finding>) {
    let place: Place = rule.place.of_route();
    let mut never = |field: &str, percentage: Option<Percent>| {
        if percentage == Some(Percent::NONE) {
            let reason = "never happens: its percentage is absent or 0";
            findings.push(Finding::new(format!("{place}.fault.{field}"), Kind::NoEffect, reason));
        }
    };
    if let Some(fault) = &rule.route.fault {
        never("delay", fault.delay.map(|delay| delay.percentage));
        never("abort", fault.abort.map(|abort| abort.percentage));
        never("reset", fault.reset.map(|reset| reset.percentage));
        never("responseRateLimit", fault.rate_limit.map(|limit| limit.percentage));
    }
    for mirror in rule.route.mirrors.iter().filter(|mirror| mirror.percentage == Percent::NONE) {
        let reason = format_args!("copies nothing to {}: the percentage is 0", mirror.cluster);
        findings.push(Finding::new(place.to_string(), Kind::NoEffect, reason));
    }
}

/// Returns the field because of which no request can satisfy a match, and the reason.
fn contradiction(own: &HttpMatch) -> Option<(&'static str, &'static str)> {
    if let Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) = &own.uri {
        if path.iter().any(|byte| matches!(byte, b'?' | b'#')) {
            return Some(("uri", "never matches: paths are compared without their query"));
        }
        if !path.is_empty() && !path.starts_with(b"/") && &**path != b"*" {
            return Some(("uri", "never matches: paths start with /"));
        }
    }
    if let Some(StringMatch::Exact(method)) = &own.method
        && method.iter().any(u8::is_ascii_lowercase)
    {
        return Some(("method", "never matches: methods are case-sensitive and in upper case"));
    }
    if let Some(StringMatch::Exact(scheme)) = &own.scheme
        && !matches!(&**scheme, b"http" | b"https")
    {
        return Some(("scheme", "never matches: schemes are http and https"));
    }
    let headers = by_name(&own.headers);
    for header in &own.headers {
        let mut others = headers.get(&*header.name).into_iter().flatten();
        if others.any(|other| header.excludes(other)) {
            let reason = "never matches: headers requires what is refused here";
            return Some(("withoutHeaders", reason));
        }
        if let (ValueMatch::Value(StringMatch::Exact(value)), false) =
            (&header.condition, header.is_inverted)
            && value.trim_ascii().len() < value.len()
        {
            return Some((
                "headers",
                "never matches: header values do not start or end with a space",
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests;
