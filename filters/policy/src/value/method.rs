//! HTTP methods.

use crate::document::node::Node;
use crate::document::report::Reported;
use crate::value::header::is_token;

/// Reads a list of at least one method. Methods are case-sensitive (RFC 9110, section 9.1).
pub fn read_methods(node: &Node<'_>) -> Result<Vec<Box<[u8]>>, Reported> {
    if node.is_empty_list() {
        return Err(node.error("must not be empty"));
    }
    node.each(|node| {
        let method = node.string()?;
        if !is_token(method) || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(node.invalid("is not a method in upper case"));
        }
        Ok(method.as_bytes().into())
    })
}
