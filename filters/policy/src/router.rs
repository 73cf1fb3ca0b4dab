//! The router: which cluster a request goes to and what is changed on the way, as the virtual
//! services of the document say. First the virtual host by the authority, then the first route that
//! matches, then a destination by weight.

use std::borrow::Cow;
use std::rc::Rc;

use crate::cors::{Cors, CorsDecision};
use crate::decision::{Decision, Outcome, Reply, ResponsePlan};
use crate::destination::{ClusterTemplate, Naming};
use crate::header::{CLUSTER, FixedEdit, HeaderEdit};
use crate::host_name;
use crate::http_match::MatchedPath;
use crate::http_route::{Action, HttpRoute};
use crate::json::Json;
use crate::node::Node;
use crate::proxy::{NodeMetadata, Proxy};
use crate::report::{Finding, Rejection, Report};
use crate::request::{Draws, Request};
use crate::sampling::Sampling;
use crate::timeouts::ROUTER_HEADERS;
use crate::virtual_hosts::VirtualHosts;
use crate::virtual_service::VirtualService;

/// The header in which Envoy's own rewrites keep the path that the client asked for.
const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// The compiled virtual services of a document.
#[derive(Debug, Default)]
pub struct Router {
    virtual_hosts: VirtualHosts,
    routes: Vec<Vec<Rc<HttpRoute>>>,
    sampling: Sampling,
}

impl Router {
    /// Compiles a document for the proxy that `metadata` describes. Along with the router come
    /// notices: what is accepted and left to others.
    ///
    /// # Errors
    /// A document with any error is rejected as a whole, with all of its errors.
    pub fn from_json(
        document: &[u8],
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let report = Report::default();
        let mut router = Self::default();
        let json = Json::parse(document).map_err(|reason| Rejection {
            errors: vec![Finding { path: String::new(), reason }],
        })?;
        router.read(&Node::root(&json, &report), metadata);
        let notices = report.finish(&json)?;
        Ok((router, notices))
    }

