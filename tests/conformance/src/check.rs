//! Comparison of an observed request with the expectation of its row.

use std::collections::{BTreeMap, BTreeSet};

use crate::rows::{Expectation, Reply, Request};

/// Headers by name, several values joined with commas.
pub type Headers = BTreeMap<String, Vec<u8>>;

/// Observed effects of an implementation on a request.
#[derive(Debug)]
pub struct Observed {
    /// Its outcome
    pub outcome: Outcome,
    /// The headers of the response
    pub response: Headers,
    /// Route name in logs, if it is observable
    pub route: Option<String>,
}

/// Outcome of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It arrived at this cluster with these headers, pseudo-headers included.
    Forwarded {
        /// The cluster
        cluster: String,
        /// The headers
        headers: Headers,
    },
    /// The filter or Envoy answered it.
    Replied {
        /// The status
        status: u16,
        /// The body
        body: Vec<u8>,
    },
}

/// Expectation for headers that a row does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// They are unchanged.
    Filter,
    /// No expectation, because Envoy adds headers of its own.
    Envoy,
}

/// Groups header pairs by name.
pub fn lines(pairs: impl IntoIterator<Item = (String, Vec<u8>)>) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers
            .entry(name.to_ascii_lowercase())
            .and_modify(|joined| *joined = [&**joined, b",", &value].concat())
            .or_insert(value);
    }
    headers
}

impl Request {
    /// Returns the differences from the expectation; empty if there are none.
    pub fn differences(&self, observed: &Observed, strictness: Strictness) -> Vec<String> {
        let mut differences = Differences { strictness, found: Vec::new() };
        match (&self.expect, &observed.outcome) {
            (
                Expectation::Forward { cluster, path, host, headers, response_headers, route },
                Outcome::Forwarded { cluster: chosen, headers: received },
            ) => {
                differences.text("cluster", cluster, chosen);
                differences.route(route.as_deref(), observed);
                let mut sent = lines(self.pairs());
                // Only the router sets this header; its value is the cluster that was compared
                // above.
                sent.remove("x-sluice-cluster");
                let original = path.as_ref().map(|_| self.path.clone().into_bytes());
                // A rewrite of the path adds this header.
                sent.extend(
                    original.map(|original| ("x-envoy-original-path".to_owned(), original)),
                );
                sent.extend(path.clone().map(|path| (":path".to_owned(), path.into_bytes())));
                sent.extend(host.clone().map(|host| (":authority".to_owned(), host.into_bytes())));
                differences.headers(&sent, headers, received);
                let upstream = lines(bytes(&self.upstream_headers));
                differences.headers(&upstream, response_headers, &observed.response);
            }
            (Expectation::Reply(reply), Outcome::Replied { status, body }) => {
                let Reply { headers, route, .. } = reply;
                differences.text("status", &reply.status.to_string(), &status.to_string());
                differences.bytes("body", Some(&reply.body), Some(body));
                differences.route(route.as_deref(), observed);
                differences.headers(&Headers::new(), headers, &observed.response);
            }
            (Expectation::Forward { cluster, .. }, Outcome::Replied { status, body }) => {
                let body = String::from_utf8_lossy(body);
                differences
                    .found
                    .push(format!("expected at {cluster:?}, answered with {status} {body:?}"));
            }
            (Expectation::Reply(reply), Outcome::Forwarded { cluster, .. }) => {
                differences
                    .found
                    .push(format!("expected to be {}, forwarded to {cluster:?}", reply.status));
            }
        }
        differences.found
    }

    /// Returns its label in failure messages.
    pub fn title(&self) -> String {
        let Self { method, scheme, host, path, headers, .. } = self;
        format!("{method} {scheme}://{host}{path} {headers:?}")
    }
}

struct Differences {
    strictness: Strictness,
    found: Vec<String>,
}

impl Differences {
    fn text(&mut self, what: &str, expected: &str, got: &str) {
        self.bytes(what, Some(expected.as_bytes()), Some(got.as_bytes()));
    }

    fn route(&mut self, expected: Option<&str>, observed: &Observed) {
        if let (Some(expected), Some(got)) = (expected, &observed.route) {
            self.text("route", expected, got);
        }
    }

