//! Compares the response to a copy with the response to the original request.

use std::fmt;
use std::time::Duration;

use xxhash_rust::xxh64::Xxh64;

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::Reported;
use crate::request::HeaderPairs;
use crate::spec::timeouts::ROUTER_HEADERS;
use crate::value::duration;
use crate::value::header::OWN_PREFIX;
use crate::value::header::check_name;
use crate::value::method::read_methods;
use crate::value::number::{read_count, read_in};

/// Settings of the comparison of responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    statuses: bool,
    /// Names of compared headers, in lower case
    headers: Vec<String>,
    body_hash: bool,
    /// Methods of compared requests; requests with other methods are mirrored and not compared
    methods: Vec<Box<[u8]>>,
    remove_headers: Vec<String>,
    /// Maximum time from sending the copy to the end of its response
    pub timeout: Duration,
    /// Maximum size of a request or response body for a comparison, in bytes
    pub max_body_bytes: usize,
    /// Maximum number of simultaneous comparisons of a worker
    pub max_active: u32,
}

/// The compared parts of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status
    status: Vec<u8>,
    /// Compared headers and trailers
    headers: Vec<(String, Vec<u8>)>,
    /// Hash of the body
    body_hash: u64,
    /// Time of the upstream, in milliseconds, if Envoy says so
    time: Option<u64>,
}

/// The response header in which Envoy's router writes the time from the end of the request to the
/// response of the upstream, in milliseconds. Envoy's own responses do not have it.
pub const UPSTREAM_TIME: &str = "x-envoy-upstream-service-time";

/// Hash of a body that arrives in pieces.
#[derive(Clone, Default)]
pub struct BodyHash(Xxh64);

impl BodyHash {
    /// Adds the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyHash({:x})", self.0.digest())
    }
}

/// One difference between two responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// The bodies differ.
    Body,
    /// The header with this name differs.
    Header(&'a str),
    /// The statuses differ.
    Status,
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("body"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Status => f.write_str("status"),
        }
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024;
/// Upper bound of `maxBodyBytes`, in bytes. It bounds the memory of a worker for one body.
const MAX_BODY_BYTES: u32 = 16 * 1024 * 1024;
const DEFAULT_MAX_ACTIVE: u32 = 100;
/// Default methods: the safe methods of RFC 9110, section 9.2.1, without TRACE.
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// Headers of the connection of the original request, which are not part of the request itself.
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
];

fields!(Compare, "Compares the responses to copies with the original responses.", {
    "statuses": Kind::Boolean => "Whether HTTP statuses are compared; false if absent.";
    "headers": Kind::TOKENS => "Names of response headers that are compared; none if absent.";
    "bodyHash": Kind::Boolean =>
        "Whether response bodies are compared, by their hash; false if absent.";
    "methods": Kind::METHODS => "Methods of the compared requests; GET, HEAD and OPTIONS if absent.";
    "removeHeaders": Kind::TOKENS =>
        "Names of request headers that are removed from copies; none if absent.";
    "timeout": Kind::Duration =>
        "Maximum time until the response to a copy is complete, such as 2s; 5s if absent.";
    "maxBodyBytes": Kind::Integer(0, MAX_BODY_BYTES as i64) =>
        "Maximum size of a request or response body for a comparison, in bytes; 65536 if absent.";
    "maxActive": Kind::COUNT =>
        "Maximum number of simultaneous comparisons of a worker; 100 if absent.";
});

