//! The router: picks the cluster of a request, and what is changed on the way, as the virtual
//! services of the document say. Picks a destination of the matching route by weight.

pub mod decision;

use std::borrow::Cow;
use std::rc::Rc;

use crate::bytes;
use crate::document::filter::Filter;
use crate::request::header_map::NameFilter;
use crate::request::{Draws, Request};
use crate::router::decision::{Decision, Outcome, Reply, ResponsePlan};
use crate::spec::cors::CorsDecision;
use crate::spec::document::Document;
use crate::spec::http_match::MatchedPath;
use crate::spec::http_route::{Action, HttpRoute};
use crate::spec::policy::Policy;
use crate::spec::sampling::Sampling;
use crate::spec::timeouts::ROUTER_HEADERS;
use crate::spec::virtual_services::{Match, NoMatch, VirtualServices};
use crate::value::header::{CLUSTER, HeaderEdit};

/// The header in which Envoy's own rewrites keep the path of the client.
const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// The router's part of a document.
#[derive(Debug, Default)]
pub struct Router {
    services: Rc<VirtualServices>,
    sampling: Sampling,
    passes_unmatched_hosts: bool,
}

impl Policy for Router {
    const FILTER: Filter = Filter::Router;

    fn new(document: &Document) -> Self {
        Self {
            services: Rc::clone(&document.services),
            sampling: document.sampling.clone(),
            passes_unmatched_hosts: document.passes_unmatched_hosts,
        }
    }
}

impl Router {
    /// Decides about a request. `draws` is asked for a weighted choice that is not sticky.
    #[inline]
    pub fn route<'a, 'r: 'a>(
        &'a self,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Decision<'a> {
        let Match { route, name, path } = match self.services.find(request) {
            Ok(matched) => matched,
            Err(NoMatch::Route) => return Decision::not_found(Outcome::NoRoute, "no route"),
            Err(NoMatch::VirtualHost) if self.passes_unmatched_hosts => return pass(request),
            Err(NoMatch::VirtualHost) => {
                return Decision::not_found(Outcome::NoVirtualHost, NO_VIRTUAL_HOST);
            }
        };
        let cors = route.cors.as_ref().map(|cors| cors.decide(request));
        let allowed_origin = match cors {
            Some(CorsDecision::Preflight(headers)) => {
                let reply = Reply { status: 200, headers, body: &[] };
                return Decision::reply(Outcome::Preflight, name, reply);
            }
            Some(CorsDecision::Allowed(origin)) => Some(origin),
            Some(CorsDecision::Forward) | None => None,
        };
        let (decision, target) = match &route.action {
            Action::Redirect(redirect, _) => {
                let location = Cow::Owned(redirect.location(request, path));
                let headers = vec![("location", location)];
                let reply = Reply { status: redirect.status, headers, body: &[] };
                (Decision::reply(Outcome::Redirected, name, reply), 0)
            }
            Action::Respond(response, _) => {
                let (status, body) = (response.status, &*response.body);
                let reply = Reply { status, headers: Vec::new(), body };
                (Decision::reply(Outcome::Responded, name, reply), 0)
            }
            Action::Forward(split) => {
                let user = self.sampling.user(request);
                let Some((index, target)) = split.pick(user, draws) else {
                    return Decision::not_found(Outcome::NoRoute, "no destination");
                };
                let edits = forward_edits(request, route, path);
                (Decision::forward(Outcome::Forwarded, name, edits, &target.request), index)
            }
        };
        Decision { response: ResponsePlan::new(route, target, allowed_origin), ..decision }
    }
}

/// The note of requests for a host that no virtual service has.
const NO_VIRTUAL_HOST: &str = "no virtual host";

/// Leaves a request to Envoy's own routes. Its client must not steer these either. The headers of
/// Envoy's router stay: this filter does not decide about them here.
fn pass<'a>(request: &Request<'a>) -> Decision<'a> {
    let sent = request.first_header(CLUSTER).is_some();
    let edits = if sent { vec![HeaderEdit::remove(CLUSTER)] } else { Vec::new() };
    Decision::forward(Outcome::Passed, NO_VIRTUAL_HOST, edits, &[])
}