    /// Compares all headers: those that the row names with the expected values, the others with the
    /// original ones.
    fn headers(
        &mut self,
        before: &Headers,
        expected: &BTreeMap<String, Option<String>>,
        got: &Headers,
    ) {
        // Envoy changes some headers itself; only the policy changes these.
        let is_certain = |name: &str| {
            self.strictness == Strictness::Filter
                || matches!(name, ":authority" | ":path" | "x-envoy-original-path")
        };
        let others = before.keys().chain(got.keys()).filter(|name| is_certain(name));
        let names: BTreeSet<String> = others.chain(expected.keys()).cloned().collect();
        for name in names {
            let wanted = match expected.get(&name) {
                Some(value) => value.as_deref().map(str::as_bytes),
                None => before.get(&name).map(Vec::as_slice),
            };
            self.bytes(&name, wanted, got.get(&name).map(Vec::as_slice));
        }
    }

    fn bytes(&mut self, what: &str, expected: Option<&[u8]>, got: Option<&[u8]>) {
        if expected != got {
            let shown = |value: Option<&[u8]>| {
                value.map_or("none".to_owned(), |value| {
                    format!("{:?}", String::from_utf8_lossy(value))
                })
            };
            self.found.push(format!("{what}: expected {}, got {}", shown(expected), shown(got)));
        }
    }
}

/// Converts pairs of strings to pairs of a name and bytes.
pub(crate) fn bytes(pairs: &[(String, String)]) -> impl Iterator<Item = (String, Vec<u8>)> {
    pairs.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(expect: &str) -> Request {
        let text = format!(r#"{{"path": "/a?b", "headers": [["x", "1"]], "expect": {expect}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn forwarded(changes: &[(&str, &str)], response: &[(&str, &str)]) -> Observed {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        let mut headers = lines(request(r#"{"cluster": "a"}"#).pairs());
        headers.extend(changes.iter().map(own));
        let outcome = Outcome::Forwarded { cluster: "a".to_owned(), headers };
        Observed { outcome, response: response.iter().map(own).collect(), route: None }
    }

    #[test]
    fn headers_that_are_not_listed_must_not_change() {
        let plain = request(r#"{"cluster": "a"}"#);
        let differences = |observed: &Observed| plain.differences(observed, Strictness::Filter);
        assert!(differences(&forwarded(&[], &[])).is_empty());
        assert_eq!(differences(&forwarded(&[("y", "2")], &[])), [r#"y: expected none, got "2""#]);
        assert_eq!(differences(&forwarded(&[], &[("y", "2")])), [r#"y: expected none, got "2""#]);
        assert_eq!(
            differences(&forwarded(&[(":path", "/c"), ("x", "3")], &[])),
            [r#":path: expected "/a?b", got "/c""#, r#"x: expected "1", got "3""#]
        );
        let by_envoy =
            plain.differences(&forwarded(&[("x-request-id", "2")], &[]), Strictness::Envoy);
        assert!(by_envoy.is_empty());
    }

    #[test]
    fn listed_headers_must_have_the_expected_values() {
        let named = request(
            r#"{"cluster": "b", "path": "/c", "host": "d", "headers": {"x": null, "y": "2"},
                "responseHeaders": {"z": "3"}}"#,
        );
        let differences = named.differences(&forwarded(&[], &[]), Strictness::Envoy);
        assert_eq!(
            differences,
            [
                r#"cluster: expected "b", got "a""#,
                r#":authority: expected "d", got "example.com""#,
                r#":path: expected "/c", got "/a?b""#,
                r#"x: expected none, got "1""#,
                r#"x-envoy-original-path: expected "/a?b", got none"#,
                r#"y: expected "2", got none"#,
                r#"z: expected "3", got none"#,
            ]
        );
    }

    #[test]
    fn all_parts_of_a_response_are_compared() {
        let answered = request(r#"{"status": 301, "location": "/n", "body": "b"}"#);
        let outcome = Outcome::Replied { status: 302, body: b"c".to_vec() };
        let response = Headers::from([("x".to_owned(), b"1".to_vec())]);
        let observed = Observed { outcome, response, route: None };
        assert_eq!(
            answered.differences(&observed, Strictness::Filter),
            [
                r#"status: expected "301", got "302""#,
                r#"body: expected "b", got "c""#,
                r#"location: expected "/n", got none"#,
                r#"x: expected none, got "1""#,
            ]
        );
        assert_eq!(
            answered.differences(&forwarded(&[], &[]), Strictness::Filter),
            [r#"expected to be 301, forwarded to "a""#]
        );
        assert_eq!(
            request(r#"{"cluster": "a"}"#).differences(&observed, Strictness::Filter),
            [r#"expected at "a", answered with 302 "c""#]
        );
    }
}
