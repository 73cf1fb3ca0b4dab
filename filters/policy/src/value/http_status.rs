//! HTTP statuses of answers that a filter gives itself.

use crate::document::node::Node;
use crate::document::report::Reported;

/// Reads the status of an answer, 200 to 599. Istio's validation accepts 600, which Envoy refuses.
pub fn read_status(node: &Node<'_>) -> Result<u16, Reported> {
    let status = u16::try_from(node.integer()?).ok().filter(|s| (200..=599).contains(s));
    status.ok_or_else(|| node.invalid("is not in the range 200 to 599"))
}
