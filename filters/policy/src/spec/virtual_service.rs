//! `VirtualService`: the routes of one or more hosts.

use std::sync::Arc;

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::node::{Node, Object, all};
use crate::document::report::{self, Reported};
use crate::name_set::NameSet;
use crate::spec::delegate::Delegation;
use crate::spec::destination::Naming;
use crate::spec::destination_rule::NOT_EXPORTED;
use crate::spec::http_route::{HttpRoute, RouteRules, Rule};
use crate::spec::place::{Place, Places};
use crate::spec::proxy::{MESH, Proxy, read_gateways, read_namespace};
use crate::spec::scope::Scope;
use crate::spec::tls_route::TlsRoute;
use crate::value::host_name;
use crate::value::server_name::HostPatterns;

/// A virtual service, compiled.
#[derive(Debug)]
pub struct VirtualService {
    /// Hosts in lower case
    pub hosts: Vec<String>,
    /// Rules for HTTP requests that apply to this proxy, in order
    pub rules: Vec<Arc<Rule>>,
    /// Routes of TLS connections that apply to this proxy, in order
    pub tls: Vec<TlsRoute>,
    /// Whether this proxy serves one of the gateways of the virtual service
    pub is_for_this_proxy: bool,
    /// Places of the HTTP routes and matches that do not apply to this proxy, or of the virtual
    /// service if none of its HTTP routes applies
    pub left_out: Vec<Place>,
    /// HTTP routes with `delegate`, in order, and the gateways; `None` without such routes
    pub delegations: Option<Box<(Vec<Delegation>, Vec<String>)>>,
    /// Whether a route of another virtual service names this delegate
    pub is_used: bool,
    /// Whether it stands for routes of the Gateway API, whose hosts are complete
    pub has_full_names: bool,
}

fields!(VirtualService, "The spec of a VirtualService.", {
    "name": Kind::Text => "Name of a delegate, from its metadata; routes refer to it.";
    "namespace": Kind::OPTIONAL_LABEL =>
        "Namespace of a delegate, from its metadata; that of the document if absent. It completes \
         short host names.";
    "hosts": Kind::List(&Kind::REQUEST_HOST) =>
        "Hosts that the routes apply to: names, *.SUFFIX, or, with gateways, * for all hosts; none \
         in a delegate.";
    "gateways": Kind::GATEWAYS =>
        "Gateways that apply the routes; mesh, which means all sidecars, if absent.";
    "http": Kind::List(&Kind::AnyOf(&Kind::Object(HttpRoute::schema), &ACTIONS)) =>
        "Routes of HTTP requests; the first route that matches is used.";
    "tls": Kind::List(&Kind::Object(TlsRoute::schema)) =>
        "Routes of TLS connections by server name; the first route that matches is used.";
    "tcp": Kind::List(&Kind::Any) => "Not carried out by the filters; set it in Envoy's listeners.";
    "exportTo": Kind::TEXTS =>
        "Has no effect: a filter applies only the documents that are attached to it.";
});

/// Lists of routes, of which a virtual service must have at least one.
pub const ROUTES: [&str; 3] = ["http", "tls", "tcp"];

/// What a route does. Without a destination it is for the filters fault and mirror alone.
const ACTIONS: [&str; 7] =
    ["route", "redirect", "directResponse", "delegate", "fault", "mirror", "mirrors"];

impl VirtualService {
    /// The filters that use the HTTP routes
    pub const HTTP_FILTERS: [Filter; 3] = [Filter::Fault, Filter::Mirror, Filter::Router];

