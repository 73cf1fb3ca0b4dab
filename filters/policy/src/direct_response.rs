//! `HTTPDirectResponse`: a fixed answer.

use base64::Engine as _;

use crate::node::Node;

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

/// Reads the status of an answer, 200 to 599. Istio's validation lets 600 pass, which Envoy refuses.
pub fn read_status(node: &Node<'_>) -> Option<u16> {
    let status = u16::try_from(node.integer()?).ok().filter(|s| (200..=599).contains(s));
    if status.is_none() {
        node.invalid("is not in 200..=599");
    }
    status
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
