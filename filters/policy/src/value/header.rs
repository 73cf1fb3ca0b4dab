//! Header names, and changes to headers.

use std::borrow::Cow;

use crate::document::json::Quoted;
use crate::document::node::Node;
use crate::document::report::Reported;

/// One change to a header map. Edits are applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEdit<'a> {
    /// The kind of change
    pub operation: HeaderOperation,
    /// The header's name in lower case
    pub name: &'a str,
    /// The value; empty for a removal
    pub value: Cow<'a, [u8]>,
}

/// The kind of change that an edit makes to a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOperation {
    /// Adds a value and keeps the existing values.
    Add,
    /// Removes all values of the header.
    Remove,
    /// Replaces all values of the header with one value.
    Set,
}

impl<'a> HeaderEdit<'a> {
    /// Removes all values of `name`.
    #[inline]
    pub fn remove(name: &'a str) -> Self {
        Self { operation: HeaderOperation::Remove, name, value: Cow::Borrowed(&[]) }
    }

    /// The same edit, with a reference to its value instead of a copy.
    #[inline]
    pub fn borrowed(&self) -> HeaderEdit<'_> {
        HeaderEdit { operation: self.operation, name: self.name, value: Cow::Borrowed(&self.value) }
    }

    /// Replaces all values of `name` with `value`.
    #[inline]
    pub fn set(name: &'a str, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { operation: HeaderOperation::Set, name, value: value.into() }
    }
}

/// An edit whose value is constant: the configuration determines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedEdit {
    operation: HeaderOperation,
    /// Not copied if it is one of Sluice's own, which each rule has
    name: Cow<'static, str>,
    value: Box<[u8]>,
}

impl FixedEdit {
    /// An edit of the header `name`, which is in lower case.
    pub fn new(
        operation: HeaderOperation,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Box<[u8]>>,
    ) -> Self {
        Self { operation, name: name.into(), value: value.into() }
    }

    /// An edit that adds a header of Sluice. `Add` is enough, because the values from the client
    /// have been removed. For Envoy, `Add` is half the work of `Set`.
    pub(crate) fn steering(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Box<[u8]>>,
    ) -> Self {
        Self::new(HeaderOperation::Add, name, value)
    }

    /// The header's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of change.
    pub fn operation(&self) -> HeaderOperation {
        self.operation
    }

    /// The edit to apply.
    #[inline]
    pub fn as_edit(&self) -> HeaderEdit<'_> {
        HeaderEdit {
            operation: self.operation,
            name: &self.name,
            value: Cow::Borrowed(&self.value),
        }
    }
}

/// Prefix of the headers that Sluice sets and the Envoy configuration reads.
pub const OWN_PREFIX: &str = "x-sluice-";

/// The request header with the name of the cluster, for an Envoy route with `cluster_header`.
pub const CLUSTER: &str = "x-sluice-cluster";

/// Response header by which the outlier filter marks a failed attempt for Envoy's own outlier
/// detection. Its value is the cause.
pub const FAILURE: &str = "x-sluice-failure";

/// Checks a header name and returns it in lower case. A valid name has one or more token characters
/// (RFC 9110, section 5.6.2) or is one of `pseudo`. `host` is read as `:authority`.
pub fn check_name(node: &Node<'_>, name: &str, pseudo: &[&str]) -> Result<String, Reported> {
    let lower = name.to_ascii_lowercase();
    let lower = if lower == "host" { ":authority".to_owned() } else { lower };
    if pseudo.contains(&lower.as_str()) {
        return Ok(lower);
    }
    if lower.starts_with(':') {
        let reason = format_args!("{} is a pseudo-header that cannot be used here", Quoted(name));
        return Err(node.error(reason));
    }
    if !is_token(&lower) {
        return Err(node.error(format_args!("{} is not a header name", Quoted(name))));
    }
    Ok(lower)
}

/// Returns whether `text` is a token (RFC 9110, section 5.6.2), such as a header name or a method.
pub fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        assert!(is_token("a!#$%&'*+-.^_`|~9"));
        for name in ["", "a b", "a:b", "ü", "a\0"] {
            assert!(!is_token(name), "{name:?}");
        }
    }
}