/// The headers by which the router steers Envoy.
const STEERING: NameFilter = {
    let [timeout, per_try, retries, retry_on, retry_grpc_on, codes] = ROUTER_HEADERS;
    let filter = NameFilter::NONE.with(CLUSTER.as_bytes());
    let filter = filter.with(timeout.as_bytes()).with(per_try.as_bytes()).with(retries.as_bytes());
    filter.with(retry_on.as_bytes()).with(retry_grpc_on.as_bytes()).with(codes.as_bytes())
};

/// The edits of a request that is forwarded, before those of its destination. First, the headers by
/// which the router steers Envoy are removed if the client sent them.
#[inline]
fn forward_edits<'a, 'r: 'a>(
    request: &Request<'r>,
    route: &'a HttpRoute,
    matched: MatchedPath,
) -> Vec<HeaderEdit<'a>> {
    let mut edits = Vec::new();
    if STEERING.may_meet(request.names()) {
        for (sent, _) in request.headers().iter().filter(|(sent, _)| STEERING.may_have(sent)) {
            let mut steering = ROUTER_HEADERS.iter().chain([&CLUSTER]);
            let Some(name) = steering.find(|name| bytes::equal(name.as_bytes(), sent)) else {
                continue;
            };
            let removal = HeaderEdit::remove(name);
            if !edits.contains(&removal) {
                edits.push(removal);
            }
        }
    }
    // Computed from the path that arrived; header operations cannot touch it.
    if let Some(target) = route.rewrite.target(request.path_and_query, matched) {
        edits.push(HeaderEdit::set(ORIGINAL_PATH, request.path_and_query));
        edits.push(HeaderEdit::set(":path", target));
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::proxy::NoMetadata;
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
        let (router, _) = Router::compile(DOCUMENT.as_bytes(), &NoMetadata).unwrap();
        let headers = pairs(headers);
        let attributes = FixedAttributes::default();
        let request = Request::new(&headers, &attributes);
        let decision = router.route(&request, &mut FixedDraw(1));
        let mut text = decision.note.to_owned();
        for edit in decision.edits() {
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
             Add x-sluice-cluster=reviews.prod.svc.cluster.local-v1"
        );
    }

    /// Header names that clients send and Envoy adds to requests.
    const COMMON_NAMES: &str = "\
        :authority :method :path :scheme accept accept-encoding accept-language \
        access-control-request-headers access-control-request-method authorization baggage \
        cache-control connection content-encoding content-language content-length content-type \
        cookie date dnt early-data end-user expect forwarded grpc-accept-encoding grpc-encoding \
        grpc-timeout host if-match if-modified-since if-none-match if-range if-unmodified-since \
        keep-alive last-event-id origin pragma priority proxy-authorization proxy-connection \
        range referer sec-ch-ua sec-ch-ua-arch sec-ch-ua-bitness sec-ch-ua-full-version \
        sec-ch-ua-full-version-list sec-ch-ua-mobile sec-ch-ua-model sec-ch-ua-platform \
        sec-ch-ua-platform-version sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user \
        sec-gpc sec-purpose sec-websocket-extensions sec-websocket-key sec-websocket-protocol \
        sec-websocket-version te traceparent tracestate transfer-encoding upgrade \
        upgrade-insecure-requests user-agent via x-b3-flags x-b3-parentspanid x-b3-sampled \
        x-b3-spanid x-b3-traceid x-csrf-token x-envoy-attempt-count x-envoy-decorator-operation \
        x-envoy-downstream-service-cluster x-envoy-downstream-service-node \
        x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-force-trace \
        x-envoy-hedge-on-per-try-timeout x-envoy-internal x-envoy-ip-tags \
        x-envoy-is-timeout-retry x-envoy-original-dst-host x-envoy-original-host \
        x-envoy-original-path x-envoy-peer-metadata x-envoy-peer-metadata-id \
        x-envoy-retriable-header-names x-envoy-upstream-alt-stat-name \
        x-envoy-upstream-rq-timeout-alt-response x-forwarded-client-cert x-forwarded-for \
        x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-request-id \
        x-requested-with";

    #[test]
    fn few_common_headers_are_taken_for_steering_ones() {
        let taken: Vec<&str> = COMMON_NAMES
            .split_whitespace()
            .filter(|name| STEERING.may_have(name.as_bytes()))
            .collect();
        assert_eq!(
            taken,
            [
                "access-control-request-headers",
                "if-range",
                "proxy-connection",
                "sec-ch-ua-full-version",
                "sec-purpose",
                "sec-websocket-version",
                "x-envoy-expected-rq-timeout-ms",
                "x-envoy-retriable-header-names",
            ]
        );
        // Their full names are compared too, so they are not removed.
        for name in taken {
            let headers = [(":authority", "shop.com"), (":path", "/"), (name, "1")];
            assert_eq!(
                decide(&headers),
                "virtualServices[1].http[0] Add x-sluice-cluster=third.com"
            );
        }
    }

    #[test]
    fn services_for_one_host_stand_one_after_another() {
        let path = |host, path| decide(&[(":authority", host), (":path", path)]);
        assert_eq!(path("shop.com", "/gone"), "named reply 410");
        assert_eq!(
            path("shop.com", "/"),
            "virtualServices[1].http[0] Add x-sluice-cluster=third.com"
        );
        // Written out in the second service, so not the short name of the first.
        assert_eq!(
            path("reviews.prod.svc", "/old"),
            "virtualServices[1].http[0] Add x-sluice-cluster=third.com"
        );
        assert_eq!(path("reviews", "/"), "no route reply 404");
        assert_eq!(path("nobody.com", "/"), "no virtual host reply 404");
    }

    #[test]
    fn hosts_of_no_virtual_service_can_pass() {
        let text = DOCUMENT.replacen('{', r#"{"unmatchedHosts": "pass", "#, 1);
        let (router, _) = Router::compile(text.as_bytes(), &NoMetadata).unwrap();
        let decide = |host: &str, more: &[(&str, &str)]| {
            let headers = [&[(":authority", host), (":path", "/")], more].concat();
            let headers = pairs(&headers);
            let attributes = FixedAttributes::default();
            let decision = router.route(&Request::new(&headers, &attributes), &mut FixedDraw(1));
            let edits: Vec<_> =
                decision.edits().map(|edit| (edit.operation, edit.name.to_string())).collect();
            (decision.outcome, edits, decision.reply.map(|reply| reply.status))
        };
        assert_eq!(decide("nobody.com", &[]), (Outcome::Passed, vec![], None));
        // Nobody outside names the cluster.
        let removal = vec![(crate::value::header::HeaderOperation::Remove, CLUSTER.to_owned())];
        let sent = [(CLUSTER, "evil"), (CLUSTER, "evil"), ("x-envoy-max-retries", "9")];
        assert_eq!(decide("nobody.com", &sent), (Outcome::Passed, removal, None));
        // A host that has routes, none of which matches, is not one of those.
        assert_eq!(decide("reviews", &[]), (Outcome::NoRoute, vec![], Some(404)));
    }

    #[test]
    fn documents_are_refused_with_every_error() {
        let refuse = |text: &[u8]| Router::compile(text, &NoMetadata).unwrap_err().to_string();
        assert_eq!(refuse(b""), "configuration: is empty");
        assert_eq!(refuse(b"{}"), "virtualServices: is required");
        assert_eq!(
            refuse(
                br#"{"virtualServices": [{"hosts": ["*"], "http": [{"route": [
                    {"destination": {"host": "a"}, "weight": -1}]}]}], "mode": "shadow"}"#
            ),
            "virtualServices[0].hosts[0]: \"*\" is not allowed in the mesh; bind it to a gateway with \
             gateways\n\
             virtualServices[0].http[0].route[0].destination.port: is required: clusterName has {port} \
             and there is no service registry to ask\n\
             virtualServices[0].http[0].route[0].weight: -1 is negative\n\
             mode: unknown field, the fields here are namespace, clusterName, proxy, virtualServices, \
             destinationRules, serviceEntries, outboundTrafficPolicy, unmatchedHosts, sampling, \
             faults, mirroring, sni, egress"
        );
    }
}
