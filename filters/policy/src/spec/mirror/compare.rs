//! Holding the answer to a copy against the original's.

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

/// How copies are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    statuses: bool,
    /// Names in lower case
    headers: Vec<String>,
    body_hash: bool,
    /// Which methods; others are mirrored and not compared
    methods: Vec<Box<[u8]>>,
    remove_headers: Vec<String>,
    /// How long the mirror may take, from sending the copy to the end of its answer
    pub timeout: Duration,
    /// The longest body of a request or response that is compared, in bytes
    pub max_body_bytes: usize,
    /// How many comparisons a worker may have at once
    pub max_active: u32,
}

/// What is compared of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status
    status: Vec<u8>,
    /// Those of its headers and trailers that are compared
    headers: Vec<(String, Vec<u8>)>,
    /// A hash of its body
    body_hash: u64,
}

/// The hash of a body whose pieces come one after another.
#[derive(Clone, Default)]
pub struct BodyHash(Xxh64);

impl BodyHash {
    /// Takes the next piece.
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
    /// This header differs.
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
/// What a worker may hold in memory for a body is bounded, whatever is configured.
const MOST_BODY_BYTES: u32 = 16 * 1024 * 1024;
const DEFAULT_MAX_ACTIVE: u32 = 100;
/// Those methods of RFC 9110, section 9.2.1, that have a response to compare.
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// About the connection that the original came on, and not about the request.
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
];

fields!(Compare, "How the answers to copies are compared with the originals.", {
    "statuses": Kind::Boolean => "Whether statuses are compared.";
    "headers": Kind::TEXTS => "The response headers that are compared.";
    "bodyHash": Kind::Boolean => "Whether bodies are compared.";
    "methods": Kind::TEXTS =>
        "The methods of requests that are compared; GET, HEAD and OPTIONS if absent.";
    "removeHeaders": Kind::TEXTS => "Request headers that copies do not have.";
    "timeout": Kind::Text => "How long the answer to a copy may take; 5s if absent.";
    "maxBodyBytes": Kind::Integer(0, MOST_BODY_BYTES as i64) =>
        "The longest body that is kept or compared; 65536 if absent.";
    "maxActive": Kind::COUNT => "Maximum number of comparisons of a worker at once; 100 if absent.";
});

impl Compare {
    /// Reads `compare: { statuses, headers, bodyHash, timeout, maxBodyBytes, maxActive, methods,
    /// removeHeaders }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
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

    /// Whether a request of this method is compared.
    pub fn is_compared(&self, method: &[u8]) -> bool {
        self.methods.iter().any(|known| **known == *method)
    }

    /// Whether bodies of responses are compared.
    pub fn hashes_bodies(&self) -> bool {
        self.body_hash
    }

    /// The headers of the copy of a request: without those that are configured to be left out, those
    /// of Sluice, those that would have Envoy retry, and those about the original's connection.
    pub fn copy_headers(&self, original: &HeaderPairs) -> Vec<(String, Vec<u8>)> {
        let is_left_out = |name: &str| {
            is_own(name)
                || ROUTER_HEADERS.contains(&name)
                || HOP_BY_HOP.contains(&name)
                || self.remove_headers.iter().any(|removed| removed == name)
        };
        original.iter().filter(|(name, _)| !is_left_out(name)).cloned().collect()
    }

    /// What is to be compared of a response.
    pub fn answer(&self, headers: &HeaderPairs, trailers: &HeaderPairs, body: &BodyHash) -> Answer {
        let status = headers.iter().find(|(name, _)| name == ":status");
        let is_compared = |(name, _): &&(String, Vec<u8>)| self.headers.contains(name);
        Answer {
            status: status.map(|(_, status)| status.clone()).unwrap_or_default(),
            headers: headers.iter().chain(trailers).filter(is_compared).cloned().collect(),
            body_hash: body.0.digest(),
        }
    }

    /// What differs between the original's response and the copy's; nothing when they match.
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
    /// The status, as it came.
    pub fn status(&self) -> &[u8] {
        &self.status
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
    let size = read_in(node, 0..=MOST_BODY_BYTES)?;
    usize::try_from(size).map_err(|_| node.invalid("is too large"))
}

/// Whether a header is one by which Sluice's filters and Envoy's routes talk to each other, which has
/// no place in a copy.
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
    fn only_what_is_asked_for_is_compared() {
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
    fn copies_have_no_credentials_and_nothing_of_the_connection() {
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
    fn refusals() {
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
