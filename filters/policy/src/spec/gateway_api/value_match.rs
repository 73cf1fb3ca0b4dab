//! Conditions on headers and query parameters: `HTTPHeaderMatch`, `HTTPQueryParamMatch` and
//! `GRPCHeaderMatch`, which have the same fields.

use crate::document::fields::fields;
use crate::document::json::Quoted;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::name_set::NameSet;
use crate::spec::header_condition::HeaderCondition;
use crate::spec::string_match::{StringMatch, ValueMatch};
use crate::value::header::is_token;
use crate::value::pattern::read_pattern;

/// A condition on a value with a name.
pub struct NamedMatch;

/// Types of conditions.
pub const TYPES: [&str; 2] = ["Exact", "RegularExpression"];

/// A value with at least one character.
pub const NOT_EMPTY: &str = r"[\s\S]+";

fields!(NamedMatch as "GatewayValueMatch", "A condition on a header or query parameter.", {
    "type": Kind::OneOf(&TYPES) => "Exact (default), or RegularExpression (RE2, the whole value).";
    "name" required: Kind::TOKEN =>
        "Name of the header or query parameter; case matters only for the latter.";
    "value" required: Kind::Pattern(NOT_EMPTY) => "The value, or a regular expression.";
});

/// A name, and the condition on its value.
type Named<'a> = (Node<'a>, &'a str, ValueMatch);

/// Reads `headers` of a match.
#[inline(never)]
pub fn read_headers(object: &Object<'_>) -> Result<Vec<HeaderCondition>, Reported> {
    let (mut headers, mut seen) = (Vec::new(), NameSet::default());
    let mut result = Ok(());
    for named in object.list("headers", read)? {
        let (node, name, condition) = named;
        match HeaderCondition::new(&node, name, Ok(condition), false) {
            Err(reported) => result = Err(reported),
            Ok(own) if seen.insert(own.name.as_bytes()) => headers.push(own),
            Ok(_) => repeated(&node),
        }
    }
    result.map(|()| headers)
}

/// A query parameter with the condition on its value.
pub type QueryMatch = (Box<[u8]>, ValueMatch);

/// Reads `queryParams` of a match.
#[inline(never)]
pub fn read_query(object: &Object<'_>) -> Result<Vec<QueryMatch>, Reported> {
    let (mut query, mut seen) = (Vec::<QueryMatch>::new(), NameSet::default());
    let mut result = Ok(());
    for (node, name, condition) in object.list("queryParams", read)? {
        if !is_token(name) {
            let reason = format_args!("{} is not the name of a query parameter", Quoted(name));
            result = Err(node.error(reason));
        } else if !seen.insert(name.as_bytes()) {
            repeated(&node);
        } else {
            query.push((name.as_bytes().into(), condition));
        }
    }
    result.map(|()| query)
}

/// Reports a condition whose name an earlier one has. The specification requires that only the
/// first is used.
fn repeated(node: &Node<'_>) {
    let reason = "has no effect, because an earlier condition has the same name";
    node.notice(report::Kind::NoEffect, reason);
}

fn read<'a>(node: &Node<'a>) -> Result<Named<'a>, Reported> {
    let object = node.object::<NamedMatch>()?;
    let is_regex = object.optional("type", |node| node.one_of(&TYPES));
    let name = object.required("name").and_then(|node| Ok((node, node.string()?)));
    let value = object.required("value").and_then(|node| match node.string()? {
        "" => Err(node.error("must not be empty")),
        text => Ok((node, text)),
    });
    let condition = match (is_regex?, value?) {
        (Some("RegularExpression"), (node, _)) => StringMatch::Regex(read_pattern(&node)?),
        (_, (_, text)) => StringMatch::Exact(text.as_bytes().into()),
    };
    let (node, name) = name?;
    Ok((node, name, ValueMatch::Value(condition)))
}