    fn read(&mut self, node: &Node<'_>, metadata: &dyn NodeMetadata) {
        let Some(mut object) = node.object() else { return };
        let proxy = Proxy::read(object.field("proxy").as_ref(), metadata);
        let namespace = object.field("namespace").and_then(|node| {
            let namespace = node.string().filter(|namespace| host_name::is_label(namespace));
            if namespace.is_none() {
                node.invalid("is not a namespace");
            }
            namespace.map(str::to_owned)
        });
        let template = object.field("clusterName").map(|node| ClusterTemplate::read(&node));
        let naming = Naming { namespace, template: template.unwrap_or_default() };
        let sampling = object.field("sampling").and_then(|node| Sampling::read(&node));
        self.sampling = sampling.unwrap_or_default();
        let nodes = object.required_list("virtualServices");
        let services: Vec<_> = nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| {
                let path = format!("virtualServices[{index}]");
                VirtualService::read(node, &path, &naming, &proxy)
            })
            .filter(|service| service.is_for_this_proxy)
            .collect();
        self.add_virtual_hosts(services, naming.namespace.as_deref());
    }

    /// Enters the hosts of all services. Routes of several services for one host stand one after
    /// another in document order, as Istio merges them for a gateway.
    fn add_virtual_hosts(&mut self, services: Vec<VirtualService>, namespace: Option<&str>) {
        let mut aliases = Vec::new();
        for service in &services {
            for host in &service.hosts {
                let domain = match host.parse::<std::net::Ipv6Addr>() {
                    Ok(_) => format!("[{host}]"),
                    Err(_) => host.clone(),
                };
                let full_name = host_name::qualify(&domain, namespace);
                let index = self.virtual_hosts.entry(&full_name, self.routes.len());
                if index == self.routes.len() {
                    self.routes.push(Vec::new());
                }
                if let Some(routes) = self.routes.get_mut(index) {
                    routes.extend(service.routes.iter().cloned());
                }
                let others = host_name::aliases(&full_name, namespace);
                aliases.extend(others.into_iter().map(|alias| (alias, index)));
            }
        }
        // Last, so that a host that is written out wins over another's short name.
        for (alias, index) in aliases {
            self.virtual_hosts.entry(&alias, index);
        }
    }

    /// Decides about a request. `draws` is asked for a weighted choice that is not sticky.
    pub fn route<'a>(&'a self, request: &Request<'a>, draws: &mut dyn Draws) -> Decision<'a> {
        let Some(routes) =
            self.virtual_hosts.find(request.authority).and_then(|index| self.routes.get(index))
        else {
            return not_found(Outcome::NoVirtualHost, "no virtual host");
        };
        let found = routes.iter().find_map(|route| Some((route, route.matches(request)?)));
        let Some((route, (note, matched))) = found else {
            return not_found(Outcome::NoRoute, "no route");
        };
        let cors =
            route.cors.as_ref().map_or(CorsDecision::Forward, |cors| Cors::decide(cors, request));
        let allowed_origin = match cors {
            CorsDecision::Preflight(headers) => {
                let reply = Reply { status: 200, headers, body: &[] };
                return Decision {
                    outcome: Outcome::Preflight,
                    note,
                    edits: Vec::new(),
                    reply: Some(reply),
                    response: None,
                };
            }
            CorsDecision::Allowed(origin) => Some(origin),
            CorsDecision::Forward => None,
        };
        let (outcome, reply, target, edits) = match &route.action {
            Action::Redirect(redirect, _) => {
                let location = Cow::Owned(redirect.location(request, matched));
                let headers = vec![("location", location)];
                let reply = Reply { status: redirect.status, headers, body: &[] };
                (Outcome::Redirected, Some(reply), 0, Vec::new())
            }
            Action::Respond(response, _) => {
                let reply =
                    Reply { status: response.status, headers: Vec::new(), body: &response.body };
                (Outcome::Responded, Some(reply), 0, Vec::new())
            }
            Action::Forward(split) => {
                let user = self.sampling.user(request);
                let Some((index, target)) = split.pick(user, draws) else {
                    return not_found(Outcome::NoRoute, "no destination");
                };
                let edits = forward_edits(request, route, matched, &target.request);
                (Outcome::Forwarded, None, index, edits)
            }
        };
        let response = ResponsePlan::new(route, target, allowed_origin);
        Decision { outcome, note, edits, reply, response }
    }
}

fn not_found(outcome: Outcome, note: &str) -> Decision<'_> {
    let reply = Reply { status: 404, headers: Vec::new(), body: &[] };
    Decision { outcome, note, edits: Vec::new(), reply: Some(reply), response: None }
}

