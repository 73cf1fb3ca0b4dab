//! `VirtualService`: the routes of some hosts.

use std::rc::Rc;

use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::spec::destination::Naming;
use crate::spec::http_match::Scope;
use crate::spec::http_route::HttpRoute;
use crate::spec::proxy::{MESH, Proxy, read_gateways};
use crate::spec::tls_route::TlsRoute;
use crate::value::host_name;

/// A virtual service, compiled.
#[derive(Debug)]
pub struct VirtualService {
    /// The hosts, in lower case
    pub hosts: Vec<String>,
    /// The routes that are for this proxy, in order
    pub routes: Vec<Rc<HttpRoute>>,
    /// The routes of TLS connections that are for this proxy, in order
    pub tls: Vec<TlsRoute>,
    /// Whether it is bound to a gateway that this proxy serves
    pub is_for_this_proxy: bool,
}

impl VirtualService {
    /// Reads the `spec` of a VirtualService, which stands at `path`.
    pub fn read(node: &Node<'_>, path: &str, naming: &Naming, proxy: &Proxy<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let namespace = naming.namespace.as_deref();
        let gateways =
            object.field("gateways").map_or(Vec::new(), |node| read_gateways(&node, namespace));
        let is_for_mesh = gateways.is_empty() || gateways.iter().any(|gateway| gateway == MESH);
        let hosts = read_hosts(&mut object, is_for_mesh);
        let scope = Scope {
            namespace,
            proxy,
            is_for_gateway: gateways.iter().any(|gateway| gateway != MESH),
        };
        let http = object.field("http");
        let [tls, tcp] = ["tls", "tcp"].map(|name| object.field(name));
        let is_empty = |node: &Option<Node<'_>>| node.as_ref().is_none_or(Node::is_empty_list);
        if [&http, &tls, &tcp].into_iter().all(is_empty) {
            node.error("has none of http, tls and tcp");
        }
        let http = http.map_or(Vec::new(), |node| node.elements());
        let routes = read_routes(&http, path, naming, &scope);
        for node in tls.iter().chain(&tcp) {
            node.notice_to(Filter::Router, "is not carried out by this filter");
        }
        let tls = tls.map_or(Vec::new(), |node| node.elements());
        let read_tls = |(index, node): (usize, &Node<'_>)| {
            TlsRoute::read(node, &format!("{path}.tls[{index}]"), &hosts, naming, &scope)
        };
        let tls = tls.iter().enumerate().filter_map(read_tls).collect();
        if let Some(node) = object.field("exportTo") {
            node.strings();
            node.notice("is of no effect in a filter, only attached documents apply");
        }
        let mesh = [MESH.to_owned()];
        let bound_to = if gateways.is_empty() { &mesh[..] } else { &gateways };
        // A document without proxy.gateways does not know better than whoever attached it.
        let is_for_this_proxy = proxy.serves(bound_to).unwrap_or(true);
        Some(Self { hosts, routes, tls, is_for_this_proxy })
    }
}

fn read_hosts(object: &mut Object<'_>, is_for_mesh: bool) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for node in object.required_list("hosts") {
        let Some(text) = node.string() else { continue };
        let host = text.to_ascii_lowercase();
        if host == "*" && is_for_mesh {
            node.invalid("is not allowed in the mesh, bind it to a gateway with gateways");
        } else if let Err(reason) = check_host(&host) {
            node.invalid(reason);
        } else if hosts.contains(&host) {
            node.invalid("is given twice");
        } else {
            hosts.push(host);
        }
    }
    hosts
}

/// Checks a host: a name, `*SUFFIX`, `*`, an IP address or, as Envoy has it, `PREFIX*`.
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
    nodes: &[Node<'_>],
    service: &str,
    naming: &Naming,
    scope: &Scope<'_>,
) -> Vec<Rc<HttpRoute>> {
    let mut routes = Vec::new();
    let mut catch_all: Option<String> = None;
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{service}.http[{index}]");
        if let Some(earlier) = &catch_all {
            let text = format!("is never reached, {earlier} matches every request");
            node.notice(text);
        }
        let Some(route) = HttpRoute::read(node, &path, naming, scope) else { continue };
        if catch_all.is_none() && route.is_catch_all() {
            catch_all = Some(path);
        }
        routes.push(route);
    }
    routes
}
