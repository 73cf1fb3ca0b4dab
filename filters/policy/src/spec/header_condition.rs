//! A condition on a request header.

use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::lookup::rule_index::{Key, Subject};
use crate::request::Request;
use crate::spec::string_match::{self, ValueMatch};
use crate::value::header::check_name;

/// A condition on the value, the presence or the absence of a header.
#[derive(Clone, Debug)]
pub struct HeaderCondition {
    /// Name of the header, in lower case
    pub name: String,
    /// Condition on the value
    pub condition: ValueMatch,
    /// Whether the condition must not hold (`withoutHeaders`)
    pub is_inverted: bool,
}

impl HeaderCondition {
    /// Creates a condition on the header `name`; reports an invalid name at `node`.
    pub fn new(
        node: &Node<'_>,
        name: &str,
        condition: Result<ValueMatch, Reported>,
        is_inverted: bool,
    ) -> Result<Self, Reported> {
        let name = check_name(node, name, &[":method", ":scheme", ":authority", ":path"]);
        Ok(Self { name: name?, condition: condition?, is_inverted })
    }

    /// Reads an object whose keys are header names and whose values are `StringMatch`es.
    pub fn read_all(node: &Node<'_>) -> Result<Vec<Self>, Reported> {
        all(node
            .entries()?
            .iter()
            .map(|(name, node)| Self::new(node, name, string_match::read_value_match(node), false)))
    }

    /// Returns the index key of the condition: what a request must contain to satisfy it. `None`
    /// for an inverted condition, which has no key.
    pub fn key(&self) -> Option<Key<'_>> {
        (!self.is_inverted).then(|| (Subject::Header(self.name.as_bytes()), self.condition.need()))
    }

    /// Returns whether the condition holds for a request. Values of a repeated header are joined
    /// with commas.
    #[inline]
    pub fn holds(&self, request: &Request<'_>) -> bool {
        let value = request.header(&self.name);
        if self.is_inverted {
            self.condition.is_no_match(value.as_deref())
        } else {
            self.condition.is_match(value.as_deref())
        }
    }

    /// Returns whether every request that satisfies `other` satisfies this condition too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        if self.name != other.name || self.is_inverted != other.is_inverted {
            return false;
        }
        if self.is_inverted {
            other.condition.covers(&self.condition) && self.condition.covers(&other.condition)
        } else {
            self.condition.covers(&other.condition)
        }
    }

    /// Returns whether no request satisfies both this condition and `other`.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        self.name == other.name
            && !self.is_inverted
            && other.is_inverted
            && other.condition.covers(&self.condition)
    }
}
