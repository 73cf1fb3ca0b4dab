//! `HTTPMatchRequest`: the conditions under which a route applies. All of them have to hold.

mod explain;
mod lint;

use crate::bytes;
use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::lookup::rule_index::{Key, Need, Subject};
use crate::request::Request;
use crate::spec::claim::{self, ClaimCondition};
use crate::spec::header_condition::HeaderCondition;
use crate::spec::proxy::{Proxy, read_gateways, read_labels};
use crate::spec::string_match::{self, EmptyPrefix, StringMatch, ValueMatch};
use crate::value::host_name;

/// What a match is read in.
pub struct Scope<'a> {
    /// The namespace of the document
    pub namespace: Option<&'a str>,
    /// The proxy that runs the policy
    pub proxy: &'a Proxy<'a>,
    /// Whether the virtual service is bound to gateways other than the mesh
    pub is_for_gateway: bool,
}

/// One entry of `match[]`, compiled.
#[derive(Clone, Debug)]
pub struct HttpMatch {
    /// `name`, for logs
    pub name: Option<String>,
    /// Whether the conditions on the proxy hold: gateways, source labels and source namespace
    pub is_for_this_proxy: bool,
    uri: Option<StringMatch>,
    ignore_uri_case: bool,
    scheme: Option<StringMatch>,
    method: Option<StringMatch>,
    authority: Option<StringMatch>,
    headers: Box<[HeaderCondition]>,
    claims: Box<[ClaimCondition]>,
    query: Box<[(Box<[u8]>, ValueMatch)]>,
    port: Option<u16>,
}

/// The part of the path that a match was about, which a rewrite replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchedPath {
    /// This many bytes from the start.
    Prefix(usize),
    /// All of it.
    Whole,
}

impl HttpMatch {
    /// A match without conditions: every request with a path.
    pub fn any() -> Self {
        Self {
            name: None,
            is_for_this_proxy: true,
            uri: None,
            ignore_uri_case: false,
            scheme: None,
            method: None,
            authority: None,
            headers: Box::default(),
            claims: Box::default(),
            query: Box::default(),
            port: None,
        }
    }

    /// Reads one entry of `match[]`.
    pub fn read(node: &Node<'_>, scope: &Scope<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let condition = |node: Option<Node<'_>>, empty| string_match::read(&node?, empty);
        let mut read = Self {
            name: object.string("name").map(str::to_owned),
            uri: condition(object.field("uri"), EmptyPrefix::Allowed),
            scheme: condition(object.field("scheme"), EmptyPrefix::Refused),
            method: condition(object.field("method"), EmptyPrefix::Refused),
            authority: condition(object.field("authority"), EmptyPrefix::Refused),
            ..Self::any()
        };
        read.ignore_uri_case =
            object.field("ignoreUriCase").and_then(|node| node.boolean()).unwrap_or_default();
        let (mut headers, mut claims) = (Vec::new(), Vec::new());
        for (field, is_inverted) in [("headers", false), ("withoutHeaders", true)] {
            let node = object.field(field);
            read_headers(node, is_inverted, scope, &mut headers, &mut claims);
        }
        (read.headers, read.claims) = (headers.into(), claims.into());
        let mut query = Vec::new();
        for (name, node) in object.field("queryParams").map_or(Vec::new(), |node| node.entries()) {
            if let Some(condition) = string_match::read_value_match(&node) {
                query.push((name.as_bytes().into(), condition));
            }
        }
        read.query = query.into();
        read.port = object.port("port");
        read.is_for_this_proxy = is_for_proxy(&mut object, scope);
        if let Some(node) = object.field("statPrefix") {
            node.notice_to(Filter::Router, "is not carried out by this filter, set it in Envoy");
        }
        Some(read)
    }

