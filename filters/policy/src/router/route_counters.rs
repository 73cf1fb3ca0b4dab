//! The counters of routes: a name for each route and destination (`metrics.routes`).
//!
//! All names come from the document, none from requests. A name ends in labels, so that Envoy's
//! `stats_tags` can take them out of it: `sluice.router.requests;route=ROUTE;cluster=CLUSTER;`, and
//! for documents with a second policy `sluice.router.shadow;route=ROUTE;decision=same;`.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::name_set::NameSet;
use crate::sort::sort;
use crate::spec::http_route::{Action, HttpRoute, Rule};
use crate::spec::virtual_services::{Match, VirtualServices};

/// Upper bound of the names of a document, without [`REST`]. Envoy keeps a statistic until it ends,
/// and each of them is a series in every scrape.
pub const MAX_NAMES: usize = 1_000;

/// Upper bound of the routes with counters of a second policy, without [`REST`].
const MAX_SHADOW_ROUTES: usize = MAX_NAMES / 2;

/// The cluster of requests that the filter answers itself.
const NO_CLUSTER: &str = "-";

/// The route and the cluster of all requests whose own names are beyond [`MAX_NAMES`].
const REST: &str = "other";

/// The counters of a document's routes.
#[derive(Debug)]
pub struct RouteCounters {
    /// Names of the counters, by number
    names: Vec<String>,
    /// Rules, sorted by their keys
    rules: Vec<Counted>,
    /// Numbers of the counters of `rules`
    numbers: Vec<u32>,
    /// Number of the counter of rules that are not in `rules`
    rest: Option<u32>,
    /// Rules, sorted by their keys, with the numbers of their counters of same decisions. The next
    /// number is that of different decisions
    shadow: Vec<Counted>,
    /// Number of the counter of same decisions of rules that are not in `shadow`
    shadow_rest: Option<u32>,
}

/// A rule with its counters.
#[derive(Clone, Copy, Debug)]
struct Counted {
    key: Key,
    /// Index of the first of its numbers: that of requests which the filter answers itself. Those
    /// of the destinations follow, in the order of the split
    first: usize,
}

/// Identifies a rule while its document is in use: the addresses of its route and of its name. The
/// rules of a route with several matches share the route.
type Key = (usize, usize);

fn key(route: &Arc<HttpRoute>, name: &str) -> Key {
    (Arc::as_ptr(route).addr(), name.as_ptr().addr())
}

impl RouteCounters {
    /// Names the counters of all rules, in the order of the document, up to [`MAX_NAMES`].
    /// `has_shadow`: whether there is a second policy.
    pub fn new(services: &VirtualServices, has_shadow: bool) -> Self {
        let mut own = Self {
            names: Vec::new(),
            rules: Vec::new(),
            numbers: Vec::new(),
            rest: None,
            shadow: Vec::new(),
            shadow_rest: None,
        };
        let mut known = NameSet::default();
        for rule in services.lists().flatten() {
            if own.rest.is_some() {
                break;
            }
            own.add(rule, &mut known);
        }
        if has_shadow {
            own.add_shadow(services);
        }
        for rules in [&mut own.rules, &mut own.shadow] {
            sort(rules, |one, other| one.key.cmp(&other.key));
            // Virtual hosts can share rules.
            rules.dedup_by_key(|counted| counted.key);
        }
        own
    }

    /// Adds two counters for each route, up to [`MAX_SHADOW_ROUTES`].
    fn add_shadow(&mut self, services: &VirtualServices) {
        let start = self.names.len();
        let mut known = NameSet::default();
        for rule in services.lists().flatten() {
            let route = rule.name.as_bytes();
            if known.len() == MAX_SHADOW_ROUTES && !known.contains(route) {
                self.shadow_rest = u32::try_from(self.names.len()).ok();
                self.add_shadow_names(REST);
                return;
            }
            let first = start.saturating_add(known.add(route).saturating_mul(2));
            if first == self.names.len() {
                self.add_shadow_names(&rule.name);
            }
            self.shadow.push(Counted { key: key(&rule.route, &rule.name), first });
        }
    }

