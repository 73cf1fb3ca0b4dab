//! A condition on a request header.

mod lint;

use crate::document::node::Node;
use crate::lookup::rule_index::{Key, Subject};
use crate::request::Request;
use crate::spec::string_match::{self, ValueMatch};
use crate::value::header::check_name;

/// What a header has to be, or must not be.
#[derive(Clone, Debug)]
pub struct HeaderCondition {
    name: String,
    condition: ValueMatch,
    is_inverted: bool,
}

impl HeaderCondition {
    /// A condition on the header `name`, which `node` stands at; `None` after an error. Inverted, it
    /// asks for a request without such a header.
    pub fn new(
        node: &Node<'_>,
        name: &str,
        condition: Option<ValueMatch>,
        is_inverted: bool,
    ) -> Option<Self> {
        let name = check_name(node, name, &[":method", ":scheme", ":authority", ":path"]);
        Some(Self { name: name?, condition: condition?, is_inverted })
    }

    /// Reads the conditions of an object of header names with `StringMatch`es.
    pub fn read_all(node: &Node<'_>) -> Vec<Self> {
        let entries = node.entries();
        let read = |(name, node): &(&str, Node<'_>)| {
            Self::new(node, name, string_match::read_value_match(node), false)
        };
        entries.iter().filter_map(read).collect()
    }

    /// What a request has to have for the condition to hold; `None` where that is not known.
    pub fn key(&self) -> Option<Key<'_>> {
        (!self.is_inverted).then(|| (Subject::Header(self.name.as_bytes()), self.condition.need()))
    }

    /// Whether a request is as it has to be. Values of a repeated header are joined with commas.
    #[inline]
    pub fn holds(&self, request: &Request<'_>) -> bool {
        let value = request.header(&self.name);
        if self.is_inverted {
            self.condition.is_no_match(value.as_deref())
        } else {
            self.condition.is_match(value.as_deref())
        }
    }
}
