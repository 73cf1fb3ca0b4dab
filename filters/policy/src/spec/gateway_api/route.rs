//! `HTTPRoute` and `GRPCRoute`: the rules of one or more hosts.

use std::sync::Arc;

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::Reported;
use crate::spec::destination::Naming;
use crate::spec::gateway_api::http_match::Ranked;
use crate::spec::gateway_api::parent::{ParentRef, Parents};
use crate::spec::gateway_api::precedence::Rank;
use crate::spec::gateway_api::rule::{GatewayRule, GrpcRule, HttpRule};
use crate::spec::http_route::Rule;
use crate::spec::place::Place;
use crate::spec::proxy::{Proxy, read_namespace};
use crate::value::host_name;

/// A route, compiled.
pub struct GatewayRoute {
    /// Hosts in lower case; `*` for all
    pub hosts: Vec<String>,
    /// Rules, one for each match, with their ranks
    pub rules: Vec<(Rank, Arc<Rule>)>,
    /// Whether this proxy is one of the parents
    pub is_for_this_proxy: bool,
    /// Place of the route
    pub place: Place,
}

/// Declares the fields of a route with rules of the type `$rule`.
macro_rules! route_fields {
    ($type:ident as $name:literal, $description:literal, $rule:ident) => {
        fields!($type as $name, $description, {
            "name": Kind::Text => "Name of the route, from its metadata, for logs.";
            "namespace": Kind::OPTIONAL_LABEL =>
                "Namespace of the route, from its metadata; that of the document if absent. \
                 Backends and parents without a namespace are in it.";
            "parentRefs": Kind::List(&Kind::Object(ParentRef::schema)) =>
                "Gateways and Services that the route is attached to; this proxy if absent.";
            "useDefaultGateways": Kind::OneOf(&DEFAULT_GATEWAYS) =>
                "Has no effect: the document is attached to this proxy.";
            "hostnames": Kind::List(&Kind::Pattern(HOSTNAME)) =>
                "Hosts that the rules apply to: names or *.SUFFIX; all if absent.";
            "rules": Kind::List(&Kind::Object($rule::schema)) =>
                "The rules. Of all rules of a host, the most specific one that matches is used.";
        });
    };
}

/// The spec of an HTTPRoute.
pub struct HttpRouteSpec;

route_fields!(HttpRouteSpec as "GatewayHTTPRoute",
    "The spec of an HTTPRoute of the Gateway API.", HttpRule);

/// The spec of a GRPCRoute.
pub struct GrpcRouteSpec;

route_fields!(GrpcRouteSpec as "GatewayGRPCRoute",
    "The spec of a GRPCRoute of the Gateway API.", GrpcRule);

const DEFAULT_GATEWAYS: [&str; 2] = ["All", "None"];

/// `Hostname`
const HOSTNAME: &str =
    r"(\*\.)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*";

/// A function that reads a rule.
type ReadRule<'a> = fn(&Node<'a>, &Naming) -> Result<GatewayRule<'a>, Reported>;

impl GatewayRoute {
    /// Reads an entry of `httpRoutes` at `place`.
    pub fn read_http(
        node: &Node<'_>,
        place: Place,
        naming: &Naming,
        proxy: &Proxy<'_>,
    ) -> Result<Self, Reported> {
        let object = node.object::<HttpRouteSpec>()?;
        let mut route = Self::read(&object, place, naming, proxy, GatewayRule::read_http)?;
        if object.elements("rules")?.is_empty() {
            route.add(GatewayRule::absent(), 0, None);
        }
        Ok(route)
    }

    /// Reads an entry of `grpcRoutes` at `place`.
    pub fn read_grpc(
        node: &Node<'_>,
        place: Place,
        naming: &Naming,
        proxy: &Proxy<'_>,
    ) -> Result<Self, Reported> {
        let object = node.object::<GrpcRouteSpec>()?;
        Self::read(&object, place, naming, proxy, GatewayRule::read_grpc)
    }

    #[inline(never)]
    fn read<'a>(
        object: &Object<'a>,
        place: Place,
        naming: &Naming,
        proxy: &Proxy<'_>,
        read_rule: ReadRule<'a>,
    ) -> Result<Self, Reported> {
        let name = object.string("name");
        let own_namespace = object.given("namespace").map(|node| read_namespace(&node)).transpose();
        let known = own_namespace.as_ref().ok().and_then(Option::as_deref);
        let own_naming = known.map(|own| naming.with_namespace(Some(own)));
        let naming = own_naming.as_ref().unwrap_or(naming);
        let namespace = naming.namespace.as_deref();
        let parents = Parents::read(object, namespace, proxy);
        let default = object.optional("useDefaultGateways", |own| own.one_of(&DEFAULT_GATEWAYS));
        let hosts = object.list("hostnames", read_host);
        let rules = object.list_with("rules", |node| read_rule(node, naming));
        let (name, parents, hosts, rules) = (name?, parents?, hosts?, rules?);
        own_namespace?;
        default?;
        let full_name = name.map(|name| match namespace {
            Some(namespace) => format!("{namespace}.{name}"),
            None => name.to_owned(),
        });
        let hosts = if hosts.is_empty() { vec!["*".to_owned()] } else { hosts };
        let hosts = if parents.has_gateway { hosts } else { Vec::new() };
        let is_for_this_proxy = parents.is_for_this_proxy;
        let mut route = Self { hosts, rules: Vec::new(), is_for_this_proxy, place };
        route.hosts.extend(parents.services);
        for (index, rule) in rules.into_iter().enumerate() {
            route.add(rule, index, full_name.as_deref());
        }
        Ok(route)
    }

    /// Adds the rule with the index `index`. Like istiod, names it by the route and its own name or
    /// its index, if the route has a name.
    fn add(&mut self, rule: GatewayRule<'_>, index: usize, route_name: Option<&str>) {
        let GatewayRule { name, matches, has_matches, route } = rule;
        let place = self.place.route(index);
        let name = match (route_name, name) {
            (Some(route), Some(own)) => Some(format!("{route}.{own}")),
            (Some(route), None) => Some(format!("{route}.{index}")),
            (None, own) => own.map(str::to_owned),
        };
        for (index, Ranked { conditions, rank, .. }) in matches.into_iter().enumerate() {
            let place = if has_matches { place.matched(index) } else { place };
            let name = name.clone().unwrap_or_else(|| place.path()).into();
            let rule = Rule { name, place, conditions, route: Arc::clone(&route) };
            self.rules.push((rank, Arc::new(rule)));
        }
    }
}

/// Reads a host: a name or `*.SUFFIX`.
fn read_host(node: &Node<'_>) -> Result<String, Reported> {
    let host = node.string()?.to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if name.contains('*') || host_name::check(name).is_err() || name.ends_with('.') {
        return Err(node.invalid("is not a host; write a name or *.SUFFIX"));
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(node.invalid("is an IP address, which the Gateway API does not allow"));
    }
    Ok(host)
}
