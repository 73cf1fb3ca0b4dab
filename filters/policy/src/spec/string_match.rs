//! Istio's `StringMatch`: `exact`, `prefix` or `regex`.

use crate::bytes;
use crate::document::node::Node;
use crate::lookup::rule_index::Need;
use crate::value::pattern::{Pattern, read_pattern};

/// A condition on one value, by bytes and with case.
#[derive(Clone, Debug)]
pub enum StringMatch {
    /// The value is this one.
    Exact(Box<[u8]>),
    /// The value starts with this. A raw prefix: `/foo` is one of `/foobar`.
    Prefix(Box<[u8]>),
    /// The whole value matches.
    Regex(Pattern),
}

impl StringMatch {
    /// Whether `value` satisfies the condition.
    #[inline]
    pub fn is_match(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => bytes::equal(value, exact),
            Self::Prefix(prefix) => bytes::start_with(value, prefix),
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }

    /// What a value has to have to satisfy the condition.
    pub fn need(&self) -> Need<'_> {
        match self {
            Self::Exact(exact) => Need::Exact(exact),
            Self::Prefix(prefix) => Need::Prefix(prefix),
            Self::Regex(pattern) => Need::Prefix(pattern.start()),
        }
    }
}

/// What Istio does with a prefix of no characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyPrefix {
    /// Of a path: every path has it.
    Allowed,
    /// Of anything else: refused.
    Refused,
}

/// Reads a `StringMatch`, which has exactly one of its three fields.
pub fn read(node: &Node<'_>, empty_prefix: EmptyPrefix) -> Option<StringMatch> {
    match read_optional(node, empty_prefix)? {
        Some(condition) => Some(condition),
        None => {
            node.error("has none of exact, prefix and regex");
            None
        }
    }
}

/// Reads a `StringMatch` that may be empty: `Some(None)` for `{}`, `None` after an error.
pub fn read_optional(node: &Node<'_>, empty_prefix: EmptyPrefix) -> Option<Option<StringMatch>> {
    let mut object = node.object()?;
    let given = ["exact", "prefix", "regex"].map(|name| Some((name, object.field(name)?)));
    let mut given = given.into_iter().flatten();
    let Some((name, value)) = given.next() else {
        return Some(None);
    };
    if let Some((other, _)) = given.next() {
        node.error(format_args!("has both {name} and {other}"));
        return None;
    }
    let condition = match name {
        "exact" => StringMatch::Exact(value.string()?.as_bytes().into()),
        "prefix" => {
            let prefix = value.string()?;
            if prefix.is_empty() && empty_prefix == EmptyPrefix::Refused {
                value.error("is an empty prefix");
                return None;
            }
            StringMatch::Prefix(prefix.as_bytes().into())
        }
        _ => StringMatch::Regex(read_pattern(&value)?),
    };
    Some(Some(condition))
}

/// A condition on something that may be absent: a header, a query parameter or a claim.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// It is there, whatever its value, the empty one included (`{}`).
    Present,
    /// It is there and its value matches.
    Value(StringMatch),
}

impl ValueMatch {
    /// Whether `value` satisfies the condition; `None` is absent and never does.
    #[inline]
    pub fn is_match(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (_, None) => false,
            (Self::Present, Some(_)) => true,
            (Self::Value(condition), Some(value)) => condition.is_match(value),
        }
    }

    /// What a value has to have to satisfy the condition.
    pub fn need(&self) -> Need<'_> {
        match self {
            Self::Present => Need::Present,
            Self::Value(condition) => condition.need(),
        }
    }

    /// Whether `value` satisfies the opposite, as `withoutHeaders` asks: an absent header counts as
    /// an empty one, unless it is the presence that is asked for.
    #[inline]
    pub fn is_no_match(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Present => value.is_none(),
            Self::Value(condition) => !condition.is_match(value.unwrap_or_default()),
        }
    }
}

/// Reads a `StringMatch` whose `{}` asks for presence.
pub fn read_value_match(node: &Node<'_>) -> Option<ValueMatch> {
    let condition = read_optional(node, EmptyPrefix::Refused)?;
    Some(condition.map_or(ValueMatch::Present, ValueMatch::Value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read_value(text: &str) -> Result<ValueMatch, String> {
        testing::read(text, read_value_match)
    }

    #[test]
    fn an_absent_value_never_matches_but_may_be_the_opposite() {
        let present = read_value("{}").unwrap();
        assert!(present.is_match(Some(b"")) && !present.is_match(None));
        assert!(present.is_no_match(None) && !present.is_no_match(Some(b"")));
        let exact = read_value(r#"{"exact": "x"}"#).unwrap();
        assert!(exact.is_match(Some(b"x")) && !exact.is_match(None));
        assert!(exact.is_no_match(None) && !exact.is_no_match(Some(b"x")));
        let anything = read_value(r#"{"regex": ".*"}"#).unwrap();
        assert!(!anything.is_no_match(None) && !anything.is_match(None));
        let empty = read_value(r#"{"exact": ""}"#).unwrap();
        assert!(empty.is_match(Some(b"")) && !empty.is_match(None) && !empty.is_no_match(None));
    }

    #[test]
    fn exactly_one_field_is_given() {
        assert_eq!(
            read_value(r#"{"exact": "a", "prefix": "b"}"#).unwrap_err(),
            "configuration: has both exact and prefix"
        );
        assert_eq!(read_value(r#"{"prefix": ""}"#).unwrap_err(), "prefix: is an empty prefix");
        assert_eq!(
            read_value(r#"{"exakt": "a"}"#).unwrap_err(),
            "exakt: unknown field, did you mean \"exact\"?"
        );
    }
}
