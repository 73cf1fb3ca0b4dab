//! All virtual services of a document. The authority of a request selects a virtual host, and the
//! first rule of this virtual host that matches is used.

use std::rc::Rc;

use crate::lookup::rule_index::RuleIndex;
use crate::lookup::virtual_hosts::VirtualHosts;
use crate::name_set::NameSet;
use crate::request::Request;
use crate::spec::http_match::MatchedPath;
use crate::spec::http_route::{HttpRoute, Rule};
use crate::spec::virtual_service::VirtualService;
use crate::value::host_name;

/// The compiled virtual services that apply to this proxy.
#[derive(Debug, Default)]
pub struct VirtualServices {
    /// Hosts, each with the index of its table
    virtual_hosts: VirtualHosts,
    tables: Vec<Table>,
}

/// Rules of a virtual host. Virtual hosts with the same virtual services share a table.
#[derive(Debug, Default)]
struct Table {
    /// Rules of these virtual services, in order
    rules: Vec<Rc<Rule>>,
    index: RuleIndex,
}

/// The rule that applies to a request.
#[derive(Debug)]
pub struct Match<'a> {
    /// Route of the rule
    pub route: &'a Rc<HttpRoute>,
    /// Name of the rule in logs: Istio's name of the route, or the JSON path
    pub name: &'a str,
    /// Part of the path that matched
    pub path: MatchedPath,
}

/// Reason why no rule applies to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// No rule of the virtual host matches.
    Route,
    /// No virtual service has the host.
    VirtualHost,
}

impl VirtualServices {
    /// Indexes the hosts of all services. If several services have the same host, their rules are
    /// merged in document order, as Istio does for a gateway.
    pub fn new(services: &[VirtualService], namespace: Option<&str>) -> Self {
        let mut entered = Self::default();
        let mut aliases = Vec::new();
        // The services of each virtual host, in order.
        let mut services_of: Vec<Vec<usize>> = Vec::new();
        for (number, service) in services.iter().enumerate() {
            for host in &service.hosts {
                let full_name = domain(host, namespace);
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
        // Aliases come last, so that an explicit host has priority over the short name of another.
        for (alias, index) in aliases {
            entered.virtual_hosts.entry(&alias, index);
        }
        let mut known = NameSet::default();
        let mut table_of = Vec::with_capacity(services_of.len());
        for numbers in services_of {
            let key: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            let table = known.add(&key);
            if table == entered.tables.len() {
                entered.tables.push(Table::new(&numbers, services));
            }
            table_of.push(table);
        }
        entered
            .virtual_hosts
            .replace_indices(|index| table_of.get(index).copied().unwrap_or(index));
        entered
    }

    /// Returns whether any route satisfies the predicate.
    pub fn any_route(&self, predicate: impl Fn(&HttpRoute) -> bool) -> bool {
        self.lists().flatten().any(|rule| predicate(&rule.route))
    }

    /// Returns the rules of the virtual hosts, in the order in which they are evaluated. Virtual
    /// hosts with the same rules have one list.
    pub fn lists(&self) -> impl Iterator<Item = &[Rc<Rule>]> {
        self.tables.iter().map(|table| table.rules.as_slice())
    }

    /// Returns the rules that are evaluated for a request; `None` if no virtual service has its
    /// host.
    pub fn candidates(&self, request: &Request<'_>) -> Option<&[Rc<Rule>]> {
        Some(&self.tables.get(self.virtual_hosts.find(request.authority)?)?.rules)
    }

    /// Returns the rule that applies to a request.
    ///
    /// # Errors
    /// [`NoMatch`] if no rule matches the request.
    #[inline]
    pub fn find(&self, request: &Request<'_>) -> Result<Match<'_>, NoMatch> {
        let index = self.virtual_hosts.find(request.authority);
        let table = index.and_then(|index| self.tables.get(index)).ok_or(NoMatch::VirtualHost)?;
        let matched = table.index.first(request, |rule| {
            let rule = table.rules.get(rule)?;
            let path = rule.matches(request)?;
            Some(Match { route: &rule.route, name: &rule.name, path })
        });
        matched.ok_or(NoMatch::Route)
    }
}

/// Returns the domain of the virtual host for a host: the full name, or an IPv6 address in
/// brackets.
pub fn domain(host: &str, namespace: Option<&str>) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host_name::qualify(host, namespace),
    }
}

impl Table {
    fn new(numbers: &[usize], services: &[VirtualService]) -> Self {
        let own = numbers.iter().filter_map(|number| services.get(*number));
        let rules: Vec<_> = own.flat_map(|service| service.rules.iter().cloned()).collect();
        let keys =
            |rule| rules.get(rule).map_or(Vec::new(), |rule: &Rc<Rule>| rule.conditions.keys());
        let index = RuleIndex::new(rules.len(), &keys);
        Self { rules, index }
    }
}

#[cfg(test)]
mod tests;
