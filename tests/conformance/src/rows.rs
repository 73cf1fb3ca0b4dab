//! Rows about requests, in the form of the files.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A configuration, with requests and their outcomes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// Identifier, unique in its file; the test name begins with it
    pub id: String,
    /// Description; the rest of the test name
    pub name: String,
    /// Source of the expected behaviour
    pub source: String,
    /// Reason for the expectation, if it is not obvious
    pub note: Option<String>,
    /// Reason why the row cannot run in an Envoy, if it cannot
    pub envoy: Option<String>,
    /// Metadata of Envoy's workload: `NAMESPACE` and `LABELS`
    #[serde(default)]
    pub node: Node,
    /// The configuration of the router
    pub config: Box<RawValue>,
    /// Requests with their outcomes
    #[serde(default)]
    pub requests: Vec<Request>,
    /// Destinations of many requests, instead of `requests`
    pub distribution: Option<Distribution>,
}

/// The node metadata of Envoy's bootstrap.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "UPPERCASE")]
pub struct Node {
    /// The namespace of the workload
    pub namespace: Option<String>,
    /// The labels of the workload
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A request and its outcome.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// GET if absent
    #[serde(default = "get")]
    pub method: String,
    /// `/` if absent
    #[serde(default = "slash")]
    pub path: String,
    /// `example.com` if absent
    #[serde(default = "example")]
    pub host: String,
    /// `http` if absent
    #[serde(default = "http")]
    pub scheme: String,
    /// Names and values
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The port that the client connected to
    pub port: Option<u16>,
    /// The client's address
    pub source: Option<String>,
    /// The payload of the client's JWT
    #[serde(default)]
    pub claims: Value,
    /// The random number. If absent, the expectation must hold for every draw
    pub draw: Option<u64>,
    /// Headers of the upstream's response
    #[serde(default)]
    pub upstream_headers: Vec<(String, String)>,
    /// Its outcome
    pub expect: Expectation,
}

/// Outcome of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenExpectation")]
pub enum Expectation {
    /// It is forwarded.
    Forward {
        /// The cluster it goes to
        cluster: String,
        /// Path after a rewrite; the original one if absent
        path: Option<String>,
        /// Host after a rewrite; the original one if absent
        host: Option<String>,
        /// Changed headers; `None` for removed ones
        headers: BTreeMap<String, Option<String>>,
        /// Changed headers of the response
        response_headers: BTreeMap<String, Option<String>>,
        /// The name of the route in logs
        route: Option<String>,
    },
    /// It is answered.
    Reply(Reply),
}

/// An answer of the filter.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status
    pub status: u16,
    /// All of its headers
    pub headers: BTreeMap<String, Option<String>>,
    /// The body
    pub body: Vec<u8>,
    /// The name of the route in logs
    pub route: Option<String>,
}

/// Destinations of many requests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Distribution {
    /// Number of requests
    pub requests: u32,
    /// Headers of each; `{n}` in a value is its number
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Share of each cluster; 0 for clusters that are not listed
    pub shares: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenExpectation {
    cluster: Option<String>,
    path: Option<String>,
    host: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    response_headers: BTreeMap<String, Option<String>>,
    status: Option<u16>,
    location: Option<String>,
    body: Option<String>,
    body_bytes: Option<Vec<u8>>,
    route: Option<String>,
}

impl TryFrom<WrittenExpectation> for Expectation {
    type Error = &'static str;

    fn try_from(written: WrittenExpectation) -> Result<Self, &'static str> {
        let WrittenExpectation { path, host, mut headers, response_headers, route, .. } = written;
        let has_reply =
            written.location.is_some() || written.body.is_some() || written.body_bytes.is_some();
        match (written.cluster, written.status) {
            (Some(cluster), None) if !has_reply => {
                Ok(Self::Forward { cluster, path, host, headers, response_headers, route })
            }
            (None, Some(status))
                if path.is_none() && host.is_none() && response_headers.is_empty() =>
            {
                let location = written.location.map(|value| ("location".to_owned(), Some(value)));
                headers.extend(location);
                let body = match (written.body, written.body_bytes) {
                    (Some(_), Some(_)) => return Err("expect has both body and bodyBytes"),
                    (text, None) => text.unwrap_or_default().into_bytes(),
                    (None, Some(bytes)) => bytes,
                };
                Ok(Self::Reply(Reply { status, headers, body, route }))
            }
            _ => Err("expect is about a cluster or about a status"),
        }
    }
}