    /// Reads the `spec` of the VirtualService at `place`.
    pub fn read(
        node: &Node<'_>,
        place: Place,
        naming: &Naming,
        proxy: &Proxy<'_>,
    ) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let name = object.string("name");
        let own_namespace = object.given("namespace").map(|node| read_namespace(&node)).transpose();
        let namespace = naming.namespace.as_deref();
        let gateways = object.optional("gateways", |node| read_gateways(node, namespace));
        // After an error in the gateways, the checks that depend on them are omitted.
        let known = gateways.as_ref().ok().map(|gateways| gateways.as_deref().unwrap_or_default());
        let has_mesh = |gateways: &[String]| gateways.iter().any(|gateway| gateway == MESH);
        let is_for_mesh = known.is_some_and(|known| known.is_empty() || has_mesh(known));
        let hosts = read_hosts(&object, is_for_mesh);
        let is_delegate = matches!(hosts.as_deref(), Ok([]));
        let mut requirements = if is_delegate { check_delegate(&object) } else { Ok(()) };
        if let (false, Ok(Some(own)), Some(node)) =
            (is_delegate, &own_namespace, object.field("namespace"))
            && namespace.is_some_and(|document| document != own)
        {
            let reason = "is not the namespace of the document; only a delegate can have another";
            requirements = Err(node.invalid(reason));
        }
        let of_document = naming;
        let naming = &*of_document.within(node.json);
        let namespace = naming.namespace.as_deref();
        // Gateways with an error may be any.
        let unknown = [String::new()];
        let gateways_or_any = known.unwrap_or(&unknown);
        let scope = Scope { namespace, proxy, gateways: gateways_or_any, is_delegate };
        let lists = ROUTES.map(|name| object.field(name));
        let is_empty = |list: &Option<Node<'_>>| list.as_ref().is_none_or(Node::is_empty_list);
        let has_routes = if lists.iter().all(is_empty) {
            Err(node.error("must have one of http, tls, tcp"))
        } else {
            Ok(())
        };
        let http = read_routes(&object, place, naming, &scope);
        let tls = object.elements("tls").and_then(|nodes| {
            let hosts = hosts.as_deref().ok().map(HostPatterns::new);
            all(nodes.iter().enumerate().map(|(index, node)| {
                TlsRoute::read(
                    node,
                    &format!("{place}.tls[{index}]"),
                    hosts.as_ref(),
                    naming,
                    &scope,
                )
            }))
        });
        if let Some(node) = object.field("tls") {
            let left_to = report::Kind::LeftToFilter(Filter::Sni);
            node.notice_to(Filter::Router, left_to, "is left to the sni filter");
        }
        let tcp = object.optional("tcp", |node| {
            let reason = "is left to Envoy, set it in Envoy's listeners";
            node.notice_to(Filter::Router, report::Kind::LeftToEnvoy, reason);
            node.elements()
        });
        let exports = object.optional("exportTo", |node| {
            if !is_delegate {
                node.notice(report::Kind::NotApplicable, NOT_EXPORTED);
            }
            node.strings()
        });
        name?;
        own_namespace?;
        requirements?;
        has_routes?;
        tcp?;
        exports?;
        let gateways = gateways?.unwrap_or_default();
        let mesh = [MESH.to_owned()];
        let bound_to = if gateways.is_empty() { &mesh[..] } else { &gateways };
        // Without proxy.gateways the virtual service applies, because it is attached to this proxy.
        let is_for_this_proxy = proxy.serves(bound_to).unwrap_or(true);
        let mut http = http?;
        let delegations = std::mem::take(&mut http.delegations);
        let mut service = Self {
            hosts: hosts?,
            rules: Vec::new(),
            tls: tls?.into_iter().flatten().collect(),
            is_for_this_proxy,
            left_out: Vec::new(),
            delegations: (!delegations.is_empty()).then(|| Box::new((delegations, gateways))),
            is_used: false,
            has_full_names: false,
        };
        service.set_rules(http, place);
        Ok(service)
    }

    /// A virtual service for hosts of the Gateway API, with the rules of their routes.
    pub fn of_gateway_api(hosts: Vec<String>, rules: Vec<Arc<Rule>>) -> Self {
        Self {
            hosts,
            rules,
            tls: Vec::new(),
            is_for_this_proxy: true,
            left_out: Vec::new(),
            delegations: None,
            is_used: false,
            has_full_names: true,
        }
    }

    /// Returns the domain of the virtual host for one of its hosts: the full name, or an IPv6
    /// address in brackets.
    pub fn domain(&self, host: &str, namespace: Option<&str>) -> String {
        match host.parse::<std::net::Ipv6Addr>() {
            Ok(_) => format!("[{host}]"),
            Err(_) if self.has_full_names => host.to_owned(),
            Err(_) => host_name::qualify(host, namespace),
        }
    }

    /// Sets the rules. If none of them applies to this proxy, the whole virtual service at `place`
    /// is left out, unless rules of delegates follow.
    #[inline(never)]
    pub fn set_rules(&mut self, found: RouteRules, place: Place) {
        let RouteRules { rules, left_out, .. } = found;
        let has_http = !rules.is_empty() || !left_out.is_empty();
        let is_left_out = has_http && (rules.is_empty() || !self.is_for_this_proxy);
        let is_whole = self.delegations.is_none();
        self.left_out = if is_left_out && is_whole { vec![place] } else { left_out };
        self.rules = rules;
    }
}

