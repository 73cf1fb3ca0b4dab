//! Finds rules that are never reached, because earlier rules match all of their requests.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::coverage::{Later, covers, header_keys, path_key};
use crate::document::report::{Finding, Kind};
use crate::spec::http_match::HttpMatch;
use crate::spec::http_route::Rule;
use crate::spec::place::Place;
use crate::spec::string_match::StringMatch;
use crate::spec::virtual_services::VirtualServices;

/// The number of virtual hosts that contain a rule, and the number in which it is covered.
#[derive(Default)]
struct Reach {
    lists: usize,
    covered: usize,
    by: Option<Place>,
}

/// Reports routes and matches that are never reached.
pub(super) fn lint(services: &VirtualServices) -> Vec<Finding> {
    let mut order: Vec<Place> = Vec::new();
    let mut reaches: HashMap<Place, Reach> = HashMap::new();
    for rules in services.lists() {
        let mut earlier = Earlier::default();
        for rule in rules {
            let reach = reaches.entry(rule.place).or_insert_with(|| {
                order.push(rule.place);
                Reach::default()
            });
            reach.lists += 1;
            match earlier.covering(&rule.conditions).map(|by| by.place) {
                // The same rule a second time: the service has two names for one host.
                Some(by) if by == rule.place => reach.lists -= 1,
                Some(by) => {
                    reach.covered += 1;
                    reach.by = Some(by);
                }
                None => earlier.add(rule),
            }
        }
    }
    let covering = |place: &Place| {
        reaches.get(place).filter(|reach| reach.covered == reach.lists).and_then(|reach| reach.by)
    };
    let reached = order.iter().filter(|place| covering(place).is_none());
    let reached: HashSet<Place> = reached.map(|place| place.of_route()).collect();
    let mut reported = HashSet::new();
    let mut findings = Vec::new();
    for place in &order {
        let Some(by) = covering(place) else { continue };
        // One finding for the route if none of its matches is reached.
        let route = place.of_route();
        let place = if reached.contains(&route) { *place } else { route };
        if reported.insert(place) {
            let reason = "is never reached, because an earlier rule matches all of its requests";
            let finding = Finding::new(place.to_string(), Kind::NeverReached, reason);
            findings.push(finding.with_other(by.to_string()));
        }
    }
    findings
}

/// Number of comparisons after which a match is compared with the first [`FEW`] candidates only, so
/// that the time does not grow with the square of the rules. Rules that differ in their paths or
/// headers never reach this number.
const MANY: usize = 3_000_000;
const FEW: usize = 50;

/// Earlier rules, indexed by a part of the path and a header that the rules they cover also have.
#[derive(Default)]
struct Earlier<'a> {
    entries: HashMap<Key, Vec<&'a Rule>>,
    /// Every length of a prefix of a path or a header
    lengths: BTreeSet<usize>,
    compared: usize,
}

type Key = (ConditionKey, Option<(String, ConditionKey)>);

/// The key of a condition on a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ConditionKey {
    /// No condition, or presence alone
    Any,
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    /// The regular expression itself, which covers only itself
    Pattern(String),
    /// Any regular expression, which may cover an exact value
    SomePattern,
}

impl ConditionKey {
    /// The keys of a condition.
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

    /// The keys of conditions that may cover `later`.
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
    fn add(&mut self, rule: &'a Rule) {
        let path = path_key(&rule.conditions);
        let header = header_keys(&rule.conditions).next();
        let prefixes = [path.as_ref(), header.and_then(|(_, value)| value)];
        for prefix in prefixes.into_iter().flatten() {
            if let StringMatch::Prefix(text) = prefix {
                self.lengths.insert(text.len());
            }
        }
        let headers: Vec<_> = match header {
            None => vec![None],
            Some((name, value)) => ConditionKey::of(value)
                .into_iter()
                .map(|key| Some((name.to_owned(), key)))
                .collect(),
        };
        for path in ConditionKey::of(path.as_ref()) {
            for header in &headers {
                let entries = self.entries.entry((path.clone(), header.clone())).or_default();
                entries.push(rule);
            }
        }
    }

    /// A rule that covers all of `later`.
    fn covering(&mut self, later: &HttpMatch) -> Option<&'a Rule> {
        // A match without a condition on the path requires a slash.
        let path = path_key(later).unwrap_or_else(|| StringMatch::Prefix(b"/"[..].into()));
        let paths = ConditionKey::covering(Some(&path), &self.lengths);
        let mut headers = Vec::new();
        for (name, value) in header_keys(later) {
            let keys = ConditionKey::covering(value, &self.lengths).into_iter();
            headers.extend(keys.map(|key| Some((name.to_owned(), key))));
        }
        headers.push(None);
        let compared = Later::new(later);
        for path in paths {
            for header in &headers {
                let Some(entries) = self.entries.get(&(path.clone(), header.clone())) else {
                    continue;
                };
                let most = if self.compared < MANY { entries.len() } else { FEW };
                let entries = entries.get(..most.min(entries.len())).unwrap_or_default();
                let found = entries.iter().position(|own| {
                    self.compared += 1 + own.conditions.headers.len();
                    covers(&own.conditions, &compared)
                });
                if let Some(rule) = found.and_then(|index| entries.get(index)) {
                    return Some(rule);
                }
            }
        }
        None
    }
}
