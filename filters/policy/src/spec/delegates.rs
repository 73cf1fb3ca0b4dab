//! Delegates: virtual services without hosts. Their HTTP routes replace the routes of other virtual
//! services that name them in `delegate`. Source: istiod's `mergeVirtualServices` in
//! `pilot/pkg/model/virtualservice_controller.go`.
//!
//! All virtual services are read as they are written first, so that findings have the place of
//! their own part. The merged routes are read afterwards; their rules have the places of the
//! delegate.

mod conflict;
mod merge;
mod part;
mod rule;

use crate::document::json::{Json, Quoted};
use crate::document::node::{Node, all};
use crate::document::parse::MAX_BYTES;
use crate::document::report::{self, Report, Reported};
use crate::lookup::name_table::NameTable;
use crate::spec::delegate::Delegation;
use crate::spec::destination::Naming;
use crate::spec::http_route::{HttpRoute, RouteRules};
use crate::spec::place::{List, Place, Places};
use crate::spec::proxy::Proxy;
use crate::spec::scope::Scope;
use crate::spec::virtual_service::VirtualService;
use merge::{Conflict, merge_matches};
use part::text;

pub use merge::merge_route;
pub use part::Part;

/// The virtual services of a document, while routes are merged.
struct Merger<'a> {
    nodes: &'a [Node<'a>],
    services: &'a mut [VirtualService],
    /// List that has the virtual services
    list: List,
    /// Index of each delegate by namespace and name
    delegates: NameTable<usize>,
    /// Namespace of the document
    namespace: Option<&'a str>,
    proxy: &'a Proxy<'a>,
    /// Naming for merged routes, whose hosts are complete
    naming: Naming,
    /// Length of everything merged so far, as JSON text. A document of a few routes could make
    /// many long ones, since each route of a delegate is merged with each route that names it
    length: usize,
}

/// A delegate that a route names.
#[derive(Clone, Copy)]
struct Named<'a> {
    /// Its `http`
    routes: &'a [Json<'a>],
    namespace: Option<&'a str>,
    place: Place,
}