/// Checks what a virtual service without hosts must not have.
fn check_delegate(object: &Object<'_>) -> Result<(), Reported> {
    all(["gateways", "tls", "tcp"].into_iter().map(|name| match object.field(name) {
        Some(field) if !field.is_empty_list() => Err(field.error("requires hosts")),
        _ => Ok(()),
    }))
    .map(|_: Vec<()>| ())
}

fn read_hosts(object: &Object<'_>, is_for_mesh: bool) -> Result<Vec<String>, Reported> {
    let mut seen = NameSet::default();
    object.list_with("hosts", |node| {
        let host = node.string()?.to_ascii_lowercase();
        if host == "*" && is_for_mesh {
            let reason = "is not allowed in the mesh; bind it to a gateway with gateways";
            return Err(node.invalid(reason));
        }
        check_host(&host).map_err(|reason| node.invalid(reason))?;
        if !seen.insert(host.as_bytes()) {
            return Err(node.invalid("occurs twice"));
        }
        Ok(host)
    })
}

/// Checks a host: a name, `*SUFFIX`, `*`, an IP address or `PREFIX*`, which Envoy supports.
fn check_host(host: &str) -> Result<(), host_name::InvalidHostName> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    match host.strip_suffix('*') {
        Some(prefix) if !prefix.is_empty() && !prefix.contains('*') => {
            host_name::check(prefix.strip_suffix(['.', '-']).unwrap_or(prefix))
        }
        _ => host_name::check(host),
    }
}

fn read_routes(
    object: &Object<'_>,
    service: Place,
    naming: &Naming,
    scope: &Scope<'_>,
) -> Result<RouteRules, Reported> {
    let mut found = RouteRules::default();
    // Other filters only check the routes. They keep one rule, as a sign that one applies to this
    // proxy.
    let is_kept = object.node.filters().need(&VirtualService::HTTP_FILTERS);
    let mut catch_all: Option<Place> = None;
    let mut failure = None;
    for (index, node) in object.elements("http")?.iter().enumerate() {
        let place = service.route(index);
        if let Some(earlier) = catch_all {
            let reason = "is never reached, because an earlier route matches every request";
            node.notice_with(report::Kind::NeverReached, reason, earlier.to_string());
        }
        let before = found.rules.len();
        let places = Places { route: place, matches: None };
        if let Err(reported) = HttpRoute::read(node, places, naming, scope, &mut found) {
            failure = Some(reported);
        }
        if node.json.field("delegate").is_some_and(|own| *own != Json::Null) {
            found.delegations.push(Delegation { route: index, rules_before: before });
        }
        let own = found.rules.get(before..).unwrap_or_default();
        if catch_all.is_none() && own.iter().any(|rule| rule.conditions.is_catch_all()) {
            catch_all = Some(place);
        }
        if !is_kept {
            found.rules.truncate(1);
        }
    }
    failure.map_or(Ok(found), Err)
}
