//! Rules that are valid and have no effect: routes that are never reached, matches that no request
//! fits, shares of 0 %. At a desk only, no filter asks for it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::document::{Document, Filter};
use crate::http_match::HttpMatch;
use crate::http_route::HttpRoute;
use crate::json::Json;
use crate::percent::Percent;
use crate::proxy::NoMetadata;
use crate::report::Finding;
use crate::virtual_services::VirtualServices;

/// What has no effect in a document, without what the filters themselves tell; nothing for a document
/// that they refuse.
pub fn lint(document: &[u8]) -> Vec<Finding> {
    let Ok(mut json) = Json::parse(document) else { return Vec::new() };
    let mut findings = Vec::new();
    // So that every match is called what its path is.
    remove_route_names(&mut json);
    // The outlier filter is the one that asks for no part of the document.
    let Ok((document, _)) = Document::compile(&json, Filter::Outlier, &NoMetadata) else {
        return findings;
    };
    let mut seen = HashSet::new();
    for route in document.services.lists().flatten() {
        if seen.insert(Rc::as_ptr(route)) {
            lint_route(route, &mut findings);
        }
    }
    findings.extend(lint_reach(&document.services));
    findings
}

/// Removes the names of routes and matches, which then go by their paths.
pub(crate) fn remove_route_names(json: &mut Json) {
    for service in elements(field(json, "virtualServices")) {
        for name in ["http", "tls"] {
            for route in elements(field(service, name)) {
                remove_name(route);
                elements(field(route, "match")).for_each(remove_name);
            }
        }
    }
}

fn remove_name(json: &mut Json) {
    if let Json::Object(fields) = json {
        fields.retain(|(key, _)| key != "name");
    }
}

fn field<'a>(json: &'a mut Json, name: &str) -> Option<&'a mut Json> {
    let Json::Object(fields) = json else { return None };
    let is_name =
        |key: &str| key == name || (name == "virtualServices" && key == "virtual_services");
    fields.iter_mut().find(|(key, _)| is_name(key)).map(|(_, value)| value)
}

fn elements(json: Option<&mut Json>) -> impl Iterator<Item = &mut Json> {
    match json {
        Some(Json::Array(values)) => values.iter_mut(),
        _ => [].iter_mut(),
    }
}

/// The path of the route that a match without a name of its own belongs to.
pub(crate) fn route_path(name: &str) -> &str {
    name.rsplit_once(".match[").map_or(name, |(route, _)| route)
}

fn lint_route(route: &HttpRoute, findings: &mut Vec<Finding>) {
    let mut path = "";
    for (name, conditions) in route.named_matches() {
        path = route_path(name);
        if let Some((field, reason)) = conditions.contradiction() {
            findings.push(Finding { path: format!("{name}.{field}"), reason: reason.to_owned() });
        }
    }
    let mut never = |field: &str, percentage: Option<Percent>| {
        if percentage == Some(Percent::NONE) {
            let reason = "never happens: its percentage is absent or 0".to_owned();
            findings.push(Finding { path: format!("{path}.fault.{field}"), reason });
        }
    };
    if let Some(fault) = &route.fault {
        never("delay", fault.delay.map(|delay| delay.percentage));
        never("abort", fault.abort.map(|abort| abort.percentage));
        never("reset", fault.reset.map(|reset| reset.percentage));
        never("responseRateLimit", fault.rate_limit.map(|limit| limit.percentage));
    }
    for mirror in route.mirrors.iter().filter(|mirror| mirror.percentage == Percent::NONE) {
        let reason = format!("copies nothing to {}: the percentage is 0", mirror.cluster);
        findings.push(Finding { path: path.to_owned(), reason });
    }
}

/// How often a match stands in the list of a virtual host, and how often in vain.
#[derive(Default)]
struct Reach<'a> {
    lists: usize,
    covered: usize,
    by: &'a str,
}

/// Routes and matches that get no request, because earlier ones take all that they would fit.
fn lint_reach(services: &VirtualServices) -> Vec<Finding> {
    let mut order: Vec<&str> = Vec::new();
    let mut reaches: HashMap<&str, Reach<'_>> = HashMap::new();
    for routes in services.lists() {
        let mut earlier = Earlier::default();
        for (name, conditions) in routes.iter().flat_map(|route| route.named_matches()) {
            let reach = reaches.entry(name).or_insert_with(|| {
                order.push(name);
                Reach::default()
            });
            reach.lists += 1;
            match earlier.covering(conditions) {
                // The same route a second time: the service has two names for one host.
                Some(by) if by == name => reach.lists -= 1,
                Some(by) => {
                    reach.covered += 1;
                    reach.by = by;
                }
                None => earlier.add(name, conditions),
            }
        }
    }
    let is_covered = |name: &str| reaches.get(name).is_some_and(|r| r.covered == r.lists);
    let mut reached: HashSet<&str> = HashSet::new();
    reached.extend(order.iter().filter(|name| !is_covered(name)).map(|name| route_path(name)));
    let mut told = HashSet::new();
    let mut findings = Vec::new();
    for name in order.iter().filter(|name| is_covered(name)) {
        let by = reaches.get(name).map_or("", |reach| reach.by);
        let path = if reached.contains(route_path(name)) { name } else { route_path(name) };
        if told.insert(path) {
            let reason = format!("is never reached, {by} matches all of its requests before");
            findings.push(Finding { path: path.to_owned(), reason });
        }
    }
    findings
}

/// Matches by one of the things that a match that they cover has too: a part of the path and a header.
#[derive(Default)]
struct Earlier<'a> {
    entries: HashMap<Key, Vec<(&'a str, &'a HttpMatch)>>,
    /// Every length of a prefix that occurs
    lengths: Vec<usize>,
}

type Key = (Option<(Vec<u8>, bool)>, Option<(String, Option<Vec<u8>>)>);

fn owned((name, value): (&str, Option<&[u8]>)) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), value.map(<[u8]>::to_vec))
}

impl<'a> Earlier<'a> {
    fn add(&mut self, name: &'a str, conditions: &'a HttpMatch) {
        let path = conditions.path_key();
        if let Some((text, true)) = &path
            && !self.lengths.contains(&text.len())
        {
            self.lengths.push(text.len());
        }
        let key = (path, conditions.header_keys().next().map(owned));
        self.entries.entry(key).or_default().push((name, conditions));
    }

    /// The name of a match that covers all of `later`.
    fn covering(&self, later: &HttpMatch) -> Option<&'a str> {
        // A match that asks nothing of the path asks for a slash.
        let path = later.path_key();
        let text = path.as_ref().map_or(&b"/"[..], |(text, _)| text);
        let lengths = self.lengths.iter().filter(|_| path.is_some() || !later.matches_whole_path());
        let prefixes = lengths.filter_map(|length| Some((text.get(..*length)?.to_vec(), true)));
        let exact = path.clone().filter(|(_, is_prefix)| !is_prefix);
        let paths: Vec<_> = prefixes.chain(exact).map(Some).chain([None]).collect();
        let with_value = later.header_keys().map(owned);
        let without = later.header_keys().map(|(name, _)| owned((name, None)));
        let headers: Vec<_> = with_value.chain(without).map(Some).chain([None]).collect();
        paths.iter().find_map(|path| {
            headers.iter().find_map(|header| {
                let entries = self.entries.get(&(path.clone(), header.clone()))?;
                entries.iter().find(|(_, own)| own.covers(later)).map(|(name, _)| *name)
            })
        })
    }
}

#[cfg(test)]
mod tests;
