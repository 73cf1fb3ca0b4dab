#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::collect::{Collected, collect};
use crate::inputs::Input;
use crate::source::Source;
use crate::yaml;

use hostname::includes;

/// The route's hosts in the document for a gateway, or `None` if the document does not have it,
/// and the reasons why it is not attached.
fn attached(
    gateway: &str,
    route: &str,
    port: Option<u16>,
) -> (Option<Option<Vec<String>>>, Vec<String>) {
    let collected = collect_files(gateway, route, port);
    let routes = collected.bundles.iter().flat_map(|bundle| bundle.document.list("httpRoutes"));
    let hosts = routes.map(|route| {
        route.field("hostnames").map(|names| {
            names.elements().iter().filter_map(Tree::as_str).map(str::to_owned).collect()
        })
    });
    let reasons = collected.notices.into_iter().map(|finding| finding.reason).collect();
    (hosts.collect::<Vec<_>>().pop(), reasons)
}

/// What the command makes of a Gateway with listeners, and a route.
fn collect_files(gateway: &str, route: &str, port: Option<u16>) -> Collected {
    let text = format!(
        "apiVersion: v1\n\
         kind: Namespace\n\
         metadata: {{name: shop, labels: {{team: red}}}}\n\
         ---\n\
         apiVersion: gateway.networking.k8s.io/v1\n\
         kind: Gateway\n\
         metadata: {{name: web, namespace: infra}}\n\
         spec: {{gatewayClassName: sluice, listeners: {gateway}}}\n\
         ---\n\
         apiVersion: gateway.networking.k8s.io/v1\n\
         kind: HTTPRoute\n\
         metadata: {{name: cart, namespace: shop}}\n\
         spec:\n  {}\n  rules: [{{backendRefs: [{{name: cart, port: 80}}]}}]\n",
        route.replace('\n', "\n  ")
    );
    let input = Input { file: "input.yaml".to_owned(), is_named: true, text: None };
    let documents = yaml::parse(&text).unwrap();
    let source = Source { input, documents, may_be_template: false };
    let defaults = Defaults {
        gateways: vec!["infra/web".to_owned()],
        proxy_port: port,
        attaches_routes: true,
        ..Defaults::default()
    };
    collect(vec![source], &defaults)
}

const ALL: &str = "allowedRoutes: {namespaces: {from: All}}";
const WEB: &str = "parentRefs: [{name: web, namespace: infra}]";