    /// The part of the path that matched, if all conditions hold.
    #[inline]
    pub fn matches(&self, request: &Request<'_>) -> Option<MatchedPath> {
        let matched = self.match_path(request.path())?;
        let holds = |condition: &Option<StringMatch>, value: &[u8]| {
            condition.as_ref().is_none_or(|condition| condition.is_match(value))
        };
        let all = holds(&self.method, request.method)
            && holds(&self.scheme, request.scheme)
            && holds(&self.authority, request.authority)
            && self.headers.iter().all(|header| header.holds(request))
            && self
                .query
                .iter()
                .all(|(name, condition)| condition.is_match(request.query_parameter(name)))
            && self.claims.iter().all(|claim| claim.holds(request))
            && self.port.is_none_or(|port| request.destination_port() == Some(port));
        all.then_some(matched)
    }

    #[inline]
    fn match_path(&self, path: &[u8]) -> Option<MatchedPath> {
        let is_start = |prefix: &[u8]| {
            if !self.ignore_uri_case {
                return bytes::start_with(path, prefix);
            }
            path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        match &self.uri {
            // As a prefix of "/": neither CONNECT nor "OPTIONS *" has that.
            None => (path.first() == Some(&b'/')).then_some(MatchedPath::Prefix(1)),
            Some(StringMatch::Exact(exact)) => {
                (path.len() == exact.len() && is_start(exact)).then_some(MatchedPath::Whole)
            }
            Some(StringMatch::Prefix(prefix)) => {
                is_start(prefix).then_some(MatchedPath::Prefix(prefix.len()))
            }
            Some(StringMatch::Regex(pattern)) => {
                pattern.is_match(path).then_some(MatchedPath::Whole)
            }
        }
    }

    /// Conditions that have to hold, for an index; not all there are.
    #[inline(never)]
    pub fn keys(&self) -> Vec<Key<'_>> {
        let path = match &self.uri {
            // Always as it is written.
            Some(StringMatch::Regex(_)) => Subject::Path,
            _ if self.ignore_uri_case => Subject::PathInAnyCase,
            _ => Subject::Path,
        };
        let values = [
            (path, &self.uri),
            (Subject::Method, &self.method),
            (Subject::Authority, &self.authority),
        ];
        let values =
            values.into_iter().filter_map(|(of, value)| Some((of, value.as_ref()?.need())));
        let headers = self.headers.iter().filter_map(HeaderCondition::key);
        let query = self.query.iter().map(|(name, value)| (Subject::Query(name), value.need()));
        // Every path starts with nothing, and so does every method. Of what may be absent it says that
        // it is there.
        let tells = |key: &Key<'_>| key.1 != Need::Prefix(&[]) || key.0.may_be_absent();
        values.chain(headers).chain(query).filter(tells).collect()
    }

    /// Whether the path is matched as a whole, by `exact` or `regex`.
    pub fn matches_whole_path(&self) -> bool {
        matches!(self.uri, Some(StringMatch::Exact(_) | StringMatch::Regex(_)))
    }

    /// Whether every request with a path matches, so that nothing after it is ever reached.
    pub fn is_catch_all(&self) -> bool {
        let any_path = match &self.uri {
            None => true,
            Some(StringMatch::Prefix(prefix)) => matches!(&**prefix, b"" | b"/"),
            Some(StringMatch::Regex(pattern)) => pattern.is_anything(),
            Some(StringMatch::Exact(_)) => false,
        };
        any_path
            && self.is_for_this_proxy
            && self.scheme.is_none()
            && self.method.is_none()
            && self.authority.is_none()
            && self.headers.is_empty()
            && self.claims.is_empty()
            && self.query.is_empty()
            && self.port.is_none()
    }
}

