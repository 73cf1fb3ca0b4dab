//! Tests of second policies with whole documents.

use super::*;
use crate::request::{Draws, Request, SharedDraw};
use crate::router::Router;
use crate::spec::policy::Policy;
use crate::spec::proxy::NoMetadata;
use crate::testing::{FixedAttributes, FixedDraw, pairs};

/// A router with rules for `a.com`, and others in the second policy.
fn router(more: &str, live: &str, shadow: &str) -> Router {
    let services = |rules: &str| format!(r#"[{{"hosts": ["a.com"], "http": [{rules}]}}]"#);
    let document = format!(
        r#"{{"clusterName": "{{host}}", {more} "virtualServices": {},
            "shadow": {{"virtualServices": {}}}}}"#,
        services(live),
        services(shadow)
    );
    Router::compile(document.as_bytes(), &NoMetadata).unwrap().0
}

/// What differs for a request for `a.com` with these headers and draws.
fn difference(
    router: &Router,
    headers: &[(&str, &str)],
    draws: &mut dyn Draws,
) -> Option<Difference> {
    let mut all = pairs(&[(":authority", "a.com"), (":path", "/")]);
    all.extend(pairs(headers));
    let attributes = FixedAttributes::default();
    let request = Request::new(&all, &attributes);
    let mut draws = SharedDraw::new(draws);
    let decision = router.route(&request, &mut draws);
    let shadow = router.shadow.as_ref().unwrap();
    shadow.compare(&decision, &request, &mut draws).unwrap().difference
}

/// A route with these fields to one cluster.
fn to(cluster: &str, fields: &str) -> String {
    format!(r#"{{{fields} "route": [{{"destination": {{"host": "{cluster}"}}}}]}}"#)
}

/// A route that sends a share of the requests to `v2`, in percent.
fn split(percent: u32) -> String {
    let rest = 100 - percent;
    format!(
        r#"{{"route": [{{"destination": {{"host": "v1"}}, "weight": {rest}}},
            {{"destination": {{"host": "v2"}}, "weight": {percent}}}]}}"#
    )
}

#[test]
fn only_the_requests_that_change_their_cluster_differ() {
    let count = |live: &str, shadow: &str| {
        let router = router("", live, shadow);
        let differs = |draw: &u64| {
            difference(&router, &[], &mut FixedDraw(*draw)) == Some(Difference::Cluster)
        };
        (0..100).filter(differs).count()
    };
    assert_eq!(count(&split(10), &split(20)), 10);
    assert_eq!(count(&split(50), &split(50)), 0);
    assert_eq!(count(&to("v1", ""), &split(20)), 20, "only the second policy draws");
    assert_eq!(count(&split(20), &to("v1", "")), 20);
    assert_eq!(count(&to("v1", ""), &to("v2", "")), 100);
}

#[test]
fn sticky_choices_of_both_policies_have_the_same_user() {
    let sampling = r#""sampling": {"key": [{"header": "user"}]},"#;
    let router = router(sampling, &split(10), &split(20));
    let differs = |user: &u32| {
        let user = user.to_string();
        let at = |draw| difference(&router, &[("user", &user)], &mut FixedDraw(draw));
        assert_eq!(at(0), at(99), "no draw");
        at(0).is_some()
    };
    let count = (0..4_000).filter(differs).count() as f64;
    // Five standard deviations.
    assert!((count - 400.0).abs() < 5.0 * (4_000.0_f64 * 0.1 * 0.9).sqrt(), "{count}");
}

#[test]
fn everything_that_a_decision_does_is_compared() {
    let respond = |status: u16, body: &str| {
        format!(r#"{{"directResponse": {{"status": {status}, "body": {{"string": "{body}"}}}}}}"#)
    };
    let headers = |of: &str, value: &str| {
        to("b", &format!(r#""headers": {{"{of}": {{"set": {{"x": "{value}"}}}}}},"#))
    };
    for (live, shadow, expected) in [
        (to("b", r#""name": "one","#), to("b", r#""name": "two","#), None),
        (to("b", ""), to("b", r#""fault": {"abort": {"httpStatus": 503}},"#), None),
        (to("b", ""), respond(410, ""), Some(Difference::Outcome)),
        (
            to("b", ""),
            to("b", r#""match": [{"uri": {"prefix": "/x"}}],"#),
            Some(Difference::Outcome),
        ),
        (respond(410, ""), respond(410, ""), None),
        (respond(410, ""), respond(404, ""), Some(Difference::Reply)),
        (respond(410, ""), respond(410, "gone"), Some(Difference::Reply)),
        (to("b", ""), to("c", ""), Some(Difference::Cluster)),
        (to("b", ""), to("b", r#""timeout": "1s","#), Some(Difference::Request)),
        (to("b", ""), to("b", r#""rewrite": {"uri": "/x"},"#), Some(Difference::Request)),
        (headers("request", "1"), headers("request", "1"), None),
        (headers("request", "1"), headers("request", "2"), Some(Difference::Request)),
        (headers("response", "1"), headers("response", "1"), None),
        (headers("response", "1"), headers("response", "2"), Some(Difference::Response)),
        (to("b", ""), headers("response", "2"), Some(Difference::Response)),
    ] {
        let router = router("", &live, &shadow);
        assert_eq!(difference(&router, &[], &mut FixedDraw(0)), expected, "{live} {shadow}");
    }
}

#[test]
fn hosts_without_rules_are_compared_too() {
    let [a, b] = ["a.com", "b.com"].map(|host| (":authority", host));
    let document = r#"{"clusterName": "{host}", "unmatchedHosts": "pass", "virtualServices": [
        {"hosts": ["a.com"], "http": [{"route": [{"destination": {"host": "a"}}]}]}],
        "shadow": {"virtualServices": [
        {"hosts": ["b.com"], "http": [{"route": [{"destination": {"host": "a"}}]}]}]}}"#;
    let (router, _) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
    for headers in [[a], [b]] {
        let found = difference(&router, &headers, &mut FixedDraw(0));
        assert_eq!(found, Some(Difference::Outcome), "{headers:?}");
    }
    let neither = difference(&router, &[(":authority", "c.com")], &mut FixedDraw(0));
    assert_eq!(neither, None);
}

#[test]
fn routes_of_the_gateway_api_belong_to_both_policies() {
    let routes = r#""httpRoutes": [{"hostnames": ["b.com"],
        "rules": [{"backendRefs": [{"name": "cart", "port": 80}]}]}],"#;
    let router = router(routes, &to("b", ""), &to("c", ""));
    let of_b = difference(&router, &[(":authority", "b.com")], &mut FixedDraw(0));
    assert_eq!(of_b, None);
    assert_eq!(difference(&router, &[], &mut FixedDraw(0)), Some(Difference::Cluster));
}

#[test]
fn a_document_without_a_second_policy_has_no_shadow() {
    let document = r#"{"clusterName": "{host}", "virtualServices": [
        {"hosts": ["a.com"], "http": [{"route": [{"destination": {"host": "a"}}]}]}]"#;
    let shadow = |more: &str| {
        let document = format!("{document}{more}}}");
        Router::compile(document.as_bytes(), &NoMetadata).unwrap().0.shadow
    };
    assert!(shadow("").is_none());
    assert!(shadow(r#", "router": {"mode": "enforce"}, "shadow": null"#).is_none());
    let mode = shadow(r#", "router": {"mode": "shadow"}"#).unwrap();
    assert!(mode.replaces_decisions() && mode.policy.is_none());
}
