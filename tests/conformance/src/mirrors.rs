//! Rows about mirrors, and their evaluation with the policy crate.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::mirror::Mirrors;
use sluice_policy::request::{Attributes, Draws, Request};
use sluice_policy::spec::mirror::HEADER_PREFIX;
use sluice_policy::spec::policy::Policy;

use crate::policy::{Fixed, Listed, NoAttributes, Seeded};
use crate::rows::{Distribution, Node, assert_asserts, example, get, pairs, slash};
use crate::shares::Counts;

/// A configuration, and the copies that it makes of requests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorCase {
    /// Identifier, unique in its file; the test name begins with it
    pub id: String,
    /// Description; the rest of the test name
    pub name: String,
    /// Source of the expected behaviour
    pub source: String,
    /// Reason for the expectation, if it is not obvious
    pub note: Option<String>,
    /// The configuration of the filter
    pub config: Box<RawValue>,
    /// Requests with their copies
    #[serde(default)]
    pub requests: Vec<MirrorRequest>,
    /// Expected shares of many requests, instead of `requests`: keys are the clusters of the
    /// copies, joined with commas, or `none`
    pub distribution: Option<Distribution>,
}

/// A request and its copies.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorRequest {
    /// GET if absent
    #[serde(default = "get")]
    pub method: String,
    /// `/` if absent
    #[serde(default = "slash")]
    pub path: String,
    /// `example.com` if absent
    #[serde(default = "example")]
    pub host: String,
    /// Names and values
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The port that the client connected to
    pub port: Option<u16>,
    /// Random numbers in order; each of them must be drawn. If absent, the expectation must hold
    /// for every draw
    pub draws: Option<Vec<u64>>,
    /// Its copies
    pub expect: MirrorExpectation,
}

/// Expected copies of a request; none if all fields are absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorExpectation {
    /// Clusters by the index of the mirror
    #[serde(default)]
    pub copies: BTreeMap<String, String>,
    /// Number of mirrors that were not drawn
    #[serde(default)]
    pub not_sampled: usize,
    /// Number of mirrors that the settings exclude for the request
    #[serde(default)]
    pub not_eligible: usize,
}

impl MirrorCase {
    /// Asserts that the row contains an expectation.
    ///
    /// # Panics
    /// If it has neither or both of `requests` and `distribution`.
    pub fn validate(&self) {
        assert_asserts(&self.id, &self.requests, self.distribution.as_ref());
    }
}

impl MirrorRequest {
    /// Returns all headers in the form in which Envoy passes them to a filter.
    pub fn pairs(&self) -> Vec<(String, Vec<u8>)> {
        pairs([&self.host, &self.path, &self.method, "http"], &self.headers)
    }

    /// Returns its label in failure messages.
    pub fn title(&self) -> String {
        format!("{} http://{}{} {:?}", self.method, self.host, self.path, self.headers)
    }
}

/// Evaluates a row with the policy crate.
///
/// # Panics
/// If a result differs from the row. The message lists all differences.
pub fn check(case: &MirrorCase) {
    let mirrors = match Mirrors::compile(case.config.get().as_bytes(), &Node::default()) {
        Ok((mirrors, _)) => mirrors,
        Err(rejection) => panic!("the configuration is refused:\n{rejection}"),
    };
    let mut differences = Vec::new();
    for request in &case.requests {
        let observe = |draws: &mut dyn Draws| observe(&mirrors, request, draws);
        let found = match &request.draws {
            Some(draws) => {
                let mut listed = Listed(draws);
                let found = observe(&mut listed);
                assert_eq!(listed.0, [0; 0], "not drawn: {}", request.title());
                vec![found]
            }
            None => [0, 1, u64::MAX].map(|draw| observe(&mut Fixed(draw))).to_vec(),
        };
        // Only the first draw with a difference is reported.
        if let Some(found) = found.iter().find(|found| **found != request.expect) {
            let (title, expected) = (request.title(), &request.expect);
            differences.push(format!("{title}\n  expected {expected:?}\n  got {found:?}"));
        }
    }
    if let Some(distribution) = &case.distribution {
        let mut draws = Seeded::default();
        let mut counts = Counts::new();
        for number in 0..distribution.requests {
            let pairs = distribution.request(number).pairs();
            let found = observe_pairs(&mirrors, &pairs, &NoAttributes, &mut draws);
            let clusters: Vec<_> = found.copies.into_values().collect();
            let kind = if clusters.is_empty() { "none".to_owned() } else { clusters.join(",") };
            *counts.entry(kind).or_default() += 1;
        }
        differences.extend(distribution.differences(&counts));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

impl Attributes for MirrorRequest {
    fn destination_port(&self) -> Option<u16> {
        self.port
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        None
    }

    fn claim(&self, _: &[String]) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

fn observe(mirrors: &Mirrors, request: &MirrorRequest, draws: &mut dyn Draws) -> MirrorExpectation {
    observe_pairs(mirrors, &request.pairs(), request, draws)
}

fn observe_pairs(
    mirrors: &Mirrors,
    pairs: &[(String, Vec<u8>)],
    attributes: &dyn Attributes,
    draws: &mut dyn Draws,
) -> MirrorExpectation {
    let request = Request::new(pairs, attributes);
    let plan = mirrors.plan(&request, draws);
    let copies = plan.copies.iter().map(|copy| {
        let edit = copy.request_edit();
        assert_eq!(*edit.value, *copy.cluster().as_bytes());
        let place = edit.name.strip_prefix(HEADER_PREFIX).expect("a header for copies");
        (place.to_owned(), copy.cluster().to_string())
    });
    MirrorExpectation {
        copies: copies.collect(),
        not_sampled: plan.not_sampled,
        not_eligible: plan.not_eligible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(requests: &str) -> MirrorCase {
        let text = format!(
            r#"{{"id": "X", "name": "", "source": "", "config": {{"clusterName": "{{host}}",
                "virtualServices": [{{"hosts": ["example.com"], "http": [
                    {{"mirror": {{"host": "b"}}, "mirrorPercentage": {{"value": 50}},
                      "route": [{{"destination": {{"host": "a"}}}}]}}]}}]}},
                "requests": {requests}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn correct_rows_pass() {
        check(&case(
            r#"[{"draws": [0], "expect": {"copies": {"0": "b"}}},
                {"draws": [500000], "expect": {"notSampled": 1}}, {"host": "c", "expect": {}}]"#,
        ));
    }

    #[test]
    #[should_panic(expected = "expected MirrorExpectation")]
    fn a_wrong_cluster_is_reported() {
        check(&case(r#"[{"draws": [0], "expect": {"copies": {"0": "c"}}}]"#));
    }

    #[test]
    #[should_panic(expected = "expected MirrorExpectation")]
    fn without_draws_an_expectation_must_hold_for_all() {
        check(&case(r#"[{"expect": {"copies": {"0": "b"}}}]"#));
    }

    #[test]
    #[should_panic(expected = "not drawn: GET")]
    fn draws_are_used_up() {
        check(&case(r#"[{"draws": [0, 7], "expect": {"copies": {"0": "b"}}}]"#));
    }
}