impl Compare {
    /// Reads `compare: { statuses, headers, bodyHash, timeout, maxBodyBytes, maxActive, methods,
    /// removeHeaders }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        node.needs_calls(
            "needs the extension `calls` of the dynamic module in Envoy's bootstrap_extensions, or \
             mirror.wasm or sluice.wasm",
        )?;
        let object = node.object::<Self>()?;
        let statuses = object.flag("statuses");
        let headers = read_names(&object, "headers");
        let body_hash = object.flag("bodyHash");
        let methods = object.optional("methods", read_methods);
        let remove_headers = read_names(&object, "removeHeaders");
        let timeout = object.optional("timeout", duration::read);
        let max_body_bytes = object.optional("maxBodyBytes", read_size);
        let max_active = object.optional("maxActive", read_count);
        let (statuses, headers, body_hash) = (statuses?, headers?, body_hash?);
        if !statuses && !body_hash && headers.is_empty() {
            return Err(node.error("compares nothing; set statuses, headers or bodyHash"));
        }
        let safe = || SAFE_METHODS.map(|method| method.as_bytes().into()).to_vec();
        Ok(Self {
            statuses,
            headers,
            body_hash,
            methods: methods?.unwrap_or_else(safe),
            remove_headers: remove_headers?,
            timeout: timeout?.unwrap_or(DEFAULT_TIMEOUT),
            max_body_bytes: max_body_bytes?.unwrap_or(DEFAULT_MAX_BODY_BYTES),
            max_active: max_active?.unwrap_or(DEFAULT_MAX_ACTIVE),
        })
    }

    /// Returns whether requests with this method are compared.
    pub fn is_compared(&self, method: &[u8]) -> bool {
        self.methods.iter().any(|known| **known == *method)
    }

    /// Returns whether response bodies are compared.
    pub fn hashes_bodies(&self) -> bool {
        self.body_hash
    }

    /// Returns the headers for the copy of a request. Omits the headers in `removeHeaders`, the
    /// headers of Sluice, the headers that control Envoy's router, and the headers of the
    /// connection.
    pub fn copy_headers(&self, original: &HeaderPairs) -> Vec<(String, Vec<u8>)> {
        let is_left_out = |name: &str| {
            is_own(name)
                || ROUTER_HEADERS.contains(&name)
                || HOP_BY_HOP.contains(&name)
                || self.remove_headers.iter().any(|removed| removed == name)
        };
        original.iter().filter(|(name, _)| !is_left_out(name)).cloned().collect()
    }

    /// Returns the compared parts of a response.
    pub fn answer(&self, headers: &HeaderPairs, trailers: &HeaderPairs, body: &BodyHash) -> Answer {
        let status = headers.iter().find(|(name, _)| name == ":status");
        let is_compared = |(name, _): &&(String, Vec<u8>)| self.headers.contains(name);
        Answer {
            status: status.map(|(_, status)| status.clone()).unwrap_or_default(),
            headers: headers.iter().chain(trailers).filter(is_compared).cloned().collect(),
            body_hash: body.0.digest(),
            time: headers.iter().find_map(|(name, value)| match name == UPSTREAM_TIME {
                true => std::str::from_utf8(value).ok()?.parse().ok(),
                false => None,
            }),
        }
    }

    /// Returns the differences between the two responses; none if all compared parts are equal.
    pub fn differences(&self, original: &Answer, copy: &Answer) -> Vec<Difference<'_>> {
        let mut differences = Vec::new();
        if self.statuses && original.status != copy.status {
            differences.push(Difference::Status);
        }
        let differs = |name: &&String| !original.values(name).eq(copy.values(name));
        differences
            .extend(self.headers.iter().filter(differs).map(|name| Difference::Header(name)));
        if self.body_hash && original.body_hash != copy.body_hash {
            differences.push(Difference::Body);
        }
        differences
    }
}

impl Answer {
    /// Returns the status as received.
    pub fn status(&self) -> &[u8] {
        &self.status
    }

    /// Returns by how much another response took longer than this one, in milliseconds; negative if
    /// it was faster. `None` if one of the times is not known.
    pub fn difference_of_time(&self, other: &Self) -> Option<i64> {
        let [own, other] = [self.time?, other.time?].map(|time| i64::try_from(time).ok());
        other?.checked_sub(own?)
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.headers.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_slice())
    }
}

fn read_names(object: &Object<'_>, name: &'static str) -> Result<Vec<String>, Reported> {
    object.list(name, |node| check_name(node, node.string()?, &[]))
}

fn read_size(node: &Node<'_>) -> Result<usize, Reported> {
    let size = read_in(node, 0..=MAX_BODY_BYTES)?;
    usize::try_from(size).map_err(|_| node.invalid("is too large"))
}

