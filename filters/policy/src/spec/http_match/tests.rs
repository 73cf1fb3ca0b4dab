//! Tests of single matches.

use super::*;
use crate::spec::proxy::{NoMetadata, Proxy};
use crate::testing::{self, FixedAttributes, pairs};

fn read_match(text: &str) -> Result<HttpMatch, String> {
    let proxy = Proxy::new(&NoMetadata);
    let gateways = ["edge".to_owned()];
    let scope = Scope { namespace: None, proxy: &proxy, gateways: &gateways, is_delegate: false };
    testing::read(text, |node| HttpMatch::read(node, &scope))
}

fn matched(text: &str, headers: &[(&str, &str)]) -> Option<MatchedPath> {
    let headers = pairs(headers);
    let attributes = FixedAttributes { port: Some(80), ..Default::default() };
    read_match(text).unwrap().matches(&Request::new(&headers, &attributes))
}

fn path_matches(text: &str, path: &str) -> Option<MatchedPath> {
    matched(text, &[(":path", path)])
}

#[test]
fn paths_match_without_query_and_prefixes_within_segments() {
    use MatchedPath::{Prefix, Whole};
    let prefix = r#"{"uri": {"prefix": "/foo"}}"#;
    assert_eq!(path_matches(prefix, "/foobar?x"), Some(Prefix(4)));
    assert_eq!(path_matches(prefix, "/fo"), None);
    assert_eq!(path_matches(r#"{"uri": {"exact": "/foo"}}"#, "/foo?x=/bar"), Some(Whole));
    assert_eq!(path_matches(r#"{"uri": {"regex": "/t[io]c"}}"#, "/tic?tac"), Some(Whole));
    assert_eq!(path_matches(r#"{"uri": {"regex": "/t[io]c"}}"#, "/tick"), None);
    assert_eq!(path_matches(r#"{"uri": {"prefix": ""}}"#, "/x"), Some(Prefix(0)));
    assert_eq!(path_matches("{}", "/x"), Some(Prefix(1)));
    assert_eq!(path_matches("{}", "*"), None);
    let folded = r#"{"uri": {"prefix": "/API"}, "ignoreUriCase": true}"#;
    assert_eq!(path_matches(folded, "/api/x"), Some(Prefix(4)));
    let exact = r#"{"uri": {"exact": "/API"}, "ignoreUriCase": true}"#;
    assert_eq!([path_matches(exact, "/api"), path_matches(exact, "/apis")], [Some(Whole), None]);
}

#[test]
fn all_kinds_of_conditions_must_hold() {
    let text = r#"{"method": {"exact": "GET"}, "scheme": {"exact": "http"}, "port": 80,
        "authority": {"prefix": "a."}, "headers": {"Host": {"exact": "a.com:80"}, "x": {}},
        "withoutHeaders": {"y": {}}, "queryParams": {"q": {"exact": "1"}}}"#;
    let good = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.com:80"),
        (":path", "/?q=1"),
        ("x", ""),
    ];
    assert!(matched(text, &good).is_some());
    for index in 0..good.len() {
        let mut less = good.to_vec();
        less.remove(index);
        assert!(matched(text, &less).is_none(), "{:?}", good[index]);
    }
    let more = [&good[..], &[("y", "")][..]].concat();
    assert!(matched(text, &more).is_none());
    assert!(matched(&text.replace("80,", "81,"), &good).is_none());
}

#[test]
fn a_catch_all_has_no_condition() {
    let is_catch_all = |text: &str| read_match(text).unwrap().is_catch_all();
    for text in
        ["{}", r#"{"uri": {"prefix": "/"}}"#, r#"{"uri": {"regex": ".*"}}"#, r#"{"name": "n"}"#]
    {
        assert!(is_catch_all(text), "{text}");
    }
    for text in [
        r#"{"uri": {"prefix": "/"}, "headers": {"x": {}}}"#,
        r#"{"uri": {"regex": ".*"}, "queryParams": {"x": {}}}"#,
        r#"{"uri": {"prefix": "/a"}}"#,
        r#"{"port": 80}"#,
        r#"{"sourceNamespace": "x"}"#,
    ] {
        assert!(!is_catch_all(text), "{text}");
    }
}

#[test]
fn rejects_invalid_fields() {
    let text = r#"{"uri": {}, "headers": {"a": null, ":status": {}, "b": {"regex": "*"}},
        "port": 70000, "gateways": ["mesh"], "sourceNamespace": "a b", "withoutHeaders": {"c": 1}}"#;
    assert_eq!(
        read_match(text).unwrap_err(),
        "uri: must have one of exact, prefix, regex\n\
         headers.a: null is not an object\n\
         headers[\":status\"]: \":status\" is a pseudo-header that cannot be used here\n\
         headers.b.regex: \"*\" is not a regular expression: repetition operator missing expression\n\
         port: 70000 is not in the range 1 to 65535\n\
         sourceNamespace: \"a b\" is not a namespace\n\
         withoutHeaders.c: 1 is not an object"
    );
}
