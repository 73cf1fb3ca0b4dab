//! Which rules apply to the rendered Envoy, by their gateways, labels and namespaces.

use std::collections::HashMap;

use sluice_policy::document::filter::Filters;
use sluice_policy::document::json::Json;
use sluice_policy::document::node::Node;
use sluice_policy::document::report::Report;
use sluice_policy::spec::destination::Naming;
use sluice_policy::spec::proxy::{MESH, NoMetadata, Proxy, read_gateways, read_labels};

use super::gateway_routes::Reader;
use super::left_out::LeftOut;
use super::part::Part;

/// The kinds of routes of a VirtualService.
pub const KINDS: [&str; 3] = ["http", "tls", "tcp"];

/// The proxy that a document describes.
pub struct Conditions<'a> {
    document: &'a Json<'a>,
    namespace: Option<&'a str>,
    proxy: Option<Part<'a>>,
    /// The gateways of the virtual services that name a delegate, by its namespace and name
    gateways_of_delegates: HashMap<(Option<&'a str>, &'a str), Vec<String>>,
    report: Report,
}

/// The gateways of hosts.
#[derive(Default)]
struct Gateways(HashMap<String, Vec<String>>);

impl Gateways {
    /// The gateways of a host, if those in `own` are other ones. A host that is new has `own`.
    fn others(&mut self, host: String, own: &[String]) -> Option<&[String]> {
        let known = self.0.entry(host).or_insert_with(|| own.to_vec());
        (!known.iter().any(|other| own.contains(other))).then_some(known)
    }
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Applies,
    /// By a setting of the document
    IsForOthers,
    /// Because the document does not describe the proxy. The path and the reason
    IsUnknown(String, String),
}

impl<'a> Conditions<'a> {
    /// The proxy that a document without errors describes.
    pub fn new(json: &'a Json) -> Self {
        let document = Part::root(json);
        let namespace = document.text("namespace");
        let (proxy, report) = (document.field("proxy"), Report::new(Filters::NONE));
        let gateways_of_delegates = HashMap::new();
        let mut own = Self { document: json, namespace, proxy, gateways_of_delegates, report };
        for service in Part::virtual_services(json) {
            for route in service.elements("http") {
                let Some(delegate) = route.field("delegate") else { continue };
                let Some(name) = delegate.text("name") else { continue };
                let key = (delegate.text("namespace").or(namespace), name);
                let gateways = own.bound_to(&service);
                own.gateways_of_delegates.entry(key).or_default().extend(gateways);
            }
        }
        own
    }

