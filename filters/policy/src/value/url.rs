//! Parts of a URL.

use crate::document::node::Node;

/// Reads an authority: anything that can stand in a Host header.
pub fn read_authority(node: &Node<'_>) -> Option<Box<[u8]>> {
    let text = node.string()?;
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        node.invalid("is not an authority");
        return None;
    }
    Some(text.as_bytes().into())
}

/// Reads a path: anything that can stand in a request line.
pub fn read_path(node: &Node<'_>) -> Option<Box<[u8]>> {
    let text = node.string()?;
    if text.bytes().any(|byte| byte == b' ' || byte.is_ascii_control()) {
        node.invalid("has a space or a control character");
        return None;
    }
    Some(text.as_bytes().into())
}