/// Reads `headers` or, inverted, `withoutHeaders`.
fn read_headers(
    node: Option<Node<'_>>,
    is_inverted: bool,
    scope: &Scope<'_>,
    headers: &mut Vec<HeaderCondition>,
    claims: &mut Vec<ClaimCondition>,
) {
    for (name, node) in node.map_or(Vec::new(), |node| node.entries()) {
        let condition = if is_inverted {
            read_without_header(&node)
        } else {
            string_match::read_value_match(&node)
        };
        if claim::is_claim(name) {
            let path = claim::path_of(name);
            if path.is_none() {
                node.error(format_args!(
                    "{name:?} is not a claim, write @request.auth.claims.NAME"
                ));
            }
            if !scope.is_for_gateway {
                node.error("is for virtual services of a gateway, set gateways");
            }
            if let (Some(path), Some(condition)) = (path, condition) {
                claims.push(ClaimCondition { path, condition, is_inverted });
            }
            continue;
        }
        headers.extend(HeaderCondition::new(&node, name, condition, is_inverted));
    }
}

/// Whether the conditions on the proxy hold. As in Istio, `gateways` replaces the two others.
pub(crate) fn is_for_proxy(object: &mut Object<'_>, scope: &Scope<'_>) -> bool {
    let labels = object.field("sourceLabels").map_or(Vec::new(), |node| read_labels(&node));
    let namespace = object.field("sourceNamespace");
    let namespace = namespace.and_then(|node| {
        let namespace = node.string().filter(|namespace| !namespace.is_empty())?;
        if !host_name::is_label(namespace) {
            node.invalid("is not a namespace");
        }
        Some(namespace)
    });
    if let Some(node) = object.field("gateways") {
        let gateways = read_gateways(&node, scope.namespace);
        if !gateways.is_empty() {
            let served = scope.proxy.serves(&gateways);
            if served.is_none() {
                node.error(
                    "needs proxy.gateways, the gateways that this proxy serves (mesh for a sidecar)",
                );
            }
            return served.unwrap_or_default();
        }
    }
    scope.proxy.has_labels(&labels)
        && namespace.is_none_or(|namespace| scope.proxy.is_in_namespace(namespace))
}

/// A condition of `withoutHeaders`, where `null` and the regex `*` ask for absence like `{}`.
fn read_without_header(node: &Node<'_>) -> Option<ValueMatch> {
    use crate::document::json::Json;
    match node.json {
        Json::Null => Some(ValueMatch::Present),
        Json::Object(fields) => match fields.as_slice() {
            [(name, Json::String(regex))] if name == "regex" && regex == "*" => {
                Some(ValueMatch::Present)
            }
            _ => string_match::read_value_match(node),
        },
        _ => string_match::read_value_match(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::proxy::NoMetadata;
    use crate::testing::{self, FixedAttributes, pairs};

    fn read_match(text: &str) -> Result<HttpMatch, String> {
        let proxy = Proxy::read(None, &NoMetadata);
        let scope = Scope { namespace: None, proxy: &proxy, is_for_gateway: true };
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
    fn paths_match_without_the_query_and_prefixes_anywhere() {
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
        assert_eq!(
            [path_matches(exact, "/api"), path_matches(exact, "/apis")],
            [Some(Whole), None]
        );
    }

    #[test]
    fn conditions_of_every_kind_have_to_hold() {
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
    fn catch_alls_have_no_condition() {
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
    fn refusals() {
        let text = r#"{"uri": {}, "headers": {"a": null, ":status": {}, "b": {"regex": "*"}},
            "port": 70000, "gateways": ["mesh"], "sourceNamespace": "a b", "withoutHeaders": {"c": 1}}"#;
        assert_eq!(
            read_match(text).unwrap_err(),
            "uri: has none of exact, prefix and regex\n\
             headers.a: null is not an object\n\
             headers[\":status\"]: \":status\" is a pseudo-header that cannot be used here\n\
             headers.b.regex: \"*\" is not a regular expression: repetition operator missing expression\n\
             port: 70000 is not in 1..=65535\n\
             gateways: needs proxy.gateways, the gateways that this proxy serves (mesh for a sidecar)\n\
             sourceNamespace: \"a b\" is not a namespace\n\
             withoutHeaders.c: 1 is not an object"
        );
    }
}