    /// The routes of a kind that apply to the proxy.
    pub fn routes(&self, kind: &str) -> Vec<Part<'a>> {
        let services = Part::virtual_services(self.document);
        let services = services.into_iter().filter(|service| self.is_served(service));
        let routes = services.flat_map(|service| {
            let routes = service.elements(kind).into_iter();
            routes.filter(|route| self.has_route(&service, route)).collect::<Vec<_>>()
        });
        routes.collect()
    }

    /// The rules of the HTTPRoutes and GRPCRoutes that apply to the proxy.
    pub fn gateway_rules(&self) -> Vec<Part<'a>> {
        let proxy = self.proxy();
        let namespace = self.namespace.map(str::to_owned);
        let naming = &Naming { namespace, ..Naming::default() };
        let reader = Reader { naming, report: &self.report };
        let is_served = |route: &Part<'a>| {
            let parents = reader.parents(route, &proxy);
            parents.is_some_and(|parents| parents.is_for_this_proxy)
        };
        let routes = Part::gateway_routes(self.document).into_iter();
        routes.filter(is_served).flat_map(|route| route.elements("rules")).collect()
    }

    /// Leaves out hosts that VirtualServices of different gateways have, and routes of the Gateway
    /// API with such hosts. Without `proxy.gateways` the proxy serves all of them, and their routes
    /// would be mixed.
    pub fn leave_out_mixed(&self, left_out: &mut LeftOut) {
        if self.proxy.as_ref().and_then(|proxy| proxy.field("gateways")).is_none() {
            self.leave_out_mixed_services(left_out);
            self.leave_out_mixed_routes(left_out);
        }
    }

    fn leave_out_mixed_services(&self, left_out: &mut LeftOut) {
        let mut known = Gateways::default();
        for service in Part::virtual_services(self.document) {
            let own = self.bound_to(&service);
            for (index, host) in service.texts("hosts").into_iter().enumerate() {
                if let Some(others) = known.others(host.to_owned(), &own) {
                    let reason = format!(
                        "an earlier VirtualService of other gateways has this host too; choose \
                         with --gateway {} or --gateway {}",
                        others.first().map_or(MESH, String::as_str),
                        own.first().map_or(MESH, String::as_str),
                    );
                    left_out.add(&format!("{}.hosts[{index}]", service.path), reason);
                }
            }
        }
    }

    fn leave_out_mixed_routes(&self, left_out: &mut LeftOut) {
        let mut known = Gateways::default();
        for route in Part::gateway_routes(self.document) {
            let own = self.parents(&route);
            let hosts = route.texts("hostnames").into_iter().map(str::to_ascii_lowercase);
            let mut hosts: Vec<_> = hosts.collect();
            hosts.extend(hosts.is_empty().then(|| "*".to_owned()));
            for host in hosts {
                let other = known.others(host, &own).and_then(<[String]>::first);
                if let (Some(other), Some(first)) = (other, own.first()) {
                    let reason = format!(
                        "an earlier route of other gateways has a hostname of this one too; choose \
                         with --gateway {other} or --gateway {first}"
                    );
                    left_out.add(&route.path, reason);
                }
            }
        }
    }

    /// The names of the Gateways that a route is attached to, with namespaces as far as they are
    /// known.
    fn parents(&self, route: &Part<'a>) -> Vec<String> {
        let of_route = route.text("namespace").or(self.namespace);
        let parents = route.elements("parentRefs");
        let parents = parents.iter().filter(|own| own.text("kind") != Some("Service"));
        let name = |parent: &Part<'a>| {
            let namespace = parent.text("namespace").or(of_route);
            let name = parent.text("name").unwrap_or_default();
            namespace.map_or(name.to_owned(), |namespace| format!("{namespace}/{name}"))
        };
        parents.map(name).collect()
    }

    fn has_route(&self, service: &Part<'a>, route: &Part<'a>) -> bool {
        let matches = route.elements("match");
        let applies = |own: &Part<'a>| self.outcome(service, own) == Outcome::Applies;
        matches.is_empty() || matches.iter().any(applies)
    }

    /// Leaves out the matches for which it is not known whether they apply, and those with
    /// conditions on what the rendered Envoy does not know.
    pub fn leave_out_unknown(&self, left_out: &mut LeftOut) {
        for service in Part::virtual_services(self.document) {
            if !self.is_served(&service) {
                continue;
            }
            for route in KINDS.into_iter().flat_map(|kind| service.elements(kind)) {
                for own in route.elements("match") {
                    match self.outcome(&service, &own) {
                        Outcome::IsUnknown(path, reason) => left_out.add(&path, reason),
                        Outcome::Applies => leave_out_others(&own, left_out),
                        Outcome::IsForOthers => {}
                    }
                }
            }
        }
    }

    /// Returns whether the proxy serves one of the gateways of a VirtualService. A delegate that no
    /// other names has none.
    fn is_served(&self, service: &Part<'a>) -> bool {
        let bound_to = self.bound_to(service);
        !bound_to.is_empty() && self.proxy().serves(&bound_to).unwrap_or(true)
    }

    /// The gateways of a VirtualService, complete. A delegate has those of the VirtualServices that
    /// name it.
    fn bound_to(&self, service: &Part<'a>) -> Vec<String> {
        if service.is_of_delegate() {
            let name = service.text("name").unwrap_or_default();
            let key = (service.namespace_of_delegate().or(self.namespace), name);
            return self.gateways_of_delegates.get(&key).cloned().unwrap_or_default();
        }
        let own = service.field("gateways");
        let own = own.map(|own| self.gateways(&own)).unwrap_or_default();
        if own.is_empty() { vec![MESH.to_owned()] } else { own }
    }

    fn gateways(&self, part: &Part<'a>) -> Vec<String> {
        let namespace = part.namespace_of_delegate().or(self.namespace);
        read_gateways(&Node::root(part.json, &self.report), namespace).unwrap_or_default()
    }

    fn proxy(&self) -> Proxy<'static> {
        let read =
            |proxy: &Part<'a>| Proxy::read(&Node::root(proxy.json, &self.report), &NoMetadata).ok();
        self.proxy.as_ref().and_then(read).unwrap_or_else(|| Proxy::new(&NoMetadata))
    }

    /// Returns whether the conditions of a match on the proxy hold. As in Istio, `gateways`
    /// replaces the others.
    fn outcome(&self, service: &Part<'a>, own: &Part<'a>) -> Outcome {
        let proxy = self.proxy();
        let by = |applies| if applies { Outcome::Applies } else { Outcome::IsForOthers };
        let gateways = own.field("gateways").map(|part| (self.gateways(&part), part.path));
        if let Some((gateways, path)) = gateways.filter(|(gateways, _)| !gateways.is_empty()) {
            return match proxy.serves(&gateways) {
                Some(serves) => by(serves),
                None => self.by_binding(service, &gateways, path),
            };
        }
        let has = |name| self.proxy.as_ref().is_some_and(|proxy| proxy.field(name).is_some());
        if let Some(labels) = own.field("sourceLabels") {
            if !has("labels") {
                let reason =
                    "the proxy has no labels, so the match does not apply; set proxy.labels";
                return Outcome::IsUnknown(labels.path, reason.to_owned());
            }
            let wanted = read_labels(&Node::root(labels.json, &self.report)).unwrap_or_default();
            if !proxy.has_labels(&wanted) {
                return Outcome::IsForOthers;
            }
        }
        match (own.field("sourceNamespace"), own.text("sourceNamespace")) {
            (Some(part), Some(_)) if !has("namespace") => {
                let reason = "the proxy has no namespace, so the match does not apply; set \
                              proxy.namespace";
                Outcome::IsUnknown(part.path, reason.to_owned())
            }
            (_, Some(namespace)) => by(proxy.is_in_namespace(namespace)),
            _ => Outcome::Applies,
        }
    }

    /// Without `proxy.gateways`, the proxy is a sidecar if the VirtualService is for the mesh, else
    /// all of its gateways.
    fn by_binding(&self, service: &Part<'a>, gateways: &[String], path: String) -> Outcome {
        let bound_to = self.bound_to(service);
        let is_for_mesh = bound_to.iter().any(|own| own == MESH);
        let applies = gateways.iter().any(|gateway| match is_for_mesh {
            true => gateway == MESH,
            false => bound_to.contains(gateway),
        });
        match gateways.first().filter(|_| !applies) {
            None => Outcome::Applies,
            Some(first) => {
                let reason = format!(
                    "the match is for other proxies than the one rendered; render these with \
                     --gateway {first}, and this one with --gateway {}",
                    bound_to.iter().find(|own| *own == MESH || !is_for_mesh).unwrap_or(first)
                );
                Outcome::IsUnknown(path, reason)
            }
        }
    }
}

/// Leaves out conditions on tokens, and on the address that the client called.
fn leave_out_others(own: &Part<'_>, left_out: &mut LeftOut) {
    for name in ["headers", "withoutHeaders"] {
        let Some(headers) = own.field(name) else { continue };
        let mut names = headers.json.fields().iter().map(|(name, _)| name);
        if names.any(|name| name.starts_with("@request.auth.claims")) {
            let reason = "has a condition on a token, which needs the filter jwt_authn; the \
                          rendered Envoy does not have it";
            left_out.add(&headers.path, reason);
        }
    }
    if let Some(subnets) = own.field("destinationSubnets") {
        let reason = "clients call the address of the listener, so these are never matched";
        left_out.add(&subnets.path, reason);
    }
}
