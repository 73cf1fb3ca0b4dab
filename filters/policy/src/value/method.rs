//! HTTP methods.

use crate::document::node::Node;
use crate::value::header::is_token;

/// Reads a list of at least one method, which are case-sensitive (RFC 9110, section 9.1).
pub fn read_methods(node: &Node<'_>) -> Vec<Box<[u8]>> {
    if node.is_empty_list() {
        node.error("is empty");
    }
    let read = |node: &Node<'_>| {
        let method = node.string()?;
        if !is_token(method) || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            node.invalid("is not a method in upper case");
        }
        Some(method.as_bytes().into())
    };
    node.elements().iter().filter_map(read).collect()
}
