//! `HTTPDirectResponse`: a fixed response.

use base64::Engine as _;

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::{self, Reported};
use crate::request::Request;
use crate::spec::redirect;
use crate::value::http_status::read_status;

/// Largest body that Istio accepts, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Body size in bytes from which Istio warns, because every proxy keeps the body in memory.
const LARGE_BODY_BYTES: usize = 100 << 10;

/// A fixed response, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// HTTP status, 200 to 599
    pub status: u16,
    /// Body; may be empty
    pub body: Vec<u8>,
}

impl DirectResponse {
    /// Reads `directResponse: { status, body: { string | bytes } }`. `bytes` is base64.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let status = object.required("status").and_then(|node| read_status(&node));
        let body = object.optional("body", read_body);
        Ok(Self { status: status?, body: body?.unwrap_or_default() })
    }

    /// Returns the value of the `location` header. Envoy adds the URL of the request to its own
    /// responses with the status 201 or 3xx (`Filter::decodeHeaders` of its router).
    pub fn location(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        let has_location = matches!(self.status, 201 | 300..=399);
        (has_location && !request.path_and_query.is_empty()).then(|| redirect::own_url(request))
    }
}

/// Base64 with padding (RFC 4648).
const BASE64: &str =
    "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?";

fields!(DirectResponse, "A fixed response.", {
    "status" required: Kind::Integer(200, 599) => "HTTP status, 200 to 599.";
    "body": Kind::Object(Body::schema) => "Body of the response; empty if absent.";
});

/// `HTTPBody`
struct Body;

fields!(Body, "Body of a fixed response: at most one of the two fields; empty without them.", {
    "string": Kind::Text => "Body as text.";
    "bytes": Kind::Pattern(BASE64) => "Body in base64.";
});

fn read_body(node: &Node<'_>) -> Result<Vec<u8>, Reported> {
    let object = node.object::<Body>()?;
    let body = match object.at_most_one(&["string", "bytes"])? {
        None => Vec::new(),
        Some(("string", node)) => node.string()?.as_bytes().to_vec(),
        Some((_, node)) => base64::prelude::BASE64_STANDARD
            .decode(node.string()?)
            .map_err(|_| node.invalid("is not base64"))?,
    };
    let length = body.len();
    if length > MAX_BODY_BYTES {
        let reason = format_args!("has {length} bytes; the limit is {MAX_BODY_BYTES}");
        return Err(node.error(reason));
    }
    if length > LARGE_BODY_BYTES {
        let reason = format_args!("has {length} bytes, which every worker keeps in memory");
        node.notice(report::Kind::Costly, reason);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FixedAttributes, pairs};

    #[test]
    fn created_and_redirected_requests_have_their_own_url_as_location() {
        let location = |status: u16, path| {
            let response = DirectResponse { status, body: Vec::new() };
            let headers =
                pairs(&[(":scheme", "http"), (":authority", "a.com:8080"), (":path", path)]);
            let location = response.location(&Request::new(&headers, &FixedAttributes::default()));
            location.map(|own| String::from_utf8(own).unwrap())
        };
        let own = Some("http://a.com:8080/b?c=1".to_owned());
        for status in [201, 300, 304, 399] {
            assert_eq!(location(status, "/b?c=1"), own, "{status}");
        }
        for status in [200, 202, 299, 400, 503] {
            assert_eq!(location(status, "/b?c=1"), None, "{status}");
        }
        // CONNECT has no path.
        assert_eq!(location(201, ""), None);
    }

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
            "status: 600 is not in the range 200 to 599\nbody: cannot have both string and bytes"
        );
    }

    #[test]
    fn large_bodies_are_reported_and_too_large_ones_rejected() {
        let text =
            |size| format!(r#"{{"status": 200, "body": {{"string": "{}"}}}}"#, "x".repeat(size));
        let (_, notices) =
            testing::read_with_notices(&text(LARGE_BODY_BYTES + 1), DirectResponse::read).unwrap();
        assert_eq!(notices, "body: has 102401 bytes, which every worker keeps in memory");
        assert_eq!(
            testing::read(&text(MAX_BODY_BYTES + 1), DirectResponse::read).unwrap_err(),
            "body: has 1048577 bytes; the limit is 1048576"
        );
    }
}
