//! Parts of a URL.

use crate::document::node::Node;
use crate::document::report::Reported;

/// Reads an authority: anything that can stand in a Host header.
pub fn read_authority(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    let text = node.string()?;
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(node.invalid("is not an authority"));
    }
    Ok(text.as_bytes().into())
}

/// Reads a path: anything that can stand in a request line.
pub fn read_path(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    let text = node.string()?;
    if text.bytes().any(|byte| byte == b' ' || byte.is_ascii_control()) {
        return Err(node.invalid("has a space or a control character"));
    }
    Ok(text.as_bytes().into())
}
