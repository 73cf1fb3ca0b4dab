//! Parts of a URL.

use crate::document::node::Node;
use crate::document::report::Reported;

/// Reads an authority, as in a Host header: visible ASCII characters only.
pub fn read_authority(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    let text = node.string()?;
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(node.invalid("is not an authority"));
    }
    Ok(text.as_bytes().into())
}

/// Reads a path, as in a request line: no spaces and no control characters.
pub fn read_path(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    let text = node.string()?;
    if text.bytes().any(|byte| byte == b' ' || byte.is_ascii_control()) {
        return Err(node.invalid("has a space or a control character"));
    }
    Ok(text.as_bytes().into())
}
