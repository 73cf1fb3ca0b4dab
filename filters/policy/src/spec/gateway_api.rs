//! HTTPRoutes and GRPCRoutes of the Gateway API. They are compiled into the rules that
//! VirtualServices have too, so that everything else is the same for both: the index, sticky
//! splits, explanations.
//!
//! In contrast to a VirtualService, the order of rules has no meaning: the rules of all routes of a
//! host are sorted by [`Rank`]. Rules of the same rank are in the order of the document.

pub mod backend;
pub mod cors;
pub mod filter;
pub mod filter_type;
pub mod grpc_match;
pub mod header_modifier;
pub mod http_match;
pub mod parent;
pub mod path_modifier;
pub mod precedence;
pub mod route;
pub mod rule;
pub mod timeouts;
pub mod url;
pub mod value_match;

use std::sync::Arc;

use crate::document::node::{Node, Object};
use crate::document::report::Reported;
use crate::lookup::name_table::NameTable;
use crate::sort::sort;
use crate::spec::destination::Naming;
use crate::spec::http_route::Rule;
use crate::spec::place::{List, Place};
use crate::spec::proxy::Proxy;
use crate::spec::virtual_service::VirtualService;
use precedence::Rank;
use route::GatewayRoute;

/// Reads `httpRoutes` and `grpcRoutes` of a document. Returns a virtual service for each group of
/// hosts that the same routes have, with the rules of these routes in the order of their ranks.
/// Another filter than those for HTTP requests needs no rules.
pub fn read(
    document: &Object<'_>,
    naming: &Naming,
    proxy: &Proxy<'_>,
) -> Result<Vec<VirtualService>, Reported> {
    let http = read_list(document, List::HttpRoutes, naming, proxy, GatewayRoute::read_http);
    let grpc = read_list(document, List::GrpcRoutes, naming, proxy, GatewayRoute::read_grpc);
    let mut routes = http?;
    routes.append(&mut grpc?);
    let (own, others): (Vec<_>, Vec<_>) =
        routes.into_iter().partition(|route| route.is_for_this_proxy);
    let is_kept = document.node.filters().need(&VirtualService::HTTP_FILTERS);
    let mut services = group(&own, is_kept);
    for route in others {
        let mut service = VirtualService::of_gateway_api(route.hosts, Vec::new());
        service.is_for_this_proxy = false;
        service.left_out.push(route.place);
        services.push(service);
    }
    Ok(services)
}

/// A function that reads a route at a place.
type ReadRoute = fn(&Node<'_>, Place, &Naming, &Proxy<'_>) -> Result<GatewayRoute, Reported>;

fn read_list(
    document: &Object<'_>,
    list: List,
    naming: &Naming,
    proxy: &Proxy<'_>,
    read: ReadRoute,
) -> Result<Vec<GatewayRoute>, Reported> {
    let mut index = 0;
    document.list_with(list.name(), |node| {
        let place = Place::of_element(list, index);
        index += 1;
        read(node, place, naming, proxy)
    })
}

/// Returns a virtual service for each group of hosts that the same routes have.
fn group(routes: &[GatewayRoute], is_kept: bool) -> Vec<VirtualService> {
    // The routes of each host, in order.
    let mut numbers = NameTable::default();
    let mut hosts: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        for host in &route.hosts {
            let number = *numbers.entry(host.as_bytes(), || hosts.len());
            match hosts.get_mut(number) {
                Some((_, own)) if own.last() == Some(&index) => {}
                Some((_, own)) => own.push(index),
                None => hosts.push((host, vec![index])),
            }
        }
    }
    let mut groups = NameTable::default();
    let mut services: Vec<VirtualService> = Vec::new();
    for (host, own) in hosts {
        let key: Vec<u8> = own.iter().copied().flat_map(usize::to_le_bytes).collect();
        let number = *groups.entry(&key, || services.len());
        if let Some(service) = services.get_mut(number) {
            service.hosts.push(host.to_owned());
            continue;
        }
        let own = own.iter().filter_map(|index| routes.get(*index));
        let rules = if is_kept { sorted(own) } else { Vec::new() };
        services.push(VirtualService::of_gateway_api(vec![host.to_owned()], rules));
    }
    services
}

/// Returns the rules of some routes, the greatest rank first. The sort is stable.
fn sorted<'a>(routes: impl Iterator<Item = &'a GatewayRoute>) -> Vec<Arc<Rule>> {
    let rules = routes.flat_map(|route| &route.rules);
    let mut ranked: Vec<&(Rank, Arc<Rule>)> = rules.collect();
    sort(&mut ranked, |(left, _), (right, _)| right.cmp(left));
    ranked.into_iter().map(|(_, rule)| Arc::clone(rule)).collect()
}
