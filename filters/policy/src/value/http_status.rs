//! HTTP statuses of local replies: responses that a filter sends itself.

use crate::document::node::Node;
use crate::document::report::Reported;

/// Reads the status of a local reply, 200 to 599. Istio's validation also accepts 600, which Envoy
/// rejects.
pub fn read_status(node: &Node<'_>) -> Result<u16, Reported> {
    let status = u16::try_from(node.integer()?).ok().filter(|s| (200..=599).contains(s));
    status.ok_or_else(|| node.invalid("is not in the range 200 to 599"))
}
