//! Tests of the counters of routes with whole documents.

use super::*;
use crate::request::Request;
use crate::router::Router;
use crate::spec::policy::Policy;
use crate::spec::proxy::NoMetadata;
use crate::testing::{FixedAttributes, FixedDraw, pairs};

fn router(metrics: &str, http: &str) -> Router {
    let document = format!(
        r#"{{"clusterName": "{{host}}[-{{subset}}]", {metrics}
            "virtualServices": [{{"hosts": ["shop.com", "www.shop.com"], "http": [{http}]}}]}}"#
    );
    Router::compile(document.as_bytes(), &NoMetadata).unwrap().0
}

const ON: &str = r#""metrics": {"routes": true},"#;

const ROUTES: &str = r#"
    {"name": "split", "match": [{"name": "a;b", "uri": {"exact": "/split"}},
                                {"uri": {"exact": "/other-split"}}],
     "route": [{"destination": {"host": "cart", "subset": "v1"}, "weight": 1},
               {"destination": {"host": "cart", "subset": "v2"}, "weight": 1}]},
    {"match": [{"uri": {"exact": "/cors"}}],
     "corsPolicy": {"allowOrigins": [{"exact": "https://a.com"}]},
     "route": [{"destination": {"host": "cart"}}]},
    {"name": "away", "match": [{"uri": {"exact": "/away"}}], "redirect": {"uri": "/"}},
    {"name": "gone", "match": [{"uri": {"exact": "/gone"}}], "directResponse": {"status": 410}},
    {"name": "split", "match": [{"uri": {"exact": "/same"}}],
     "route": [{"destination": {"host": "cart", "subset": "v2"}}]}"#;

/// The name of the counter of a request, by its path and the draw; `-` without a counter.
fn counted(router: &Router, path: &str, draw: u64, more: &[(&str, &str)]) -> String {
    let headers = [&[(":authority", "shop.com"), (":path", path)], more].concat();
    let (headers, attributes) = (pairs(&headers), FixedAttributes::default());
    let request = Request::new(&headers, &attributes);
    let decision = router.route(&request, &mut FixedDraw(draw));
    let Some(number) = decision.counter else { return "-".to_owned() };
    let name = &router.counter_names()[number as usize];
    name.strip_prefix("sluice.router.requests;").unwrap().to_owned()
}

#[test]
fn each_route_and_destination_has_a_counter() {
    let router = router(ON, ROUTES);
    let counted = |path: &str, draw| counted(&router, path, draw, &[]);
    assert_eq!(counted("/split", 0), "route=split.a%3Bb;cluster=cart-v1;");
    assert_eq!(counted("/split", 1), "route=split.a%3Bb;cluster=cart-v2;");
    assert_eq!(counted("/other-split", 0), "route=split;cluster=cart-v1;");
    assert_eq!(counted("/other-split", 1), "route=split;cluster=cart-v2;");
    // Another route with the same name and destination.
    assert_eq!(counted("/same", 0), "route=split;cluster=cart-v2;");
    assert_eq!(counted("/away", 0), "route=away;cluster=-;");
    assert_eq!(counted("/gone", 0), "route=gone;cluster=-;");
    assert_eq!(counted("/none", 0), "-", "no route matches");
    assert_eq!(router.counter_names().len(), 8, "{:?}", router.counter_names());
}

#[test]
fn a_preflight_request_is_counted_without_a_cluster() {
    let router = router(ON, ROUTES);
    let route = "route=virtualServices[0].http[1].match[0]";
    assert_eq!(counted(&router, "/cors", 0, &[]), format!("{route};cluster=cart;"));
    let preflight = [
        (":method", "OPTIONS"),
        ("origin", "https://a.com"),
        ("access-control-request-method", "PUT"),
    ];
    assert_eq!(counted(&router, "/cors", 0, &preflight), format!("{route};cluster=-;"));
}

#[test]
fn without_the_setting_nothing_is_counted() {
    for metrics in ["", r#""metrics": {},"#, r#""metrics": {"routes": false},"#] {
        let router = router(metrics, ROUTES);
        assert_eq!(counted(&router, "/split", 0, &[]), "-");
        assert_eq!(router.counter_names(), [""; 0]);
    }
}

#[test]
fn backends_that_do_not_exist_have_no_cluster() {
    let document = r#"{"metrics": {"routes": true}, "clusterName": "{host}", "httpRoutes": [
        {"name": "shop", "rules": [
            {"name": "half", "backendRefs": [{"name": "cart", "port": 80},
                                             {"kind": "Bucket", "group": "x", "name": "files"}]},
            {"name": "none", "matches": [{"path": {"value": "/none"}}]}]}]}"#;
    let (router, _) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
    assert_eq!(counted(&router, "/", 0, &[]), "route=shop.half;cluster=cart;");
    assert_eq!(counted(&router, "/", 1, &[]), "route=shop.half;cluster=-;");
    assert_eq!(counted(&router, "/none", 0, &[]), "route=shop.none;cluster=-;");
}