impl Case {
    /// Asserts that the row contains an expectation.
    ///
    /// # Panics
    /// If it has neither or both of `requests` and `distribution`.
    pub fn validate(&self) {
        assert_asserts(&self.id, &self.requests, self.distribution.as_ref());
    }
}

/// Asserts that a row has either requests or a distribution.
pub(crate) fn assert_asserts<R>(id: &str, requests: &[R], distribution: Option<&Distribution>) {
    assert_ne!(
        requests.is_empty(),
        distribution.is_none(),
        "{id} has neither or both of requests and distribution"
    );
}

impl Distribution {
    /// Returns the request with this number. Each of the clusters is a valid destination.
    pub fn request(&self, number: u32) -> Request {
        let expect = Expectation::Forward {
            cluster: String::new(),
            path: None,
            host: None,
            headers: BTreeMap::new(),
            response_headers: BTreeMap::new(),
            route: None,
        };
        let number = number.to_string();
        let headers = self.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.clone(), value.replace("{n}", &number))).collect();
        Request {
            method: get(),
            path: slash(),
            host: example(),
            scheme: http(),
            headers,
            port: None,
            source: None,
            claims: Value::Null,
            draw: None,
            upstream_headers: Vec::new(),
            expect,
        }
    }
}

impl Request {
    /// All headers as Envoy gives them to a filter: the pseudo-headers first, names in lower case.
    pub fn pairs(&self) -> Vec<(String, Vec<u8>)> {
        let Self { method, path, host, scheme, headers, .. } = self;
        pairs([host, path, method, scheme], headers)
    }
}

/// A request's headers as Envoy gives them to a filter, from `:authority`, `:path`, `:method` and
/// `:scheme` and from those that are sent.
pub(crate) fn pairs(pseudo: [&str; 4], headers: &[(String, String)]) -> Vec<(String, Vec<u8>)> {
    let own = |name: &str, value: &str| (name.to_ascii_lowercase(), value.as_bytes().to_vec());
    let scheme = pseudo[3];
    let pseudo = [":authority", ":path", ":method", ":scheme"].into_iter().zip(pseudo);
    // A CONNECT request has no path.
    let pseudo = pseudo.filter(|(_, value)| !value.is_empty());
    let mut pairs: Vec<_> = pseudo.map(|(name, value)| own(name, value)).collect();
    pairs.extend(headers.iter().map(|(name, value)| own(name, value)));
    if !pairs.iter().any(|(name, _)| name == "x-forwarded-proto") {
        pairs.push(own("x-forwarded-proto", scheme));
    }
    pairs
}

pub(crate) fn get() -> String {
    "GET".to_owned()
}

pub(crate) fn slash() -> String {
    "/".to_owned()
}

pub(crate) fn example() -> String {
    "example.com".to_owned()
}

fn http() -> String {
    "http".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(expect: &str) -> Result<Expectation, String> {
        serde_json::from_str(expect).map_err(|error| error.to_string())
    }

    #[test]
    fn an_expectation_has_either_a_cluster_or_a_status() {
        assert!(matches!(read(r#"{"cluster": "a"}"#), Ok(Expectation::Forward { .. })));
        assert!(matches!(read(r#"{"status": 404}"#), Ok(Expectation::Reply(_))));
        for nothing_or_both in [
            "{}",
            r#"{"path": "/"}"#,
            r#"{"cluster": "a", "status": 200}"#,
            r#"{"cluster": "a", "location": "/"}"#,
            r#"{"cluster": "a", "body": ""}"#,
            r#"{"status": 200, "path": "/"}"#,
            r#"{"status": 200, "body": "a", "bodyBytes": [97]}"#,
            r#"{"status": 200, "responseHeaders": {"a": "b"}}"#,
        ] {
            assert!(read(nothing_or_both).is_err(), "{nothing_or_both}");
        }
    }

    #[test]
    fn unknown_fields_are_errors() {
        assert!(read(r#"{"cluster": "a", "header": {"a": "b"}}"#).is_err());
        let request = r#"{"paht": "/", "expect": {"cluster": "a"}}"#;
        assert!(serde_json::from_str::<Request>(request).is_err());
        let case = r#"{"id": "", "name": "", "source": "", "config": {}, "request": []}"#;
        assert!(serde_json::from_str::<Case>(case).is_err());
    }

    #[test]
    #[should_panic(expected = "X has neither or both of requests and distribution")]
    fn a_row_without_requests_is_rejected() {
        let case = r#"{"id": "X", "name": "", "source": "", "config": {}}"#;
        serde_json::from_str::<Case>(case).unwrap().validate();
    }
}