/// Returns whether a header belongs to Sluice. These headers control Envoy's routes for the
/// original request, so a copy must not contain them.
fn is_own(name: &str) -> bool {
    name.starts_with(OWN_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, pairs};

    fn read(text: &str) -> Result<Compare, String> {
        testing::read(text, Compare::read)
    }

    #[test]
    fn defaults() {
        let compare = read(r#"{"statuses": true}"#).unwrap();
        assert_eq!(compare.timeout, Duration::from_secs(5));
        assert_eq!((compare.max_body_bytes, compare.max_active), (65_536, 100));
        assert!(!compare.hashes_bodies());
        let methods = ["GET", "HEAD", "OPTIONS", "POST", "get", "CONNECT"];
        let compared = methods.map(|method| compare.is_compared(method.as_bytes()));
        assert_eq!(compared, [true, true, true, false, false, false]);
        let posts = read(r#"{"statuses": true, "methods": ["POST"]}"#).unwrap();
        assert!(posts.is_compared(b"POST") && !posts.is_compared(b"GET"));
    }

    #[test]
    fn only_configured_parts_are_compared() {
        let differences = |text: &str| {
            let compare = read(text).unwrap();
            let answer = |headers: &[(&str, &str)], trailers: &[(&str, &str)], body: &[&str]| {
                let mut hash = BodyHash::default();
                body.iter().for_each(|piece| hash.update(piece.as_bytes()));
                compare.answer(&pairs(headers), &pairs(trailers), &hash)
            };
            let original = [(":status", "200"), ("x", "1"), ("x", "2"), ("same", "0")];
            let original = answer(&original, &[("grpc-status", "0")], &["body", "!"]);
            let copy = [(":status", "500"), ("x", "1"), ("y", "2"), ("same", "0")];
            let copy = answer(&copy, &[], &["bod", "y"]);
            let in_pieces = answer(&[(":status", "500"), ("x", "1"), ("y", "2")], &[], &["body"]);
            assert_eq!(copy.body_hash, in_pieces.body_hash);
            let differences = compare.differences(&original, &copy);
            assert_eq!(compare.differences(&original, &original.clone()), []);
            differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        assert_eq!(differences(r#"{"statuses": true}"#), "status");
        assert_eq!(differences(r#"{"bodyHash": true}"#), "body");
        assert_eq!(
            differences(r#"{"headers": ["X", "grpc-status", "y", "z", "same"]}"#),
            "header.x,header.grpc-status,header.y"
        );
        let all = r#"{"statuses": true, "headers": ["x"], "bodyHash": true}"#;
        assert_eq!(differences(all), "status,header.x,body");
    }

    #[test]
    fn copies_omit_removed_own_router_and_connection_headers() {
        let text = r#"{"statuses": true, "removeHeaders": ["Authorization", "cookie"]}"#;
        let original = pairs(&[
            (":path", "/"),
            ("authorization", "secret"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("x-sluice-cluster", "v1"),
            ("x-envoy-max-retries", "9"),
            ("transfer-encoding", "chunked"),
            ("x", "1"),
        ]);
        let copied = read(text).unwrap().copy_headers(&original);
        assert_eq!(copied, pairs(&[(":path", "/"), ("x", "1")]));
    }

    #[test]
    fn rejects_invalid_fields() {
        let text = r#"{"statuses": 1, "headers": [":status", "a b"], "timeout": "0s",
            "maxBodyBytes": 16777217, "methods": []}"#;
        assert_eq!(
            read(text).unwrap_err(),
            "statuses: 1 is neither true nor false\n\
             headers[0]: \":status\" is a pseudo-header that cannot be used here\n\
             headers[1]: \"a b\" is not a header name\n\
             timeout: \"0s\" is shorter than 1ms\n\
             maxBodyBytes: 16777217 is not in the range 0 to 16777216\n\
             methods: must not be empty"
        );
        assert_eq!(
            read("{}").unwrap_err(),
            "configuration: compares nothing; set statuses, headers or bodyHash"
        );
    }
}
