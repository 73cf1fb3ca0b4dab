//! `HTTPDirectResponse`: a fixed answer.

use base64::Engine as _;

use crate::document::node::Node;
use crate::value::http_status::read_status;

/// The largest body that Istio accepts, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A body from which Istio warns, since every proxy keeps it in memory.
const LARGE_BODY_BYTES: usize = 100 << 10;

/// A fixed answer, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// The status, 200 to 599
    pub status: u16,
    /// The body
    pub body: Vec<u8>,
}

impl DirectResponse {
    /// Reads `directResponse: { status, body: { string | bytes } }`. `bytes` is base64.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let status = object.required("status");
        let body = object.field("body").map_or(Some(Vec::new()), |node| read_body(&node));
        Some(Self { status: read_status(&status?)?, body: body? })
    }
}

fn read_body(node: &Node<'_>) -> Option<Vec<u8>> {
    let mut object = node.object()?;
    let (string, bytes) = (object.field("string"), object.field("bytes"));
    let body = match (&string, &bytes) {
        (Some(_), Some(_)) => {
            node.error("has both string and bytes");
            return None;
        }
        (Some(node), None) => node.string()?.as_bytes().to_vec(),
        (None, Some(node)) => match base64::prelude::BASE64_STANDARD.decode(node.string()?) {
            Ok(body) => body,
            Err(_) => {
                node.invalid("is not base64");
                return None;
            }
        },
        (None, None) => Vec::new(),
    };
    if body.len() > MAX_BODY_BYTES {
        node.error(format_args!("has {} bytes, at most {MAX_BODY_BYTES} are allowed", body.len()));
        return None;
    }
    if body.len() > LARGE_BODY_BYTES {
        let text = format!("has {} bytes, which every worker keeps in memory", body.len());
        node.notice(text);
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn bodies_are_text_or_base64() {
        let read = |text: &str| testing::read(text, DirectResponse::read);
        let body = |text: &str| read(text).unwrap().body;
        assert_eq!(body(r#"{"status": 503, "body": {"string": "sorry"}}"#), b"sorry");
        assert_eq!(body(r#"{"status": 200, "body": {"bytes": "/w=="}}"#), b"\xff");
        assert_eq!(body(r#"{"status": 200}"#), b"");
        assert_eq!(
            read(r#"{"body": {"bytes": "?"}}"#).unwrap_err(),
            "status: is required\nbody.bytes: \"?\" is not base64"
        );
        assert_eq!(
            read(r#"{"status": 600, "body": {"bytes": "", "string": ""}}"#).unwrap_err(),
            "status: 600 is not in 200..=599\nbody: has both string and bytes"
        );
    }

    #[test]
    fn large_bodies_are_remarked_on_and_huge_ones_refused() {
        let text =
            |size| format!(r#"{{"status": 200, "body": {{"string": "{}"}}}}"#, "x".repeat(size));
        let (_, notices) =
            testing::read_with_notices(&text(LARGE_BODY_BYTES + 1), DirectResponse::read).unwrap();
        assert_eq!(notices, "body: has 102401 bytes, which every worker keeps in memory");
        assert_eq!(
            testing::read(&text(MAX_BODY_BYTES + 1), DirectResponse::read).unwrap_err(),
            "body: has 1048577 bytes, at most 1048576 are allowed"
        );
    }
}