fn names(names: &[&str]) -> Option<Option<Vec<String>>> {
    Some(Some(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[test]
fn a_wildcard_includes_one_or_more_labels() {
    let cases = [
        ("a.com", "a.com", true),
        ("a.com", "b.com", false),
        ("*.a.com", "b.a.com", true),
        ("*.a.com", "c.b.a.com", true),
        ("*.a.com", "*.b.a.com", true),
        ("*.a.com", "*.a.com", true),
        ("*.a.com", "a.com", false),
        ("*.a.com", "ba.com", false),
        ("*.b.a.com", "*.a.com", false),
        ("b.a.com", "*.a.com", false),
    ];
    for (hostname, name, expected) in cases {
        assert_eq!(includes(hostname, name), expected, "{hostname} {name}");
    }
}

#[test]
fn a_route_gets_the_hosts_that_the_listener_has_too() {
    let cases = [
        ("", "", Some(None)),
        ("", "hostnames: [a.com, '*.b.com']", names(&["a.com", "*.b.com"])),
        ("hostname: a.com,", "", names(&["a.com"])),
        (
            "hostname: '*.a.com',",
            "hostnames: [x.a.com, a.com, y.z.a.com]",
            names(&["x.a.com", "y.z.a.com"]),
        ),
        ("hostname: x.A.com,", "hostnames: ['*.a.com', x.a.com]", names(&["x.a.com"])),
        (
            "hostname: '*.a.com',",
            "hostnames: ['*.x.a.com', '*.com']",
            names(&["*.x.a.com", "*.a.com"]),
        ),
    ];
    for (hostname, hostnames, expected) in cases {
        let listener = format!("[{{name: a, port: 80, protocol: HTTP, {hostname} {ALL}}}]");
        let (hosts, reasons) = attached(&listener, &format!("{WEB}\n{hostnames}"), None);
        assert_eq!(hosts, expected, "{hostname} {hostnames}");
        assert_eq!(reasons, Vec::<String>::new());
    }
}

#[test]
fn a_listener_refuses_routes() {
    let http = "name: a, port: 80, protocol: HTTP";
    let cases = [
        (format!("{{{http}, {ALL}}}"), "sectionName: b", "has the name \"b\""),
        (format!("{{{http}, {ALL}}}"), "port: 81", "has the port 81"),
        (format!("{{{http}, {ALL}}}"), "sectionName: a, port: 81", "has the port 81"),
        (format!("{{name: a, port: 80, protocol: TCP, {ALL}}}"), "port: 80", "takes HTTPRoutes"),
        (
            format!(
                "{{{http}, allowedRoutes: {{namespaces: {{from: All}}, kinds: [{{kind: GRPCRoute}}]}}}}"
            ),
            "port: 80",
            "takes HTTPRoutes",
        ),
        (format!("{{{http}}}"), "port: 80", "allows routes of the namespace \"shop\""),
        (
            format!(
                "{{{http}, allowedRoutes: {{namespaces: {{from: Selector, selector: {{matchLabels: {{team: blue}}}}}}}}}}"
            ),
            "port: 80",
            "allows routes of the namespace \"shop\"",
        ),
        (format!("{{{http}, hostname: b.com, {ALL}}}"), "port: 80", "has a hostname of the route"),
    ];
    for (listener, parent, expected) in cases {
        let route =
            format!("parentRefs: [{{name: web, namespace: infra, {parent}}}]\nhostnames: [a.com]");
        let (hosts, reasons) = attached(&format!("[{listener}]"), &route, None);
        assert_eq!(hosts, None, "{listener} {parent}");
        assert!(matches!(&reasons[..], [only] if only.contains(expected)), "{reasons:?}");
    }
}

#[test]
fn namespaces_are_selected_by_their_labels() {
    let cases = [
        ("matchLabels: {team: red}", true),
        ("matchLabels: {kubernetes.io/metadata.name: shop}", true),
        ("matchLabels: {team: red, tier: front}", false),
        ("matchExpressions: [{key: team, operator: In, values: [blue, red]}]", true),
        ("matchExpressions: [{key: team, operator: NotIn, values: [red]}]", false),
        ("matchExpressions: [{key: tier, operator: NotIn, values: [red]}]", true),
        ("matchExpressions: [{key: team, operator: Exists}]", true),
        ("matchExpressions: [{key: team, operator: DoesNotExist}]", false),
    ];
    for (selector, expected) in cases {
        let listener = format!(
            "[{{name: a, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: {{from: Selector, \
             selector: {{{selector}}}}}}}}}]"
        );
        let (hosts, _) = attached(&listener, WEB, None);
        assert_eq!(hosts.is_some(), expected, "{selector}");
    }
}

#[test]
fn a_document_has_the_routes_of_its_gateway_and_port() {
    let listeners = format!(
        "[{{name: a, port: 80, hostname: a.com, protocol: HTTP, {ALL}}},\
          {{name: b, port: 8080, hostname: b.com, protocol: HTTPS, {ALL}}}]"
    );
    assert_eq!(attached(&listeners, WEB, None).0, names(&["a.com", "b.com"]));
    assert_eq!(attached(&listeners, WEB, Some(8080)).0, names(&["b.com"]));
    assert_eq!(attached(&listeners, WEB, Some(81)), (None, Vec::new()));
    let other = "parentRefs: [{name: other, namespace: infra}]";
    assert_eq!(attached(&listeners, other, None), (None, Vec::new()));
}

/// The hosts of the routes without rules in the document for port 80 of a Gateway.
fn isolated(listeners: &str) -> Vec<String> {
    let collected = collect_files(listeners, WEB, Some(80));
    let routes = collected.bundles.iter().flat_map(|bundle| bundle.document.list("grpcRoutes"));
    routes.map(|route| route.to_json()).collect()
}

#[test]
fn hosts_of_listeners_without_a_route_are_isolated() {
    let listener = |name: &str, port: u16, hostname: &str| {
        format!("{{name: {name}, port: {port}, protocol: HTTP, hostname: '{hostname}', {ALL}}}")
    };
    let a = listener("a", 80, "*.a.com");
    let x = listener("x", 80, "x.a.com");
    assert_eq!(isolated(&format!("[{a}, {x}]")), [r#"{"hostnames":["x.a.com"]}"#]);
    // Of another port, or without a wildcard that includes it.
    let other = listener("x", 81, "x.a.com");
    assert_eq!(isolated(&format!("[{a}, {other}]")), Vec::<String>::new());
    let b = listener("b", 80, "b.com");
    assert_eq!(isolated(&format!("[{a}, {b}]")), Vec::<String>::new());
}

#[test]
fn a_request_goes_to_the_most_specific_listener() {
    let listeners = format!(
        "[{{name: all, port: 80, protocol: HTTP, {ALL}}},\
          {{name: a, port: 80, hostname: '*.a.com', protocol: HTTP, {ALL}}},\
          {{name: x, port: 80, hostname: x.a.com, protocol: HTTP, {ALL}}}]"
    );
    let hosts = "hostnames: [x.a.com, y.a.com, b.com]";
    let to = |section: &str| {
        format!("parentRefs: [{{name: web, namespace: infra, sectionName: {section}}}]\n{hosts}")
    };
    assert_eq!(attached(&listeners, &to("all"), None).0, names(&["b.com"]));
    assert_eq!(attached(&listeners, &to("a"), None).0, names(&["y.a.com"]));
    assert_eq!(attached(&listeners, &to("x"), None).0, names(&["x.a.com"]));
    let all = format!("{WEB}\n{hosts}");
    assert_eq!(attached(&listeners, &all, None).0, names(&["b.com", "y.a.com", "x.a.com"]));
}