    fn add_shadow_names(&mut self, route: &str) {
        for decision in ["same", "different"] {
            let mut name = "sluice.router.shadow;route=".to_owned();
            escape(route, &mut name);
            name.push_str(";decision=");
            name.push_str(decision);
            name.push(';');
            self.names.push(name);
        }
    }

    fn add(&mut self, rule: &Rule, known: &mut NameSet) {
        let first = self.numbers.len();
        let route = &*rule.route;
        let own = match replies(route) {
            true => self.number_of(&rule.name, NO_CLUSTER, known),
            // Not used.
            false => 0,
        };
        self.numbers.push(own);
        if let Action::Forward(split) = &route.action {
            for (_, target) in split.shares() {
                let number = match target.cluster() {
                    Some(cluster) => self.number_of(&rule.name, &cluster, known),
                    None => own,
                };
                self.numbers.push(number);
            }
        }
        self.rules.push(Counted { key: key(&rule.route, &rule.name), first });
    }

    fn number_of(&mut self, route: &str, cluster: &str, known: &mut NameSet) -> u32 {
        let name = name(route, cluster);
        if known.len() == MAX_NAMES && !known.contains(name.as_bytes()) {
            return self.rest();
        }
        let number = known.add(name.as_bytes());
        if number == self.names.len() {
            self.names.push(name);
        }
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    fn rest(&mut self) -> u32 {
        *self.rest.get_or_insert_with(|| {
            self.names.push(name(REST, REST));
            MAX_NAMES as u32
        })
    }

    /// Returns the names of the counters, by number.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of the counter of a request: `target` is the index of its destination, or
    /// `None` if the filter answers it.
    #[inline(never)]
    pub(crate) fn number(&self, matched: &Match<'_>, target: Option<usize>) -> Option<u32> {
        let Some(first) = find(&self.rules, matched) else { return self.rest };
        let offset = target.map_or(0, |target| target.saturating_add(1));
        self.numbers.get(first.saturating_add(offset)).copied()
    }

    /// Returns the number of the counter of a request with a second decision.
    pub(crate) fn shadow_number(&self, matched: &Match<'_>, is_same: bool) -> Option<u32> {
        let first =
            find(&self.shadow, matched).map_or(self.shadow_rest, |first| u32::try_from(first).ok());
        first.map(|first| first.saturating_add(u32::from(!is_same)))
    }
}

/// Returns the index of the first number of a request's rule in a sorted list.
fn find(rules: &[Counted], matched: &Match<'_>) -> Option<usize> {
    let key = key(matched.route, matched.name);
    let place = rules.binary_search_by_key(&key, |counted| counted.key).ok()?;
    rules.get(place).map(|counted| counted.first)
}

/// Returns whether the filter can answer requests of a route itself.
fn replies(route: &HttpRoute) -> bool {
    match &route.action {
        Action::Redirect(..) | Action::Respond(..) => true,
        Action::Forward(split) => {
            route.cors.is_some() || split.shares().any(|(_, target)| target.is_invalid)
        }
    }
}

/// Returns the name of a counter.
fn name(route: &str, cluster: &str) -> String {
    let mut name = "sluice.router.requests;route=".to_owned();
    escape(route, &mut name);
    name.push_str(";cluster=");
    escape(cluster, &mut name);
    name.push(';');
    name
}

/// Appends a text with `%XX` in place of all bytes that could end a label, or that have a meaning
/// in a format of statistics. The characters of Istio's cluster names stay as they are.
fn escape(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => to.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'/' | b'|' | b'[' | b']' | b'{' | b'}' => {
                to.push(char::from(byte));
            }
            // Writing to a String does not fail.
            _ => _ = write!(to, "%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests;
