//! Rules that are valid and have no effect: routes that are never reached, matches that no request
//! fits, shares of 0 %, outlier detection that ejects nothing. At a desk only, no filter asks for it.

mod ejection;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::report::Finding;
use crate::spec::document::Document;
use crate::spec::http_match::HttpMatch;
use crate::spec::http_route::HttpRoute;
use crate::spec::proxy::NoMetadata;
use crate::spec::string_match::StringMatch;
use crate::spec::virtual_services::VirtualServices;
use crate::value::percent::Percent;

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
    findings.extend(ejection::lint(&json));
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

/// How many matches are compared in full before only the first [`FEW`] of those in question are, so that the time
/// does not grow with the square of the rules. Rules that differ in their paths or headers are far from it.
const MANY: usize = 3_000_000;
const FEW: usize = 50;

/// Matches by one of the things that a match that they cover has too: a part of the path and a header.
#[derive(Default)]
struct Earlier<'a> {
    entries: HashMap<Key, Vec<(&'a str, &'a HttpMatch)>>,
    /// Every length of a prefix that occurs, of paths and of headers
    lengths: BTreeSet<usize>,
    compared: usize,
}

type Key = (Condition, Option<(String, Condition)>);

/// What conditions on a value are found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Condition {
    /// None, or that there is a value
    Any,
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    /// The regular expression itself, which covers only itself
    Pattern(String),
    /// Any regular expression, which may cover an exact value
    SomePattern,
}

impl Condition {
    /// Those by which a condition is found.
    fn of(condition: Option<&StringMatch>) -> Vec<Self> {
        match condition {
            None => vec![Self::Any],
            Some(StringMatch::Exact(text)) => vec![Self::Exact(text.to_vec())],
            Some(StringMatch::Prefix(text)) => vec![Self::Prefix(text.to_vec())],
            Some(StringMatch::Regex(pattern)) => {
                vec![Self::Pattern(pattern.as_str().to_owned()), Self::SomePattern]
            }
        }
    }

    /// Those of conditions that may cover `later`.
    fn covering(later: Option<&StringMatch>, lengths: &BTreeSet<usize>) -> Vec<Self> {
        let starts = |text: &[u8]| -> Vec<Self> {
            let starts = lengths.iter().map_while(|length| text.get(..*length));
            starts.map(|start| Self::Prefix(start.to_vec())).collect()
        };
        let mut keys = match later {
            None => Vec::new(),
            Some(StringMatch::Exact(text)) => {
                [vec![Self::Exact(text.to_vec())], starts(text), vec![Self::SomePattern]].concat()
            }
            Some(StringMatch::Prefix(text)) => starts(text),
            Some(StringMatch::Regex(pattern)) => vec![Self::Pattern(pattern.as_str().to_owned())],
        };
        keys.push(Self::Any);
        keys
    }
}

impl<'a> Earlier<'a> {
    fn add(&mut self, name: &'a str, conditions: &'a HttpMatch) {
        let path = conditions.path_key();
        let header = conditions.header_keys().next();
        let prefixes = [path.as_ref(), header.and_then(|(_, value)| value)];
        for prefix in prefixes.into_iter().flatten() {
            if let StringMatch::Prefix(text) = prefix {
                self.lengths.insert(text.len());
            }
        }
        let headers: Vec<_> = match header {
            None => vec![None],
            Some((name, value)) => {
                Condition::of(value).into_iter().map(|key| Some((name.to_owned(), key))).collect()
            }
        };
        for path in Condition::of(path.as_ref()) {
            for header in &headers {
                let entries = self.entries.entry((path.clone(), header.clone())).or_default();
                entries.push((name, conditions));
            }
        }
    }

    /// The name of a match that covers all of `later`.
    fn covering(&mut self, later: &HttpMatch) -> Option<&'a str> {
        // A match that asks nothing of the path asks for a slash.
        let path = later.path_key().unwrap_or_else(|| StringMatch::Prefix(b"/"[..].into()));
        let paths = Condition::covering(Some(&path), &self.lengths);
        let mut headers = Vec::new();
        for (name, value) in later.header_keys() {
            let keys = Condition::covering(value, &self.lengths).into_iter();
            headers.extend(keys.map(|key| Some((name.to_owned(), key))));
        }
        headers.push(None);
        for path in paths {
            for header in &headers {
                let Some(entries) = self.entries.get(&(path.clone(), header.clone())) else {
                    continue;
                };
                let most = if self.compared < MANY { entries.len() } else { FEW };
                let entries = entries.get(..most.min(entries.len())).unwrap_or_default();
                let found = entries.iter().position(|(_, own)| own.covers(later));
                self.compared += found.unwrap_or(entries.len());
                if let Some((name, _)) = found.and_then(|index| entries.get(index)) {
                    return Some(name);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
