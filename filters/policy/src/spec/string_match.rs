//! Istio's `StringMatch`: `exact`, `prefix` or `regex`.

use std::fmt;

use crate::bytes;
use crate::document::fields::{Fields, Kind, fields};
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::lookup::rule_index::Need;
use crate::value::pattern::{Pattern, read_pattern};

/// Condition on one value. Compares bytes, so case matters.
#[derive(Clone, Debug)]
pub enum StringMatch {
    /// The value equals these bytes.
    Exact(Box<[u8]>),
    /// The value starts with these bytes. Ignores path segments: `/foo` is a prefix of `/foobar`.
    Prefix(Box<[u8]>),
    /// The whole value matches the pattern.
    Regex(Pattern),
}

impl StringMatch {
    /// Returns whether `value` satisfies the condition.
    #[inline]
    pub fn is_match(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => bytes::equal(value, exact),
            Self::Prefix(prefix) => bytes::start_with(value, prefix),
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }

    /// Returns whether every value that satisfies `other` satisfies this condition too. Returns
    /// `false` for cases that are not computed: a regular expression covers only exact values that
    /// it matches, and itself.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(own), Self::Exact(other)) => own == other,
            (Self::Prefix(own), Self::Exact(other) | Self::Prefix(other)) => other.starts_with(own),
            (Self::Regex(own), Self::Exact(other)) => own.is_match(other),
            (Self::Regex(own), Self::Regex(other)) => own.as_str() == other.as_str(),
            _ => false,
        }
    }

    /// Returns what every value that satisfies the condition has in common, for an index.
    pub fn need(&self) -> Need<'_> {
        match self {
            Self::Exact(exact) => Need::Exact(exact),
            Self::Prefix(prefix) => Need::Prefix(prefix),
            Self::Regex(pattern) => Need::Prefix(pattern.start()),
        }
    }
}

impl fmt::Display for StringMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "exact {:?}", String::from_utf8_lossy(text)),
            Self::Prefix(text) => write!(f, "prefix {:?}", String::from_utf8_lossy(text)),
            Self::Regex(pattern) => write!(f, "regex {:?}", pattern.as_str()),
        }
    }
}

/// How Istio handles an empty prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyPrefix {
    /// Accepted for paths: it matches every path.
    Allowed,
    /// Rejected for all other values.
    Refused,
}

impl StringMatch {
    /// A condition that must have one of its fields, for a schema.
    pub(crate) const KIND: Kind =
        Kind::AnyOf(&Kind::Object(<Self as Fields>::schema), &["exact", "prefix", "regex"]);
}

fields!(StringMatch, "A condition on a value: exactly one of the three fields.", {
    "exact": Kind::Text => "The value equals this text.";
    "prefix": Kind::Text => "The value starts with this text.";
    "regex": Kind::Pattern(".+") => "The whole value matches this regular expression (RE2).";
});

/// Reads a `StringMatch`. Requires exactly one of its three fields.
pub fn read(node: &Node<'_>, empty_prefix: EmptyPrefix) -> Result<StringMatch, Reported> {
    let object = node.object::<StringMatch>()?;
    read_field(object.exactly_one(StringMatch::NAMES)?, empty_prefix)
}

/// Reads a `StringMatch` that may be empty. Returns `None` for `{}`.
fn read_optional(
    node: &Node<'_>,
    empty_prefix: EmptyPrefix,
) -> Result<Option<StringMatch>, Reported> {
    let object = node.object::<StringMatch>()?;
    let field = object.at_most_one(StringMatch::NAMES)?;
    field.map(|field| read_field(field, empty_prefix)).transpose()
}

/// Reads the field that a `StringMatch` has.
fn read_field(
    (name, value): (&'static str, Node<'_>),
    empty_prefix: EmptyPrefix,
) -> Result<StringMatch, Reported> {
    Ok(match name {
        "exact" => StringMatch::Exact(value.string()?.as_bytes().into()),
        "prefix" => {
            let prefix = value.string()?;
            if prefix.is_empty() && empty_prefix == EmptyPrefix::Refused {
                return Err(value.error("must not be an empty prefix"));
            }
            StringMatch::Prefix(prefix.as_bytes().into())
        }
        _ => StringMatch::Regex(read_pattern(&value)?),
    })
}

/// Condition on a value that may be absent: a header, a query parameter or a claim.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// The value is present; it may be empty (`{}`).
    Present,
    /// The value is present and matches.
    Value(StringMatch),
}

impl ValueMatch {
    /// Returns whether `value` satisfies the condition. `None` is an absent value, which never
    /// satisfies it.
    #[inline]
    pub fn is_match(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (_, None) => false,
            (Self::Present, Some(_)) => true,
            (Self::Value(condition), Some(value)) => condition.is_match(value),
        }
    }

    /// Like [`StringMatch::covers`].
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, _) => true,
            (Self::Value(own), Self::Value(other)) => own.covers(other),
            (Self::Value(_), Self::Present) => false,
        }
    }

    /// Returns what every value that satisfies the condition has in common, for an index.
    pub fn need(&self) -> Need<'_> {
        match self {
            Self::Present => Need::Present,
            Self::Value(condition) => condition.need(),
        }
    }

    /// Returns whether `value` satisfies the inverted condition of `withoutHeaders`. An absent
    /// header counts as an empty one, unless the condition requires only presence.
    #[inline]
    pub fn is_no_match(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Present => value.is_none(),
            Self::Value(condition) => !condition.is_match(value.unwrap_or_default()),
        }
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("any value"),
            Self::Value(condition) => condition.fmt(f),
        }
    }
}

/// Reads a `StringMatch`, of which `{}` requires only presence.
pub fn read_value_match(node: &Node<'_>) -> Result<ValueMatch, Reported> {
    let condition = read_optional(node, EmptyPrefix::Refused)?;
    Ok(condition.map_or(ValueMatch::Present, ValueMatch::Value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read_value(text: &str) -> Result<ValueMatch, String> {
        testing::read(text, read_value_match)
    }

    #[test]
    fn an_absent_value_never_matches_but_may_satisfy_the_inverse() {
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
    fn requires_exactly_one_field() {
        assert_eq!(
            read_value(r#"{"exact": "a", "prefix": "b"}"#).unwrap_err(),
            "configuration: cannot have both exact and prefix"
        );
        assert_eq!(
            read_value(r#"{"prefix": ""}"#).unwrap_err(),
            "prefix: must not be an empty prefix"
        );
        assert_eq!(
            read_value(r#"{"exakt": "a"}"#).unwrap_err(),
            "exakt: unknown field, did you mean \"exact\"?"
        );
    }
}
