//! Tests of the router with whole documents.

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

/// The decision in one line: the note, the edits, then the status of the reply.
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
fn steering_headers_from_clients_are_removed_first() {
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

/// Header names of requests, from clients and from Envoy.
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
fn the_steering_filter_has_few_false_positives() {
    let false_positives: Vec<&str> =
        COMMON_NAMES.split_whitespace().filter(|name| STEERING.may_have(name.as_bytes())).collect();
    assert_eq!(
        false_positives,
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
    // These headers are not removed, because the full names are compared too.
    for name in false_positives {
        let headers = [(":authority", "shop.com"), (":path", "/"), (name, "1")];
        assert_eq!(decide(&headers), "virtualServices[1].http[0] Add x-sluice-cluster=third.com");
    }
}

#[test]
fn virtual_services_of_one_host_are_tried_in_order() {
    let path = |host, path| decide(&[(":authority", host), (":path", path)]);
    assert_eq!(path("shop.com", "/gone"), "named reply 410");
    assert_eq!(path("shop.com", "/"), "virtualServices[1].http[0] Add x-sluice-cluster=third.com");
    // The second service lists this host explicitly, so it is not an alias of the first
    // service.
    assert_eq!(
        path("reviews.prod.svc", "/old"),
        "virtualServices[1].http[0] Add x-sluice-cluster=third.com"
    );
    assert_eq!(path("reviews", "/"), "no route reply 404");
    assert_eq!(path("nobody.com", "/"), "no virtual host reply 404");
}

#[test]
fn unmatched_hosts_can_pass() {
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
    // Clients cannot select the cluster.
    let removal = vec![(crate::value::header::HeaderOperation::Remove, CLUSTER.to_owned())];
    let sent = [(CLUSTER, "evil"), (CLUSTER, "evil"), ("x-envoy-max-retries", "9")];
    assert_eq!(decide("nobody.com", &sent), (Outcome::Passed, removal, None));
    // A host that has routes does not pass, even if none of its routes matches.
    assert_eq!(decide("reviews", &[]), (Outcome::NoRoute, vec![], Some(404)));
}

#[test]
fn hosts_without_a_rule_for_the_port_are_unmatched() {
    let document = |rules: &str| {
        format!(
            r#"{{"unmatchedHosts": "pass", "clusterName": "{{host}}", "virtualServices": [
            {{"hosts": ["a"], "http": [{rules}]}}]}}"#
        )
    };
    let rule = |condition: &str| {
        format!(r#"{{"match": [{condition}], "directResponse": {{"status": 201}}}}"#)
    };
    let decide = |rules: &str, port| {
        let (router, _) = Router::compile(document(rules).as_bytes(), &NoMetadata).unwrap();
        let headers = pairs(&[(":authority", "a"), (":path", "/")]);
        let attributes = FixedAttributes { port, ..FixedAttributes::default() };
        router.route(&Request::new(&headers, &attributes), &mut FixedDraw(1)).outcome
    };
    let [of_80, of_81] =
        [80, 81].map(|port| rule(&format!(r#"{{"port": {port}, "uri": {{"prefix": "/never"}}}}"#)));
    let both = format!("{of_80}, {of_81}");
    assert_eq!(decide(&both, Some(80)), Outcome::NoRoute);
    assert_eq!(decide(&both, Some(81)), Outcome::NoRoute);
    assert_eq!(decide(&both, Some(82)), Outcome::Passed);
    assert_eq!(decide(&both, None), Outcome::NoRoute);
    let any = rule(r#"{"uri": {"prefix": "/never"}}"#);
    assert_eq!(decide(&format!("{of_80}, {any}"), Some(82)), Outcome::NoRoute);
}

#[test]
fn clusters_may_have_the_port_of_the_request() {
    let document = br#"{"virtualServices": [{"hosts": ["a"], "http": [
        {"headers": {"request": {"set": {"x": "1"}}},
         "route": [{"destination": {"host": "b"}}]}]}]}"#;
    let (router, _) = Router::compile(document, &NoMetadata).unwrap();
    let decide = |port| {
        let headers = pairs(&[(":authority", "a"), (":path", "/"), (CLUSTER, "evil")]);
        let attributes = FixedAttributes { port, ..FixedAttributes::default() };
        let request = Request::new(&headers, &attributes);
        let decision = router.route(&request, &mut FixedDraw(0));
        let edits = decision
            .edits()
            .map(|edit| format!("{:?} {}", edit.operation, String::from_utf8_lossy(&edit.value)));
        edits.collect::<Vec<_>>()
    };
    assert_eq!(decide(Some(9080)), ["Remove ", "Add outbound|9080||b", "Set 1"]);
    assert_eq!(decide(None), ["Remove ", "Add outbound|{port}||b", "Set 1"], "no such cluster");
}

#[test]
fn documents_are_rejected_with_all_errors() {
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
         virtualServices[0].http[0].route[0].weight: -1 is negative\n\
         mode: unknown field, the fields here are namespace, clusterName, proxy, virtualServices, \
         httpRoutes, grpcRoutes, destinationRules, serviceEntries, services, outboundTrafficPolicy, unmatchedHosts, \
         shadow, router, sampling, faults, mirroring, metrics, sni, egress, outlier, explain"
    );
}
