//! HTTP statuses of answers that a filter gives itself.

use crate::document::node::Node;

/// Reads the status of an answer, 200 to 599. Istio's validation lets 600 pass, which Envoy refuses.
pub fn read_status(node: &Node<'_>) -> Option<u16> {
    let status = u16::try_from(node.integer()?).ok().filter(|s| (200..=599).contains(s));
    if status.is_none() {
        node.invalid("is not in 200..=599");
    }
    status
}