/// Reads the virtual services of a list, with the rules of delegates.
pub fn read(
    nodes: &[Node<'_>],
    list: List,
    naming: &Naming,
    proxy: &Proxy<'_>,
) -> Result<Vec<VirtualService>, Reported> {
    let Some(first) = nodes.first() else { return Ok(Vec::new()) };
    let errors = first.report().error_count();
    let read = |(index, node): (usize, &Node<'_>)| {
        VirtualService::read(node, Place::of_element(list, index), naming, proxy)
    };
    let mut services = all(nodes.iter().enumerate().map(read))?;
    // After an error, such as an unknown field, a merged route would have it again.
    if first.report().error_count() == errors {
        merge(nodes, &mut services, list, naming, proxy)?;
    }
    Ok(services)
}

/// Adds the rules of delegates to the virtual services that name them. `nodes` has the virtual
/// services without errors, in the same order.
fn merge(
    nodes: &[Node<'_>],
    services: &mut [VirtualService],
    list: List,
    naming: &Naming,
    proxy: &Proxy<'_>,
) -> Result<(), Reported> {
    let is_whole = |own: &VirtualService| !own.hosts.is_empty() && own.delegations.is_none();
    if services.iter().all(is_whole) {
        return Ok(());
    }
    let mut merger = Merger {
        nodes,
        services,
        list,
        delegates: NameTable::default(),
        namespace: naming.namespace.as_deref(),
        proxy,
        naming: naming.with_namespace(None),
        length: 0,
    };
    let mut result = merger.register();
    for (index, node) in nodes.iter().enumerate() {
        result = result.and(merger.complete(node, index));
    }
    for (node, service) in nodes.iter().zip(merger.services) {
        if !service.hosts.is_empty() {
            continue;
        }
        if !service.is_used {
            let reason =
                "is a delegate because it has no hosts: it applies to no request by itself";
            node.notice(report::Kind::NotApplicable, reason);
        }
        service.rules.clear();
        service.left_out.clear();
    }
    result
}

/// Returns the key of a delegate.
fn key(namespace: Option<&str>, name: &str) -> String {
    [namespace.unwrap_or_default(), name].join("/")
}

impl<'a> Merger<'a> {
    /// Registers the delegates by their names.
    fn register(&mut self) -> Result<(), Reported> {
        let mut result = Ok(());
        for (index, (node, service)) in self.nodes.iter().zip(&*self.services).enumerate() {
            let name = text(node.json, "name").filter(|_| service.hosts.is_empty());
            let Some(name) = name else { continue };
            let key = key(text(node.json, "namespace").or(self.namespace), name);
            if *self.delegates.entry(key.as_bytes(), || index) != index {
                let name = node.json.field("name").unwrap_or(node.json);
                result = Err(node.child(name).invalid("is the name of an earlier delegate too"));
            }
        }
        result
    }

    /// Adds the rules of its delegates to a virtual service.
    fn complete(&mut self, node: &Node<'a>, index: usize) -> Result<(), Reported> {
        let place = Place::of_element(self.list, index);
        let Some(service) = self.services.get_mut(index) else { return Ok(()) };
        let Some(delegations) = service.delegations.take() else { return Ok(()) };
        let (delegations, gateways) = *delegations;
        let (namespace, proxy) = (None, self.proxy);
        let scope = Scope { namespace, proxy, gateways: &gateways, is_delegate: false };
        let mut rules = std::mem::take(&mut service.rules).into_iter();
        let left_out = std::mem::take(&mut service.left_out);
        let mut found = RouteRules { left_out, ..RouteRules::default() };
        let (mut before, mut result) = (0, Ok(()));
        for Delegation { route, rules_before } in delegations {
            while before < rules_before
                && let Some(rule) = rules.next()
            {
                found.rules.push(rule);
                before += 1;
            }
            if let Some(json) = node.json.elements("http").get(route) {
                let root = Part { json, namespace: self.namespace };
                result = result.and(self.add(node, root, place.route(route), &scope, &mut found));
            }
        }
        found.rules.extend(rules);
        if !node.filters().need(&VirtualService::HTTP_FILTERS) {
            found.rules.truncate(1);
        }
        if let Some(service) = self.services.get_mut(index) {
            service.set_rules(found, place);
        }
        result
    }

    /// Returns the delegate that a route names; `None`, after a notice, if there is none.
    fn find(&mut self, reference: &Node<'a>, root: Option<&'a str>) -> Option<Named<'a>> {
        let namespace = text(reference.json, "namespace").or(root);
        let key = key(namespace, text(reference.json, "name").unwrap_or_default());
        let shown = Quoted(key.strip_prefix('/').unwrap_or(&key));
        // `get` is for requests, where it has to be inlined.
        let index = *self.delegates.entry(key.as_bytes(), || usize::MAX);
        let (Some(node), Some(service)) = (self.nodes.get(index), self.services.get_mut(index))
        else {
            let reason = format_args!(
                "has no effect, because no virtual service without hosts is named {shown}; add it, \
                 with its name and namespace"
            );
            reference.notice(report::Kind::NoEffect, reason);
            return None;
        };
        let exports = node.json.elements("exportTo");
        let is_visible = |export: &Json| match export.as_str() {
            Some(".") => namespace == root,
            export => export == Some("*") || export == root,
        };
        if !exports.is_empty() && !exports.iter().any(is_visible) {
            let reason = format_args!(
                "has no effect, because {shown} is not exported to this namespace; add it to \
                 exportTo there"
            );
            reference.notice(report::Kind::NoEffect, reason);
            return None;
        }
        service.is_used = true;
        let routes = node.json.elements("http");
        Some(Named { routes, namespace, place: Place::of_element(self.list, index) })
    }

    /// Adds the rules of a route with `delegate` to `found`.
    fn add(
        &mut self,
        node: &Node<'a>,
        root: Part<'a>,
        place: Place,
        scope: &Scope<'_>,
        found: &mut RouteRules,
    ) -> Result<(), Reported> {
        let reference = root.json.field("delegate").filter(|_| self.length <= MAX_BYTES);
        // After the first route that exceeds the limit, nothing is merged.
        let Some(reference) = reference.map(|json| node.child(json)) else { return Ok(()) };
        let Some(named) = self.find(&reference, root.namespace) else { return Ok(()) };
        for (index, json) in named.routes.iter().enumerate() {
            let own = Part { json, namespace: named.namespace };
            let route = named.place.route(index);
            let merged = match merge_matches(root, own, &mut self.length) {
                Ok(merged) => merged,
                Err(Conflict { json, field }) => {
                    let reason = format_args!(
                        "its route is dropped, as in Istio, because {field} is not a part of what \
                         the route with delegate matches"
                    );
                    let kind = report::Kind::NoEffect;
                    node.child(json).notice_with(kind, reason, place.to_string());
                    continue;
                }
            };
            let mut matches = Vec::new();
            for index in merged.indices {
                matches.push(index.map_or(route, |index| route.matched(index)));
            }
            let mut json = merge_route(root, own);
            self.length = self.length.saturating_add(json.length());
            if self.length > MAX_BYTES {
                return Err(reference.error(format_args!(
                    "makes the merged routes longer than {MAX_BYTES} bytes (16 MiB); use fewer \
                     routes or matches"
                )));
            }
            if let Json::Object(fields) = &mut json {
                fields.push(("match".into(), Json::Array(merged.list)));
            }
            // The findings are those of its parts, which are reported already, except for errors
            // that only the combination has.
            let report = Report::new(node.filters());
            let places = Places { route, matches: Some(&matches) };
            _ = HttpRoute::read(&Node::root(&json, &report), places, &self.naming, scope, found);
            let errors =
                report.finish(&json).map_or_else(|rejection| rejection.errors, |_| Vec::new());
            if let Some(error) = errors.first() {
                let reason = format_args!("merged with {route}: {}", error.reason);
                return Err(reference.error(reason));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
