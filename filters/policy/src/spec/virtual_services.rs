//! All virtual services of a document. The authority of a request selects a virtual host, and the
//! first rule of this virtual host that matches is used.

use std::sync::Arc;

use crate::lookup::rule_index::RuleIndex;
use crate::lookup::virtual_hosts::VirtualHosts;
use crate::name_set::NameSet;
use crate::request::Request;
use crate::sort::sort;
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
    /// Rules of the virtual services, in the order in which they are evaluated
    rules: Vec<Arc<Rule>>,
    index: RuleIndex,
    /// Ports of the requests that the rules are for; `None` if a rule is for all ports
    ports: Option<Box<[u16]>>,
    /// Table for requests to other ports
    next: Option<usize>,
}

/// The rule that applies to a request.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    /// Route of the rule
    pub route: &'a Arc<HttpRoute>,
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
    /// No virtual service has the host, or none has a rule for the port of the request.
    VirtualHost,
}

impl VirtualServices {
    /// Indexes the hosts of all services. `is_sidecar`: whether the proxy is a sidecar, if that is
    /// known.
    ///
    /// If several services have the same host, their rules are merged in document order, as istiod
    /// does for a gateway. In a sidecar only the rules of the first service apply that has one for
    /// the port, as in istiod (`dedupeDomains`). As in istiod, gateways know services only by their
    /// full names, others also by those without cluster domain and namespace.
    pub fn new(
        services: &[VirtualService],
        namespace: Option<&str>,
        is_sidecar: Option<bool>,
    ) -> Self {
        let has_aliases = is_sidecar != Some(false);
        let mut entered = Self::default();
        let mut aliases = Vec::new();
        // The services of each virtual host, in order.
        let mut services_of: Vec<Vec<usize>> = Vec::new();
        for (number, service) in services.iter().enumerate() {
            for host in &service.hosts {
                let full_name = service.domain(host, namespace);
                let index = entered.virtual_hosts.entry(&full_name, services_of.len());
                match services_of.get_mut(index) {
                    Some(services) if services.last() == Some(&number) => {}
                    Some(services) => services.push(number),
                    None => services_of.push(vec![number]),
                }
                if !has_aliases {
                    continue;
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
            let table = if is_sidecar == Some(true) {
                entered.chain(&numbers, services, &mut known)
            } else {
                Some(entered.table(&numbers, None, services, &mut known))
            };
            table_of.extend(table);
        }
        entered
            .virtual_hosts
            .replace_indices(|index| table_of.get(index).copied().unwrap_or(index));
        entered
    }

    /// Adds a table for each of some services and returns the index of the first. Each table is for
    /// the ports that those before it are not for.
    fn chain(
        &mut self,
        numbers: &[usize],
        services: &[VirtualService],
        known: &mut NameSet,
    ) -> Option<usize> {
        let is_for_all_ports =
            |number: &usize| services.get(*number).is_some_and(|own| ports(&own.rules).is_none());
        let last = numbers.iter().position(is_for_all_ports);
        let numbers = last.and_then(|last| numbers.get(..=last)).unwrap_or(numbers);
        let later_first = numbers.iter().rev();
        later_first.fold(None, |next, number| Some(self.table(&[*number], next, services, known)))
    }

    /// Returns the index of the table with the rules of some services, which is added unless it is
    /// `known`. `next` is the table for ports that these rules are not for.
    fn table(
        &mut self,
        numbers: &[usize],
        next: Option<usize>,
        services: &[VirtualService],
        known: &mut NameSet,
    ) -> usize {
        let key: Vec<u8> =
            numbers.iter().copied().chain(next).flat_map(usize::to_le_bytes).collect();
        let table = known.add(&key);
        if table == self.tables.len() {
            self.tables.push(Table::new(numbers, next, services));
        }
        table
    }

    /// Returns whether any route satisfies the predicate.
    pub fn any_route(&self, predicate: impl Fn(&HttpRoute) -> bool) -> bool {
        self.lists().flatten().any(|rule| predicate(&rule.route))
    }

    /// Returns the rules of the virtual hosts, in the order in which they are evaluated. Virtual
    /// hosts with the same rules have one list.
    pub fn lists(&self) -> impl Iterator<Item = &[Arc<Rule>]> {
        self.tables.iter().map(|table| table.rules.as_slice())
    }

    /// Returns the rules that are evaluated for a request; `None` if no virtual service has its
    /// host.
    pub fn candidates(&self, request: &Request<'_>) -> Option<&[Arc<Rule>]> {
        let mut table = self.tables.get(self.virtual_hosts.find(request.authority)?)?;
        while let Ok(next) = self.next(table, request) {
            table = next;
        }
        Some(&table.rules)
    }

    /// Returns the rule that applies to a request.
    ///
    /// # Errors
    /// [`NoMatch`] if no rule matches the request.
    #[inline]
    pub fn find(&self, request: &Request<'_>) -> Result<Match<'_>, NoMatch> {
        let index = self.virtual_hosts.find(request.authority);
        let mut table =
            index.and_then(|index| self.tables.get(index)).ok_or(NoMatch::VirtualHost)?;
        loop {
            let matched = table.index.first(request, |rule| {
                let rule = table.rules.get(rule)?;
                let path = rule.matches(request)?;
                Some(Match { route: &rule.route, name: &rule.name, path })
            });
            match matched {
                Some(matched) => return Ok(matched),
                None => table = self.next(table, request)?,
            }
        }
    }

    /// Returns the table to search after `table`, in which no rule matches.
    ///
    /// # Errors
    /// Why no rule matches, if this was the last table.
    #[cold]
    fn next(&self, table: &Table, request: &Request<'_>) -> Result<&Table, NoMatch> {
        if table.is_for_port(request) {
            return Err(NoMatch::Route);
        }
        table.next.and_then(|next| self.tables.get(next)).ok_or(NoMatch::VirtualHost)
    }
}

/// Returns the ports of the requests that rules are for; `None` if one is for all ports.
fn ports(rules: &[Arc<Rule>]) -> Option<Box<[u16]>> {
    let ports: Option<Vec<u16>> = rules.iter().map(|rule| rule.conditions.port).collect();
    let mut ports = ports?;
    sort(&mut ports, u16::cmp);
    ports.dedup();
    Some(ports.into())
}

/// Merges the rules of several services. Like istiod, which moves rules for all requests to the end
/// (`SortVHostRoutes`), and first leaves out what follows them in the same service
/// (`BuildHTTPRoutesForVirtualService`).
fn merge<'a>(services: impl Iterator<Item = &'a VirtualService>) -> Vec<Arc<Rule>> {
    let (mut rules, mut catch_all) = (Vec::new(), Vec::new());
    for service in services {
        let is_catch_all = |rule: &Arc<Rule>| rule.conditions.is_catch_all();
        let end = service.rules.iter().position(is_catch_all).unwrap_or(service.rules.len());
        rules.extend(service.rules.iter().take(end).cloned());
        catch_all.extend(service.rules.get(end).cloned());
    }
    rules.append(&mut catch_all);
    rules
}

impl Table {
    fn new(numbers: &[usize], next: Option<usize>, services: &[VirtualService]) -> Self {
        let own = numbers.iter().filter_map(|number| services.get(*number));
        let rules = match numbers {
            [_] => own.flat_map(|service| service.rules.iter().cloned()).collect(),
            _ => merge(own),
        };
        let index = RuleIndex::new(rules.len(), &|rule, keys| {
            keys.clear();
            if let Some(rule) = rules.get(rule) {
                rule.conditions.keys(keys);
            }
        });
        let ports = ports(&rules);
        Self { rules, index, ports, next }
    }

    /// Returns whether a rule is for the port of a request. Like istiod, which makes a virtual host
    /// for each port (`buildSidecarOutboundHTTPRouteConfig`), the router takes hosts without such a
    /// rule as absent.
    fn is_for_port(&self, request: &Request<'_>) -> bool {
        let Some(ports) = &self.ports else { return true };
        match request.destination_port() {
            Some(port) => ports.contains(&port),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests;