#[test]
fn a_cluster_by_port_has_one_counter() {
    let document = r#"{"metrics": {"routes": true}, "namespace": "ns", "virtualServices": [
        {"hosts": ["shop.com"], "http": [{"name": "all",
         "headers": {"request": {"set": {"x-a": "1"}}},
         "route": [{"destination": {"host": "a"}}]}]}]}"#;
    let (router, _) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
    let expected = "route=all;cluster=outbound|{port}||a.ns.svc.cluster.local;";
    assert_eq!(counted(&router, "/", 0, &[]), expected);
}

/// Routes to one cluster each, by the path.
fn many(count: usize) -> Router {
    let route = |number: usize| {
        format!(
            r#"{{"name": "r{number}", "match": [{{"uri": {{"exact": "/{number}"}}}}],
                "route": [{{"destination": {{"host": "c{number}"}}}}]}}"#
        )
    };
    router(ON, &(0..count).map(route).collect::<Vec<_>>().join(","))
}

#[test]
fn routes_beyond_the_limit_share_a_counter() {
    let router = many(MAX_NAMES);
    assert_eq!(router.counter_names().len(), MAX_NAMES);
    assert_eq!(counted(&router, "/999", 0, &[]), "route=r999;cluster=c999;");
    let router = many(MAX_NAMES + 2);
    assert_eq!(router.counter_names().len(), MAX_NAMES + 1);
    assert_eq!(counted(&router, "/0", 0, &[]), "route=r0;cluster=c0;");
    assert_eq!(counted(&router, "/999", 0, &[]), "route=r999;cluster=c999;");
    for path in ["/1000", "/1001"] {
        assert_eq!(counted(&router, path, 0, &[]), "route=other;cluster=other;");
    }
}

#[test]
fn a_label_ends_only_at_its_semicolon() {
    let escaped = |text: &str| {
        let mut escaped = String::new();
        escape(text, &mut escaped);
        escaped
    };
    let cluster = "outbound|9080|v1|reviews.default.svc.cluster.local";
    assert_eq!(escaped(cluster), cluster);
    assert_eq!(escaped("a;b=c%d e:f,\"g\"\\"), "a%3Bb%3Dc%25d%20e%3Af%2C%22g%22%5C");
    assert_eq!(escaped("ü\n"), "%C3%BC%0A");
}

/// The counter of a request for a path, for both results of the comparison with a second policy.
fn shadow_counted(router: &Router, path: &str) -> [String; 2] {
    let headers = pairs(&[(":authority", "shop.com"), (":path", path)]);
    let attributes = FixedAttributes::default();
    let matched = router.rules().find(&Request::new(&headers, &attributes)).unwrap();
    [true, false].map(|is_same| {
        let number = router.shadow_counter(&matched, is_same).unwrap();
        let name = &router.counter_names()[number as usize];
        name.strip_prefix("sluice.router.shadow;").unwrap().to_owned()
    })
}

const SECOND: &str = r#""shadow": {"virtualServices": [
    {"hosts": ["shop.com"], "http": [{"route": [{"destination": {"host": "b"}}]}]}]},"#;

#[test]
fn with_a_second_policy_each_route_has_two_counters_more() {
    let router = router(&[ON, SECOND].concat(), ROUTES);
    let names = |route: &str| {
        ["same", "different"].map(|decision| format!("route={route};decision={decision};"))
    };
    assert_eq!(shadow_counted(&router, "/split"), names("split.a%3Bb"));
    assert_eq!(shadow_counted(&router, "/other-split"), names("split"));
    assert_eq!(shadow_counted(&router, "/same"), names("split"));
    assert_eq!(shadow_counted(&router, "/gone"), names("gone"));
    // Five names of routes.
    assert_eq!(router.counter_names().len(), 8 + 10, "{:?}", router.counter_names());
    assert_eq!(counted(&router, "/away", 0, &[]), "route=away;cluster=-;");
}

#[test]
fn counters_of_second_policies_have_a_limit_too() {
    let route = |number: usize| {
        format!(
            r#"{{"name": "r{number}", "match": [{{"uri": {{"exact": "/{number}"}}}}],
                "directResponse": {{"status": 410}}}}"#
        )
    };
    let more = [ON, SECOND].concat();
    let many = |count: usize| router(&more, &(0..count).map(route).collect::<Vec<_>>().join(","));
    let router = many(MAX_SHADOW_ROUTES);
    assert_eq!(router.counter_names().len(), 3 * MAX_SHADOW_ROUTES);
    let router = many(MAX_NAMES + 1);
    assert_eq!(router.counter_names().len(), 2 * MAX_NAMES + 3);
    let names = |route: &str| {
        ["same", "different"].map(|decision| format!("route={route};decision={decision};"))
    };
    assert_eq!(shadow_counted(&router, "/499"), names("r499"));
    for path in ["/500", "/999", "/1000"] {
        assert_eq!(shadow_counted(&router, path), names("other"));
    }
}
