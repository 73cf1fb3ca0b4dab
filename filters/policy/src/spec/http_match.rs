//! `HTTPMatchRequest`: conditions on a request. A request must satisfy all of them.

use crate::bytes;
use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::json::{Json, Quoted};
use crate::document::node::{Node, Object, all};
use crate::document::report::{self, Reported};
use crate::lookup::rule_index::{Key, Need, Subject};
use crate::request::Request;
use crate::spec::claim::{self, ClaimCondition};
use crate::spec::header_condition::HeaderCondition;
use crate::spec::scope::{Scope, is_for_proxy, read_port};
use crate::spec::string_match::{self, EmptyPrefix, StringMatch, ValueMatch};

/// One entry of `match[]`, compiled.
#[derive(Clone, Debug)]
pub struct HttpMatch {
    /// `name`, used in logs
    pub name: Option<String>,
    /// Whether the proxy satisfies `gateways`, `sourceLabels` and `sourceNamespace`
    pub is_for_this_proxy: bool,
    pub(crate) uri: Option<StringMatch>,
    pub(crate) ignore_uri_case: bool,
    /// Whether a prefix of the path consists of whole path elements: `/foo` is no prefix of
    /// `/foobar`. It does not end with a slash then
    pub(crate) is_by_element: bool,
    pub(crate) scheme: Option<StringMatch>,
    pub(crate) method: Option<StringMatch>,
    pub(crate) authority: Option<StringMatch>,
    pub(crate) headers: Box<[HeaderCondition]>,
    pub(crate) claims: Box<[ClaimCondition]>,
    pub(crate) query: Box<[(Box<[u8]>, ValueMatch)]>,
    pub(crate) port: Option<u16>,
}

fields!(HttpMatch, "Conditions on a request; all of them must hold.", {
    "name": Kind::Text => "Name of the match in logs.";
    "uri": StringMatch::KIND => "Condition on the path without the query.";
    "ignoreUriCase": Kind::Boolean =>
        "Whether exact and prefix of uri ignore case; false if absent.";
    "scheme": StringMatch::KIND => "Condition on the scheme, http or https.";
    "method": StringMatch::KIND => "Condition on the method, such as GET.";
    "authority": StringMatch::KIND =>
        "Condition on the host, including the port if the request has one.";
    "headers": Kind::Map(&Kind::Object(StringMatch::schema)) =>
        "Conditions on headers, by name; {} requires that the header is present.";
    "withoutHeaders": Kind::Map(&Kind::Nullable(&Kind::Object(StringMatch::schema))) =>
        "Conditions on headers that must not hold, by name; {} requires that the header is absent.";
    "queryParams": Kind::Map(&Kind::Object(StringMatch::schema)) =>
        "Conditions on query parameters, by name; {} requires that the parameter is present.";
    "port": Kind::Integer(0, 65535) =>
        "Port that the client connected to; any port if absent or 0.";
    "sourceLabels": Kind::LABELS => "Labels that the workload of this proxy must have.";
    "sourceNamespace": Kind::OPTIONAL_LABEL => "Namespace that the workload of this proxy must be in.";
    "gateways": Kind::GATEWAYS =>
        "Gateways of which this proxy must serve one; replaces those of the virtual service.";
    "statPrefix": Kind::Text => "Not carried out by the filters; set it in Envoy's route.";
});

/// Part of the path that matched; a rewrite replaces this part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchedPath {
    /// The first bytes of the path; the value is their number.
    Prefix(usize),
    /// The whole path.
    Whole,
}

