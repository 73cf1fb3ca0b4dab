//! Header names and edits.

use std::borrow::Cow;

use crate::document::node::Node;
use crate::document::report::Reported;

/// One change of a header map. Edits are applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEdit<'a> {
    /// What to do
    pub operation: HeaderOperation,
    /// The header's name in lower case
    pub name: &'a str,
    /// The value; empty for a removal
    pub value: Cow<'a, [u8]>,
}

/// What an edit does to a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOperation {
    /// Adds a value and keeps those that are there.
    Add,
    /// Removes all values.
    Remove,
    /// Replaces all values with one.
    Set,
}

impl<'a> HeaderEdit<'a> {
    /// Removes all values of `name`.
    #[inline]
    pub fn remove(name: &'a str) -> Self {
        Self { operation: HeaderOperation::Remove, name, value: Cow::Borrowed(&[]) }
    }

    /// The same edit, without a copy of its value.
    #[inline]
    pub fn borrowed(&self) -> HeaderEdit<'_> {
        HeaderEdit { operation: self.operation, name: self.name, value: Cow::Borrowed(&self.value) }
    }

    /// Replaces all values of `name`.
    #[inline]
    pub fn set(name: &'a str, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { operation: HeaderOperation::Set, name, value: value.into() }
    }
}

/// An edit that is known when the configuration is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedEdit {
    operation: HeaderOperation,
    name: Box<str>,
    value: Box<[u8]>,
}

impl FixedEdit {
    /// An edit of the header `name`, given in lower case.
    pub fn new(operation: HeaderOperation, name: &str, value: impl Into<Box<[u8]>>) -> Self {
        Self { operation, name: name.into(), value: value.into() }
    }

    /// Gives a header of Sluice's own its value. What clients sent of it has been removed, so it is added, which is
    /// half the work of replacing it for Envoy.
    pub(crate) fn steering(name: &str, value: impl Into<Box<[u8]>>) -> Self {
        Self::new(HeaderOperation::Add, name, value)
    }

    /// The header's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
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

/// Prefix of the headers by which Sluice and Envoy's configuration talk to each other.
pub const OWN_PREFIX: &str = "x-sluice-";

/// The request header that names the cluster, for a route with `cluster_header`.
pub const CLUSTER: &str = "x-sluice-cluster";

/// Reads a header name into lower case: one or more token characters (RFC 9110, section 5.6.2),
/// or one of `pseudo`, with `host` read as `:authority`.
pub fn check_name(node: &Node<'_>, name: &str, pseudo: &[&str]) -> Result<String, Reported> {
    let lower = name.to_ascii_lowercase();
    let lower = if lower == "host" { ":authority".to_owned() } else { lower };
    if pseudo.contains(&lower.as_str()) {
        return Ok(lower);
    }
    if lower.starts_with(':') {
        let reason = format_args!("{name:?} is a pseudo-header that cannot be used here");
        return Err(node.error(reason));
    }
    if !is_token(&lower) {
        return Err(node.error(format_args!("{name:?} is not a header name")));
    }
    Ok(lower)
}

/// Whether `text` is a token of RFC 9110, as header names and methods are.
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
