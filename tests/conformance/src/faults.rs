//! Rows about faults, and their evaluation with the policy crate.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::fault::Faults;
use sluice_policy::request::{Draws, Request};
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::spec::policy::Policy;

use crate::policy::{Fixed, Listed, NoAttributes, Seeded};
use crate::rows::{Distribution, Node, assert_asserts, example, get, pairs, slash};
use crate::shares::Counts;

/// A configuration and the faults of requests under it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultCase {
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
    /// Requests with their faults
    #[serde(default)]
    pub requests: Vec<FaultRequest>,
    /// Expected shares of many requests, instead of `requests`: of `none`, `delay`, `abort` and
    /// `delay, abort`
    pub distribution: Option<Distribution>,
}

/// A request and its faults.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRequest {
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
    /// Time of arrival, in seconds since 1970
    #[serde(default)]
    pub at: u64,
    /// Random numbers in order; each of them must be drawn. If absent, the expectation must hold
    /// for every draw
    pub draws: Option<Vec<u64>>,
    /// Its faults
    pub expect: FaultExpectation,
}

/// Expected faults of a request; none if all fields are absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultExpectation {
    /// Length of the delay
    pub delay_ms: Option<u64>,
    /// HTTP status of the abort after the delay
    pub http_status: Option<u16>,
    /// gRPC status of the abort after the delay
    pub grpc_status: Option<u8>,
    /// Number of its headers that request an impossible fault
    #[serde(default)]
    pub malformed_headers: u32,
}

impl FaultCase {
    /// Asserts that the row contains an expectation.
    ///
    /// # Panics
    /// If it has neither or both of `requests` and `distribution`.
    pub fn validate(&self) {
        assert_asserts(&self.id, &self.requests, self.distribution.as_ref());
    }
}

impl FaultRequest {
    /// Returns all headers in the form in which Envoy passes them to a filter.
    pub fn pairs(&self) -> Vec<(String, Vec<u8>)> {
        pairs([&self.host, &self.path, &self.method, "http"], &self.headers)
    }

    /// Returns the time of arrival.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.at)
    }

    /// Returns its label in failure messages.
    pub fn title(&self) -> String {
        format!("{} http://{}{} {:?}", self.method, self.host, self.path, self.headers)
    }
}

impl FaultExpectation {
    /// Describes the observed faults of a request.
    ///
    /// # Panics
    /// If the delay has a fraction of a millisecond, which a row cannot express.
    pub fn new(
        delay: Option<Duration>,
        abort: Option<AbortStatus>,
        malformed_headers: u32,
    ) -> Self {
        let milliseconds = |delay: Duration| {
            assert_eq!(delay.subsec_nanos() % 1_000_000, 0, "{delay:?}");
            u64::try_from(delay.as_millis()).unwrap()
        };
        let (http_status, grpc_status) = match abort {
            None => (None, None),
            Some(AbortStatus::Http(status)) => (Some(status), None),
            Some(AbortStatus::Grpc(status)) => (None, Some(status)),
        };
        Self { delay_ms: delay.map(milliseconds), http_status, grpc_status, malformed_headers }
    }
}

/// Evaluates a row with the policy crate.
///
/// # Panics
/// If a result differs from the row. The message lists all differences.
pub fn check(case: &FaultCase) {
    let faults = match Faults::compile(case.config.get().as_bytes(), &Node::default()) {
        Ok((faults, _)) => faults,
        Err(rejection) => panic!("the configuration is refused:\n{rejection}"),
    };
    let mut differences = Vec::new();
    for request in &case.requests {
        let observe =
            |draws: &mut dyn Draws| observe(&faults, &request.pairs(), request.time(), draws);
        let found = match &request.draws {
            Some(draws) => {
                let mut listed = Listed(draws);
                let found = observe(&mut listed);
                assert_eq!(listed.0, [0; 0], "not drawn: {}", request.title());
                vec![found]
            }
            None => {
                let mut seeded = Seeded::default();
                let fixed = [0, 1, u64::MAX].map(|draw| observe(&mut Fixed(draw)));
                let random = (0..20).map(|_| observe(&mut seeded));
                fixed.into_iter().chain(random).collect()
            }
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
            let found = observe(&faults, &pairs, Duration::ZERO, &mut draws);
            let is_aborted = found.http_status.is_some() || found.grpc_status.is_some();
            let kind = match (found.delay_ms.is_some(), is_aborted) {
                (false, false) => "none",
                (true, false) => "delay",
                (false, true) => "abort",
                (true, true) => "delay, abort",
            };
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
        differences.extend(distribution.differences(&counts));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn observe(
    faults: &Faults,
    pairs: &[(String, Vec<u8>)],
    time: Duration,
    draws: &mut dyn Draws,
) -> FaultExpectation {
    let request = Request::new(pairs, &NoAttributes);
    let plan = faults.plan(&request, || SystemTime::UNIX_EPOCH + time, draws);
    FaultExpectation::new(plan.delay, plan.draw_abort(draws), plan.malformed_headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(requests: &str) -> FaultCase {
        let fault = r#"{"abort": {"httpStatus": 500, "percentage": {"value": 50}}}"#;
        let text = format!(
            r#"{{"id": "X", "name": "", "source": "", "config": {{"clusterName": "{{host}}",
                "virtualServices": [{{"hosts": ["example.com"], "http": [
                    {{"fault": {fault}, "route": [{{"destination": {{"host": "a"}}}}]}}]}}]}},
                "requests": {requests}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn correct_rows_pass() {
        check(&case(
            r#"[{"draws": [0], "expect": {"httpStatus": 500}}, {"draws": [500000], "expect": {}},
                {"host": "other.com", "expect": {}}]"#,
        ));
    }

    #[test]
    #[should_panic(expected = "expected FaultExpectation")]
    fn a_wrong_fault_is_reported() {
        check(&case(r#"[{"draws": [0], "expect": {"grpcStatus": 0}}]"#));
    }

    #[test]
    #[should_panic(expected = "expected FaultExpectation")]
    fn without_draws_an_expectation_must_hold_for_all() {
        check(&case(r#"[{"expect": {"httpStatus": 500}}]"#));
    }

    #[test]
    #[should_panic(expected = "not drawn: GET")]
    fn draws_are_used_up() {
        check(&case(r#"[{"draws": [0, 7], "expect": {"httpStatus": 500}}]"#));
    }

    #[test]
    #[should_panic(expected = "X has neither or both of requests and distribution")]
    fn a_row_without_requests_is_rejected() {
        case("[]").validate();
    }
}
