//! The cases of istiod's own tests, `pilot/pkg/model/virtualservice_test.go`, and what they leave
//! out. `tests/conformance/cases/delegates.json` has whole documents.

use super::conflict::conflict;
use super::*;
use crate::document::filter::Filter;
use crate::document::json::Field;
use crate::document::parse::parse;
use crate::spec::document::Document;
use crate::spec::proxy::NoMetadata;

/// Parses a text. It is never freed, so that values that borrow from it can be returned.
fn json(text: &str) -> &'static Json<'static> {
    Box::leak(Box::new(parse(text.to_owned().leak().as_bytes()).unwrap()))
}

fn part(json: &'static Json<'static>) -> Part<'static> {
    Part { json, namespace: None }
}

/// The field in which two matches conflict, or an empty text.
fn field(root: &str, own: &str) -> &'static str {
    conflict(part(json(root)), part(json(own))).unwrap_or_default()
}

#[test]
fn a_match_is_merged_if_it_is_a_part_of_the_other() {
    let uri = |kind: &str, text: &str| format!(r#"{{"uri": {{"{kind}": "{text}"}}}}"#);
    let header =
        |kind: &str, text: &str| format!(r#"{{"headers": {{"x": {{"{kind}": "{text}"}}}}}}"#);
    for (root, own, expected) in [
        (uri("regex", "^/a"), uri("prefix", "/a"), "uri"),
        (uri("regex", "^/a"), uri("regex", "^/a"), "uri"),
        (uri("regex", "^/a"), "{}".to_owned(), ""),
        ("{}".to_owned(), uri("regex", "^/a"), ""),
        (uri("prefix", "/a"), uri("regex", "^/a"), "uri"),
        (uri("exact", "/a"), uri("regex", "/a"), "uri"),
        (uri("prefix", "/a"), uri("prefix", "/a/v2"), ""),
        (uri("prefix", "/a/v2"), uri("prefix", "/a"), "uri"),
        (uri("prefix", "/a/v2"), uri("exact", "/a/v2"), ""),
        (uri("prefix", "/a"), uri("exact", "/b"), "uri"),
        (uri("exact", "/a"), uri("exact", "/a"), ""),
        (uri("exact", "/a"), uri("exact", "/b"), "uri"),
        (uri("exact", "/a"), uri("prefix", "/a"), "uri"),
        // An empty prefix contains nothing and is contained in nothing.
        (uri("prefix", ""), uri("prefix", "/a"), "uri"),
        (uri("prefix", "/a"), uri("prefix", ""), "uri"),
        (header("exact", "h1"), header("exact", "h2"), "headers"),
        (header("exact", "h1"), header("exact", "h1"), ""),
        (header("prefix", "h1"), header("exact", "h1-v1"), ""),
        (header("prefix", "h1"), header("exact", "h2"), "headers"),
        (header("prefix", "h1"), header("prefix", "h2"), "headers"),
        (header("exact", "h1"), r#"{"headers": {"y": {"exact": "h2"}}}"#.to_owned(), ""),
        // Header names are compared as they are written.
        (header("exact", "h1"), r#"{"headers": {"X": {"exact": "h2"}}}"#.to_owned(), ""),
    ] {
        assert_eq!(field(&root, &own), expected, "{root} {own}");
    }
}

#[test]
fn each_field_can_conflict() {
    for (root, own, expected) in [
        (r#"{"scheme": {"exact": "http"}}"#, r#"{"scheme": {"exact": "https"}}"#, "scheme"),
        (r#"{"method": {"exact": "GET"}}"#, r#"{"method": {"exact": "PUT"}}"#, "method"),
        (r#"{"authority": {"prefix": "a"}}"#, r#"{"authority": {"exact": "b"}}"#, "authority"),
        // The condition that a value is present conflicts with itself.
        (r#"{"headers": {"x": {}}}"#, r#"{"headers": {"x": {}}}"#, "headers"),
        (r#"{"headers": {"x": {}}}"#, r#"{"headers": {"x": {"exact": "1"}}}"#, "headers"),
        (
            r#"{"withoutHeaders": {"x": {"prefix": "h1"}}}"#,
            r#"{"withoutHeaders": {"x": {"exact": "h2"}}}"#,
            "withoutHeaders",
        ),
        (r#"{"withoutHeaders": {"x": {}}}"#, r#"{"withoutHeaders": {"x": null}}"#, ""),
        (r#"{"withoutHeaders": {"x": {}}}"#, r#"{"headers": {"x": {}}}"#, ""),
        (
            r#"{"queryParams": {"q": {"exact": "1"}}}"#,
            r#"{"queryParams": {"q": {"exact": "2"}}}"#,
            "queryParams",
        ),
        (r#"{"ignoreUriCase": true}"#, "{}", "ignoreUriCase"),
        (r#"{"ignoreUriCase": true}"#, r#"{"ignore_uri_case": true}"#, ""),
        (r#"{"ignoreUriCase": false}"#, "{}", ""),
        (r#"{"port": 1}"#, r#"{"port": 2}"#, "port"),
        (r#"{"port": 1}"#, r#"{"port": 0}"#, ""),
        (r#"{"port": 1}"#, "{}", ""),
        ("{}", r#"{"port": 1}"#, ""),
        (r#"{"sourceNamespace": "a"}"#, r#"{"sourceNamespace": "b"}"#, "sourceNamespace"),
        (r#"{"sourceNamespace": "a"}"#, "{}", "sourceNamespace"),
        ("{}", r#"{"sourceNamespace": "a"}"#, ""),
        (r#"{"sourceLabels": {"a": "b"}}"#, r#"{"sourceLabels": {"a": "c"}}"#, "sourceLabels"),
        (r#"{"sourceLabels": {"a": "b"}}"#, r#"{"sourceLabels": {"c": "d"}}"#, ""),
        (r#"{"gateways": ["a"]}"#, r#"{"gateways": ["a", "b"]}"#, "gateways"),
        (r#"{"gateways": ["a", "mesh"]}"#, r#"{"gateways": ["b"]}"#, "gateways"),
        (r#"{"gateways": ["a", "mesh"]}"#, r#"{"gateways": ["mesh"]}"#, ""),
        (r#"{"gateways": []}"#, r#"{"gateways": ["mesh"]}"#, ""),
    ] {
        assert_eq!(field(root, own), expected, "{root} {own}");
    }
}

#[test]
fn gateways_are_compared_with_their_namespaces() {
    let (root, own) = (json(r#"{"gateways": ["a", "mesh"]}"#), json(r#"{"gateways": ["a"]}"#));
    let conflicts = |one, other| {
        let root = Part { json: root, namespace: Some(one) };
        conflict(root, Part { json: own, namespace: Some(other) })
    };
    assert_eq!([conflicts("x", "x"), conflicts("x", "y")], [None, Some("gateways")]);
}

/// The merged matches as JSON, each with the index of the delegate's match, or the conflict.
fn matches(root: &str, own: &str) -> Result<Vec<(Json<'static>, Option<usize>)>, String> {
    let list = |text: &str| json(&format!(r#"{{"match": {text}}}"#));
    let (root, own) = (list(root), list(own));
    let merged = merge_matches(part(root), part(own), &mut 0);
    let merged = merged.map_err(|conflict| conflict.field.to_owned())?;
    Ok(merged.list.into_iter().zip(merged.indices).collect())
}

#[test]
fn matches_of_both_are_combined() {
    let a = r#"{"uri":{"prefix":"/a"},"port":80}"#;
    let b = r#"{"uri":{"prefix":"/b"}}"#;
    let merged = |list: &[(&str, Option<usize>)]| {
        Ok(list.iter().map(|(text, index)| (json(text).clone(), *index)).collect())
    };
    assert_eq!(matches("[]", "[]"), merged(&[("{}", None)]));
    assert_eq!(matches(&format!("[{a},{b}]"), "[]"), merged(&[(a, None), (b, None)]));
    assert_eq!(matches("[]", &format!("[{a},{b}]")), merged(&[(a, Some(0)), (b, Some(1))]));
    assert_eq!(
        matches(&format!("[{a},{b}]"), r#"[{"uri":{"exact":"/b/1"}},{"uri":{"exact":"/a/1"}},{}]"#),
        merged(&[
            (r#"{"uri":{"exact":"/b/1"}}"#, Some(0)),
            (r#"{"uri":{"exact":"/a/1"},"port":80}"#, Some(1)),
            (a, Some(2)),
            (b, Some(2)),
        ])
    );
    let all = r#"[{"name":"n","headers":{"x":{"exact":"1"},"y":{}},"sourceLabels":{"app":"test"},
        "method":{"exact":"GET"},"gateways":["g","mesh"],"statPrefix":"s"}]"#;
    let own = r#"[{"name":"m","headers":{"x":{"exact":"1"},"z":{}},"sourceLabels":{"v":"1"},
        "gateways":["mesh"]}]"#;
    let both = r#"{"name":"n-m","method":{"exact":"GET"},"headers":{"x":{"exact":"1"},"z":{},
        "y":{}},"sourceLabels":{"v":"1","app":"test"},"gateways":["mesh"],"statPrefix":"s"}"#;
    let sorted = |json: &Json<'static>| {
        let mut fields = json.fields().to_vec();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields
    };
    let found = matches(all, own).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(sorted(&found[0].0), sorted(json(both)));
}

#[test]
fn one_conflicting_match_drops_all() {
    let roots = r#"[{"uri":{"prefix":"/a"}},{"uri":{"prefix":"/b"}}]"#;
    assert!(matches(roots, r#"[{"uri":{"exact":"/a/1"}},{"uri":{"exact":"/b"}}]"#).is_ok());
    let wrong = r#"[{"uri":{"exact":"/a/1"}},{"uri":{"exact":"/c"}}]"#;
    assert_eq!(matches(roots, wrong), Err("uri".to_owned()));
    let ports = r#"[{"uri":{"prefix":"/a"},"port":8080}]"#;
    assert_eq!(matches(ports, r#"[{"port":9090}]"#), Err("port".to_owned()));
}

fn merged_route(root: &str, own: &str) -> Vec<Field<'static>> {
    let (root, own) = (json(root), json(own));
    let root = Part { json: root, namespace: Some("r") };
    let own = Part { json: own, namespace: Some("d") };
    let Json::Object(mut fields) = merge_route(root, own) else { panic!("no object") };
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

#[test]
fn a_route_takes_over_the_fields_that_it_lacks() {
    let route = |text: &str| {
        let mut fields = json(text).fields().to_vec();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields
    };
    let inherited = r#"{"rewrite":{"uri":"/"},"timeout":"1s","retries":{"attempts":1},
        "fault":{"abort":{"httpStatus":400}},"corsPolicy":{"maxAge":"1s"},"headers":{},
        "mirrorPercentage":{"value":1},"mirrorPercent":0}"#;
    let root = inherited.replacen('{', r#"{"name":"root","delegate":{"name":"x"},"#, 1);
    let expected = inherited.replacen('{', r#"{"name":"root","#, 1);
    assert_eq!(merged_route(&root, "{}"), route(&expected));
    // All of them are of the delegate if it has them, also if they are empty.
    let own = r#"{"name":"own","rewrite":{},"timeout":"2s","retries":{},"fault":{},
        "corsPolicy":{},"headers":{"request":{}},"mirrorPercentage":{},"mirrorPercent":5}"#;
    assert_eq!(merged_route(&root, own), route(&own.replace(r#""own""#, r#""root-own""#)));
    // Its destinations are its own, with its own namespace.
    assert_eq!(
        merged_route(
            r#"{"mirror":{"host":"m"},"mirrors":[]}"#,
            r#"{"route":[{"destination":{"host":"A"},"headers":{}}],"mirrors":null}"#
        ),
        route(
            r#"{"route":[{"destination":{"host":"a.d.svc.cluster.local"},"headers":{}}],
                "mirror":{"host":"m.r.svc.cluster.local"}}"#
        )
    );
}

#[test]
fn every_field_has_a_rule() {
    use crate::document::fields::Fields;
    use crate::spec::http_match::HttpMatch;
    let names = |rules: &[(&'static str, rule::Rule)]| -> Vec<&str> {
        rules.iter().map(|(name, _)| *name).collect()
    };
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(names(&rule::MATCH)), sorted(HttpMatch::NAMES.to_vec()));
    let others = ["match", "delegate"];
    let route = [names(&rule::ROUTE), others.to_vec()].concat();
    assert_eq!(sorted(route), sorted(HttpRoute::NAMES.to_vec()));
}

/// A document with `count` routes that name a delegate with one route of about `length` bytes.
fn repeated(count: usize, length: usize) -> String {
    let routes = vec![r#"{"delegate":{"name":"d"}}"#; count].join(",");
    let value = "a".repeat(length);
    format!(
        r#"{{"virtualServices":[{{"hosts":["a"],"http":[{routes}]}},{{"name":"d","http":[
            {{"match":[{{"headers":{{"x":{{"exact":"{value}"}}}}}}],
              "route":[{{"destination":{{"host":"a"}}}}]}}]}}]}}"#
    )
}

#[test]
fn what_is_merged_has_a_limit() {
    let parse = |text: &str| Document::parse(text.as_bytes(), Filter::Router, &NoMetadata);
    let (document, _) = parse(&repeated(15, 1 << 20)).unwrap();
    assert_eq!(document.services.lists().flatten().count(), 15);
    let errors = parse(&repeated(1000, 1 << 20)).unwrap_err().errors;
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        ["virtualServices[0].http[15].delegate: makes the merged routes longer than 16777216 \
          bytes (16 MiB); use fewer routes or matches"]
    );
}

#[test]
fn comparisons_of_matches_have_the_same_limit() {
    let matched = format!(r#"{{"headers":{{"x":{{"exact":"{}"}}}}}}"#, "a".repeat(4_000));
    let list = |count: usize| vec![matched.as_str(); count].join(",");
    let parse = |count: usize| {
        let list = list(count);
        let text = format!(
            r#"{{"virtualServices":[
                {{"hosts":["a"],"http":[{{"match":[{list}],"delegate":{{"name":"d"}}}}]}},
                {{"name":"d","http":[{{"match":[{list}],
                  "route":[{{"destination":{{"host":"a"}}}}]}}]}}]}}"#
        );
        Document::parse(text.as_bytes(), Filter::Router, &NoMetadata)
    };
    assert!(parse(20).is_ok());
    let rejection = parse(100).unwrap_err().to_string();
    assert!(rejection.contains("makes the merged routes longer"), "{rejection}");
}
