//! `HTTPRouteMatch`: conditions on an HTTP request.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::gateway_api::precedence::{PathRank, Rank};
use crate::spec::gateway_api::value_match::{NamedMatch, read_headers, read_query};
use crate::spec::http_match::HttpMatch;
use crate::spec::string_match::StringMatch;
use crate::value::pattern::read_pattern;

/// A match with its rank.
pub struct Ranked {
    /// The conditions
    pub conditions: HttpMatch,
    /// Rank among all matches of a host
    pub rank: Rank,
    /// Whether the condition on the path is a prefix, so that a part of the path can be replaced
    pub is_prefix: bool,
}

/// `HTTPRouteMatch`
pub struct HttpRouteMatch;

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fields!(HttpRouteMatch as "GatewayHTTPRouteMatch",
    "Conditions on a request; all of them must hold.", {
    "path": Kind::Object(PathMatch::schema) =>
        "Condition on the path without the query; the prefix / if absent.";
    "headers": Kind::List(&Kind::Object(NamedMatch::schema)) => "Conditions on headers.";
    "queryParams": Kind::List(&Kind::Object(NamedMatch::schema)) =>
        "Conditions on query parameters.";
    "method": Kind::OneOf(&METHODS) => "The method.";
});

/// `HTTPPathMatch`
struct PathMatch;

const PATH_TYPES: [&str; 3] = ["Exact", "PathPrefix", "RegularExpression"];

fields!(PathMatch as "GatewayPathMatch", "A condition on the path.", {
    "type": Kind::OneOf(&PATH_TYPES) =>
        "PathPrefix (default), which consists of whole path elements, Exact, or \
         RegularExpression (RE2, the whole path).";
    "value": Kind::Text => "The path, prefix or regular expression; / if absent.";
});

impl Ranked {
    /// A match for all requests with a path.
    pub fn any() -> Self {
        let rank = Rank { length: 1, ..Rank::default() };
        Self { conditions: HttpMatch::any(), rank, is_prefix: true }
    }

    /// A match for all gRPC requests.
    pub fn any_grpc() -> Self {
        let rank = Rank { path: PathRank::Any, ..Rank::default() };
        Self { rank, ..Self::any() }
    }

    /// Reads an entry of `matches`.
    pub fn read_http(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<HttpRouteMatch>()?;
        let path = object.optional("path", read_path);
        let headers = read_headers(&object);
        let query = read_query(&object);
        let method = object.optional("method", |node| node.one_of(&METHODS));
        let mut found = path?.unwrap_or_else(Self::any);
        let (headers, query, method) = (headers?, query?, method?);
        let Rank { path, length, .. } = found.rank;
        found.rank = Rank {
            path,
            length,
            method_length: 0,
            has_method: method.is_some(),
            headers: headers.len(),
            query: query.len(),
        };
        found.conditions.method = method.map(|own| StringMatch::Exact(own.as_bytes().into()));
        found.conditions.headers = headers.into();
        found.conditions.query = query.into();
        Ok(found)
    }

    /// A match with a condition on the path.
    pub fn of_path(uri: StringMatch, path: PathRank, length: usize) -> Self {
        let mut found = Self::any();
        found.conditions.uri = Some(uri);
        found.rank = Rank { path, length, ..Rank::default() };
        found.is_prefix = path == PathRank::Prefix;
        found
    }
}

fn read_path(node: &Node<'_>) -> Result<Ranked, Reported> {
    let object = node.object::<PathMatch>()?;
    let kind = object.optional("type", |node| node.one_of(&PATH_TYPES));
    let value = object.optional("value", |node| Ok((*node, node.string()?)));
    let (kind, value) = (kind?.unwrap_or("PathPrefix"), value?);
    let text = value.map_or("/", |(_, text)| text);
    if let (Some((node, _)), true) = (value, kind != "RegularExpression") {
        check_path(&node, text)?;
    }
    let path = |text: &str| text.as_bytes().into();
    Ok(match (kind, value) {
        ("RegularExpression", Some((node, _))) => {
            Ranked::of_path(StringMatch::Regex(read_pattern(&node)?), PathRank::Regex, text.len())
        }
        ("PathPrefix", _) => match text.strip_suffix('/').unwrap_or(text) {
            "" => Ranked::any(),
            prefix => {
                let uri = StringMatch::Prefix(path(prefix));
                let mut found = Ranked::of_path(uri, PathRank::Prefix, prefix.len());
                found.conditions.is_by_element = true;
                found
            }
        },
        _ => Ranked::of_path(StringMatch::Exact(path(text)), PathRank::Exact, text.len()),
    })
}

/// Checks a path as the validation of `HTTPPathMatch` does.
fn check_path(node: &Node<'_>, path: &str) -> Result<(), Reported> {
    let is_path_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@%".contains(&byte);
    let is_refused = ["//", "/./", "/../", "%2f", "%2F"].iter().any(|part| path.contains(part));
    if !path.starts_with('/') {
        Err(node.invalid("does not start with /"))
    } else if is_refused || path.ends_with("/.") || path.ends_with("/..") {
        Err(node.invalid("has //, a dot segment or %2F, which no normalized path has"))
    } else if !path.bytes().all(is_path_byte) {
        Err(node.invalid("has a character that a path cannot have; escape it with %"))
    } else {
        Ok(())
    }
}