/// The edits of a request that is forwarded: first whatever the client sent of the headers by which
/// the router steers Envoy is gone, then come the route's.
fn forward_edits<'a>(
    request: &Request<'a>,
    route: &'a HttpRoute,
    matched: MatchedPath,
    fixed: &'a [FixedEdit],
) -> Vec<HeaderEdit<'a>> {
    let mut edits = Vec::with_capacity(fixed.len() + 2);
    let sent = request.headers().iter().map(|(name, _)| name.as_str());
    let steering = sent.filter(|name| *name == CLUSTER || ROUTER_HEADERS.contains(name));
    for name in steering {
        let removal = HeaderEdit::remove(name);
        if !edits.contains(&removal) {
            edits.push(removal);
        }
    }
    // Computed from the path that arrived; header operations cannot touch it.
    if let Some(target) = route.rewrite.target(request.path_and_query, matched) {
        edits.push(HeaderEdit::set(ORIGINAL_PATH, request.path_and_query));
        edits.push(HeaderEdit::set(":path", target));
    }
    edits.extend(fixed.iter().map(FixedEdit::as_edit));
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::NoMetadata;
    use crate::testing::{FixedAttributes, FixedDraw, pairs};

    const DOCUMENT: &str = r#"{
        "namespace": "prod",
        "clusterName": "{host}[-{subset}]",
        "virtualServices": [
            {"hosts": ["reviews", "shop.com"], "http": [
                {"match": [{"uri": {"prefix": "/old"}}], "rewrite": {"uri": "/new"}, "timeout": "2s",
                 "headers": {"response": {"set": {"x-a": "1"}}},
                 "route": [{"destination": {"host": "reviews", "subset": "v1"}}]},
                {"name": "named", "match": [{"uri": {"exact": "/gone"}}],
                 "directResponse": {"status": 410}}]},
            {"hosts": ["shop.com", "reviews.prod.svc"], "http": [
                {"route": [{"destination": {"host": "other.com"}, "weight": 1},
                           {"destination": {"host": "third.com"}, "weight": 1}]}]}]}"#;

    /// The decision in one line: the note, then the reply's status or the edits.
    fn decide(headers: &[(&str, &str)]) -> String {
        let (router, _) = Router::from_json(DOCUMENT.as_bytes(), &NoMetadata).unwrap();
        let headers = pairs(headers);
        let attributes = FixedAttributes::default();
        let request = Request::new(&headers, &attributes);
        let decision = router.route(&request, &mut FixedDraw(1));
        let mut text = decision.note.to_owned();
        for edit in &decision.edits {
            let value = String::from_utf8_lossy(&edit.value);
            text.push_str(&format!(" {:?} {}={value}", edit.operation, edit.name));
        }
        let reply = decision.reply.map(|reply| format!(" reply {}", reply.status));
        text + &reply.unwrap_or_default()
    }

    #[test]
    fn what_clients_send_of_the_steering_headers_goes_first() {
        assert_eq!(
            decide(&[
                (":authority", "reviews.prod:9080"),
                (":path", "/old/x?y"),
                (CLUSTER, "evil"),
                (CLUSTER, "evil"),
                ("x-envoy-max-retries", "9"),
            ]),
            "virtualServices[0].http[0].match[0] Remove x-sluice-cluster= \
             Remove x-envoy-max-retries= Set x-envoy-original-path=/old/x?y Set :path=/new/x?y \
             Set x-envoy-upstream-rq-timeout-ms=2000 \
             Set x-sluice-cluster=reviews.prod.svc.cluster.local-v1"
        );
    }

    #[test]
    fn services_for_one_host_stand_one_after_another() {
        let path = |host, path| decide(&[(":authority", host), (":path", path)]);
        assert_eq!(path("shop.com", "/gone"), "named reply 410");
        assert_eq!(
            path("shop.com", "/"),
            "virtualServices[1].http[0] Set x-sluice-cluster=third.com"
        );
        // Written out in the second service, so not the short name of the first.
        assert_eq!(
            path("reviews.prod.svc", "/old"),
            "virtualServices[1].http[0] Set x-sluice-cluster=third.com"
        );
        assert_eq!(path("reviews", "/"), "no route reply 404");
        assert_eq!(path("nobody.com", "/"), "no virtual host reply 404");
    }

    #[test]
    fn documents_are_refused_with_every_error() {
        let refuse = |text: &[u8]| Router::from_json(text, &NoMetadata).unwrap_err().to_string();
        assert_eq!(refuse(b""), "configuration: is empty");
        assert_eq!(refuse(b"{}"), "virtualServices: is required");
        assert_eq!(
            refuse(
                br#"{"virtualServices": [{"hosts": ["*"], "http": [{"route": [
                    {"destination": {"host": "a"}, "weight": -1}]}]}], "mode": "shadow"}"#
            ),
            "virtualServices[0].hosts[0]: \"*\" is not allowed in the mesh, bind it to a gateway with \
             gateways\n\
             virtualServices[0].http[0].route[0].destination.port: is required: clusterName has {port} \
             and there is no service registry to ask\n\
             virtualServices[0].http[0].route[0].weight: -1 is negative\n\
             mode: unknown field, known are proxy, namespace, clusterName, sampling, virtualServices"
        );
    }
}
