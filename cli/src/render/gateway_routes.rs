//! HTTPRoutes and GRPCRoutes: their destinations, hosts and mirrors.

use std::collections::BTreeSet;

use sluice_policy::document::field_name::is_field;
use sluice_policy::document::node::Node;
use sluice_policy::document::report::Report;
use sluice_policy::spec::destination::{Destination, Naming};
use sluice_policy::spec::gateway_api::backend::{Backend, read_mirror};
use sluice_policy::spec::gateway_api::filter::{Filters, HttpFilter};
use sluice_policy::spec::gateway_api::parent::Parents;
use sluice_policy::spec::gateway_api::route::{GrpcRouteSpec, HttpRouteSpec};
use sluice_policy::spec::gateway_api::rule::HttpRule;
use sluice_policy::spec::mirror::Mirror;
use sluice_policy::spec::proxy::{NoMetadata, Proxy};
use sluice_policy::value::host_name::aliases;

use super::part::{Found, Part};

/// What parts of routes mean. The document has no errors, so what cannot be read is absent.
#[derive(Clone, Copy)]
pub struct Reader<'r> {
    /// How the destinations of the document are named
    pub naming: &'r Naming,
    /// Gets what the policy reports
    pub report: &'r Report,
}

impl Reader<'_> {
    /// The Services that a rule refers to.
    pub fn destinations<'a>(&self, rule: &Part<'a>) -> Vec<Found<'a>> {
        let naming = &rule.naming(self.naming);
        let found =
            |part: Part<'a>, to: Option<Destination>| Some(Found { destination: to?, part });
        let backend = |part: Part<'a>| {
            let backend = Backend::read(&self.node(&part), naming).ok()?;
            found(part, backend.destination)
        };
        let mirror = |filter: Part<'a>| {
            let part = filter.field("requestMirror")?.field("backendRef")?;
            let destination = read_mirror(&self.node(&part), naming).ok()?;
            found(part, destination)
        };
        let backends = rule.elements("backendRefs").into_iter().filter_map(backend);
        backends.chain(rule.elements("filters").into_iter().filter_map(mirror)).collect()
    }

    /// The mirrors of a rule.
    pub fn mirrors(&self, rule: &Part<'_>) -> Vec<Mirror> {
        let naming = rule.naming(self.naming);
        // The fields of a GRPCRoute's rules are some of those of an HTTPRoute's.
        let rule = self.node(rule).object::<HttpRule>();
        let filters = rule.and_then(|rule| Filters::read::<HttpFilter>(&rule, &naming));
        filters.map(|filters| filters.mirrors).unwrap_or_default()
    }

    /// The hosts of a route, with other names of Services that are parents, and the hosts that its
    /// rules set. `*` if it is for all hosts.
    pub fn domains(&self, route: &Part<'_>) -> BTreeSet<String> {
        let naming = route.naming(self.naming);
        let mut domains = BTreeSet::new();
        let Some(parents) = self.parents(route, &Proxy::unknown(&NoMetadata)) else {
            return domains;
        };
        for host in parents.services {
            domains.extend(aliases(&host, naming.namespace.as_deref()));
            domains.insert(host);
        }
        let names = route.texts("hostnames");
        if parents.has_gateway {
            domains.extend(names.iter().map(|name| name.to_ascii_lowercase()));
            domains.extend(names.is_empty().then(|| "*".to_owned()));
        }
        for filter in route.elements("rules").iter().flat_map(|rule| rule.elements("filters")) {
            let rewrite = filter.field("urlRewrite");
            domains.extend(rewrite.and_then(|own| own.text("hostname")).map(str::to_owned));
        }
        domains
    }

    /// What the parents of a route say about a proxy.
    pub fn parents(&self, route: &Part<'_>, proxy: &Proxy<'_>) -> Option<Parents> {
        let naming = route.naming(self.naming);
        let node = self.node(route);
        let object = match is_of_grpc(route) {
            true => node.object::<GrpcRouteSpec>(),
            false => node.object::<HttpRouteSpec>(),
        };
        Parents::read(&object.ok()?, naming.namespace.as_deref(), proxy).ok()
    }

    fn node<'n>(&'n self, part: &Part<'n>) -> Node<'n> {
        Node::root(part.json, self.report)
    }
}

/// Returns whether a part is in a GRPCRoute.
pub fn is_of_grpc(part: &Part<'_>) -> bool {
    is_field(part.path.split('[').next().unwrap_or_default(), "grpcRoutes")
}
