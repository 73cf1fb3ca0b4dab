//! The virtual services of a document: which route a request takes. First the virtual host by the
//! authority, then the first of its routes that matches.

mod rules;

use std::rc::Rc;

use crate::lookup::rule_index::{Key, RuleIndex};
use crate::lookup::virtual_hosts::VirtualHosts;
use crate::request::Request;
use crate::spec::http_match::MatchedPath;
use crate::spec::http_route::HttpRoute;
use crate::spec::virtual_service::VirtualService;
use crate::value::host_name;

/// The compiled virtual services that are for this proxy.
#[derive(Debug, Default)]
pub struct VirtualServices {
    virtual_hosts: VirtualHosts,
    /// The table of each virtual host
    tables: Vec<Rc<Table>>,
}

/// The routes of a virtual host, or of several with the same ones.
#[derive(Debug, Default)]
struct Table {
    /// The services that they are of
    services: Vec<usize>,
    /// Every match of every route, in order
    rules: Vec<Rule>,
    index: RuleIndex,
}

/// One match of a route.
#[derive(Debug)]
struct Rule {
    route: Rc<HttpRoute>,
    index: usize,
}

/// The route that a request takes.
#[derive(Debug)]
pub struct Match<'a> {
    /// The route
    pub route: &'a Rc<HttpRoute>,
    /// The name of the match for logs: Istio's route name, or the JSON path
    pub name: &'a str,
    /// The part of the path that it was about
    pub path: MatchedPath,
}

/// Why a request takes no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// No route of the virtual host matches.
    Route,
    /// No virtual service has the host.
    VirtualHost,
}

impl VirtualServices {
    /// Enters the hosts of all services. Routes of several services for one host stand one after
    /// another in document order, as Istio merges them for a gateway.
    pub fn new(services: &[VirtualService], namespace: Option<&str>) -> Self {
        let mut entered = Self::default();
        let mut aliases = Vec::new();
        // Of each virtual host, in order.
        let mut services_of: Vec<Vec<usize>> = Vec::new();
        for (number, service) in services.iter().enumerate() {
            for host in &service.hosts {
                let domain = match host.parse::<std::net::Ipv6Addr>() {
                    Ok(_) => format!("[{host}]"),
                    Err(_) => host.clone(),
                };
                let full_name = host_name::qualify(&domain, namespace);
                let index = entered.virtual_hosts.entry(&full_name, services_of.len());
                match services_of.get_mut(index) {
                    Some(services) if services.last() == Some(&number) => {}
                    Some(services) => services.push(number),
                    None => services_of.push(vec![number]),
                }
                let others = host_name::aliases(&full_name, namespace);
                aliases.extend(others.into_iter().map(|alias| (alias, index)));
            }
        }
        // Last, so that a host that is written out wins over another's short name.
        for (alias, index) in aliases {
            entered.virtual_hosts.entry(&alias, index);
        }
        // Hosts of one service stand next to each other, and share its table.
        let mut table = Rc::new(Table::default());
        for numbers in services_of {
            if table.services != numbers {
                table = Rc::new(Table::new(numbers, services));
            }
            entered.tables.push(Rc::clone(&table));
        }
        entered
    }

    /// Whether any route is so.
    pub fn have(&self, is_so: impl Fn(&HttpRoute) -> bool) -> bool {
        self.tables.iter().any(|table| table.rules.iter().any(|rule| is_so(&rule.route)))
    }

    /// The route that a request takes.
    ///
    /// # Errors
    /// [`NoMatch`] for a request that none is for.
    #[inline]
    pub fn find(&self, request: &Request<'_>) -> Result<Match<'_>, NoMatch> {
        let index = self.virtual_hosts.find(request.authority);
        let table = index.and_then(|index| self.tables.get(index)).ok_or(NoMatch::VirtualHost)?;
        let matched = table.index.first(request, |rule| table.rules.get(rule)?.matches(request));
        matched.ok_or(NoMatch::Route)
    }
}

impl Table {
    fn new(numbers: Vec<usize>, services: &[VirtualService]) -> Self {
        let own = numbers.iter().filter_map(|number| services.get(*number));
        let mut rules = Vec::new();
        for route in own.flat_map(|service| &service.routes) {
            let rule = |index| Rule { route: Rc::clone(route), index };
            rules.extend((0..route.match_count()).map(rule));
        }
        let index =
            RuleIndex::new(rules.len(), &|rule| rules.get(rule).map_or(Vec::new(), Rule::keys));
        Self { services: numbers, rules, index }
    }
}

impl Rule {
    fn keys(&self) -> Vec<Key<'_>> {
        self.route.keys(self.index)
    }

    #[inline]
    fn matches(&self, request: &Request<'_>) -> Option<Match<'_>> {
        let (name, path) = self.route.matches(self.index, request)?;
        Some(Match { route: &self.route, name, path })
    }
}

#[cfg(test)]
mod tests;