impl HttpMatch {
    /// Returns a match without conditions, which matches every request with a path.
    pub fn any() -> Self {
        Self {
            name: None,
            is_for_this_proxy: true,
            uri: None,
            ignore_uri_case: false,
            is_by_element: false,
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
    pub fn read(node: &Node<'_>, scope: &Scope<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let condition =
            |name, empty| object.optional(name, |node: &Node<'_>| string_match::read(node, empty));
        let name = object.string("name");
        let uri = condition("uri", EmptyPrefix::Allowed);
        let scheme = condition("scheme", EmptyPrefix::Refused);
        let method = condition("method", EmptyPrefix::Refused);
        let authority = condition("authority", EmptyPrefix::Refused);
        let ignore_uri_case = object.flag("ignoreUriCase");
        let headers = read_headers(&object, scope);
        let query = object.entries("queryParams").and_then(|entries| {
            all(entries.iter().map(|(name, node)| {
                Ok((name.as_bytes().into(), string_match::read_value_match(node)?))
            }))
        });
        let port = read_port(&object, scope);
        let is_for_this_proxy = is_for_proxy(&object, scope);
        let stat_prefix = object.optional("statPrefix", |node| {
            let reason = "is left to Envoy, set it in Envoy's route";
            node.notice_to(Filter::Router, report::Kind::LeftToEnvoy, reason);
            node.string()
        });
        stat_prefix?;
        let ((headers, claims), (port, has_port)) = (headers?, port?);
        Ok(Self {
            name: name?.map(str::to_owned),
            is_for_this_proxy: is_for_this_proxy? && has_port,
            uri: uri?,
            ignore_uri_case: ignore_uri_case?,
            is_by_element: false,
            scheme: scheme?,
            method: method?,
            authority: authority?,
            headers: headers.into(),
            claims: claims.into(),
            query: query?.into(),
            port,
        })
    }

    /// Returns the part of the path that matched, or `None` if a condition does not hold.
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
    pub(crate) fn match_path(&self, path: &[u8]) -> Option<MatchedPath> {
        let is_start = |prefix: &[u8]| {
            if !self.ignore_uri_case {
                return bytes::start_with(path, prefix);
            }
            path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        match &self.uri {
            // Equal to the prefix "/", which excludes CONNECT and "OPTIONS *".
            None => (path.first() == Some(&b'/')).then_some(MatchedPath::Prefix(1)),
            Some(StringMatch::Exact(exact)) => {
                (path.len() == exact.len() && is_start(exact)).then_some(MatchedPath::Whole)
            }
            Some(StringMatch::Prefix(prefix)) => {
                let ends_here = || path.get(prefix.len()).is_none_or(|next| *next == b'/');
                let is_match = is_start(prefix) && (!self.is_by_element || ends_here());
                is_match.then_some(MatchedPath::Prefix(prefix.len()))
            }
            Some(StringMatch::Regex(pattern)) => {
                pattern.is_match(path).then_some(MatchedPath::Whole)
            }
        }
    }

    /// Adds index keys: conditions that every matching request satisfies. Not every condition has a
    /// key.
    #[inline(never)]
    pub fn keys<'a>(&'a self, keys: &mut Vec<Key<'a>>) {
        let path = match &self.uri {
            // A regular expression does not depend on `ignoreUriCase`.
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
        // An empty prefix selects only among requests in which the subject may be absent.
        let is_selective = |key: &Key<'_>| key.1 != Need::Prefix(&[]) || key.0.may_be_absent();
        keys.extend(values.chain(headers).chain(query).filter(is_selective));
    }

    /// Returns whether the match compares the whole path, by `exact` or `regex`.
    pub fn matches_whole_path(&self) -> bool {
        matches!(self.uri, Some(StringMatch::Exact(_) | StringMatch::Regex(_)))
    }

    /// Returns whether every request with a path matches, so that no later match is reached.
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

/// Reads `headers`, and `withoutHeaders` as inverted conditions.
fn read_headers(
    object: &Object<'_>,
    scope: &Scope<'_>,
) -> Result<(Vec<HeaderCondition>, Vec<ClaimCondition>), Reported> {
    let (mut headers, mut claims) = (Vec::new(), Vec::new());
    let mut failure = None;
    for (field, is_inverted) in [("headers", false), ("withoutHeaders", true)] {
        let entries = object.entries(field);
        failure = entries.as_ref().err().copied().or(failure);
        let entries = entries.unwrap_or_default();
        headers.reserve_exact(entries.len());
        for (name, node) in entries {
            let condition = match is_inverted {
                true => read_without_header(&node),
                false => string_match::read_value_match(&node),
            };
            let read = if claim::is_claim(name) {
                read_claim(&node, name, condition, is_inverted, scope).map(|own| claims.push(own))
            } else {
                HeaderCondition::new(&node, name, condition, is_inverted)
                    .map(|own| headers.push(own))
            };
            failure = read.err().or(failure);
        }
    }
    failure.map_or(Ok((headers, claims)), Err)
}

fn read_claim(
    node: &Node<'_>,
    name: &str,
    condition: Result<ValueMatch, Reported>,
    is_inverted: bool,
    scope: &Scope<'_>,
) -> Result<ClaimCondition, Reported> {
    let path = claim::path_of(name).ok_or_else(|| {
        node.error(format_args!("{} is not a claim; write @request.auth.claims.NAME", Quoted(name)))
    });
    node.needs_wasm(
        "cannot be read by a dynamic module; let Envoy's jwt_authn filter copy the claim to a header \
         (claim_to_headers), or use the wasm module",
    )?;
    if !scope.is_for_gateway() {
        return Err(node.error("can only be used in a virtual service with gateways"));
    }
    Ok(ClaimCondition { path: path?, condition: condition?, is_inverted })
}

/// Reads a condition of `withoutHeaders`. Like `{}`, `null` and the regex `*` require that the
/// header is absent.
fn read_without_header(node: &Node<'_>) -> Result<ValueMatch, Reported> {
    match node.json {
        Json::Null => Ok(ValueMatch::Present),
        Json::Object(fields) => match fields.as_slice() {
            [(name, Json::String(regex))] if name == "regex" && regex == "*" => {
                Ok(ValueMatch::Present)
            }
            _ => string_match::read_value_match(node),
        },
        _ => string_match::read_value_match(node),
    }
}

#[cfg(test)]
mod tests;
