//! Rows about failing hosts, and their evaluation with the policy crate and a simulated clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::outlier::classify::{
    Outcome, Response, Verdict, classify, classify_trailers, is_failure,
};
use sluice_policy::outlier::count::Counts;
use sluice_policy::outlier::rates::Rates;
use sluice_policy::outlier::{Choice, Cluster, Effect, EffectKind, Outliers, View};
use sluice_policy::request::Draws;
use sluice_policy::spec::outlier_detection::Settings;
use sluice_policy::spec::policy::Policy;

use crate::rows::Node;

/// Settings, the results of attempts, and the expected events of the hosts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutlierCase {
    /// Identifier, unique in its file; the test name begins with it
    pub id: String,
    /// Description; the rest of the test name
    pub name: String,
    /// Source of the expected behaviour
    pub source: String,
    /// Reason for the expectation, if it is not obvious
    pub note: Option<String>,
    /// `outlierDetection` of the cluster
    pub outlier_detection: Box<RawValue>,
    /// Number of hosts; their names are numbers from 0
    pub hosts: u64,
    /// Random numbers in the order of the draws; 0 after the last one
    #[serde(default)]
    pub draws: Vec<u64>,
    /// Times of the ticks, in milliseconds; every `interval` if absent
    pub ticks: Option<Vec<u64>>,
    /// The steps, in order of time
    pub script: Vec<Step>,
    /// Duration of the test, in milliseconds; until the last step or tick if absent
    pub until: Option<u64>,
    /// All events of the hosts, in order: `TIME HOST EVENT`
    pub expect: Vec<String>,
    /// The counters of hosts at the end: of 5xx, gateway errors and local failures
    #[serde(default)]
    pub counters: BTreeMap<String, [u32; 3]>,
    /// Possible destinations of a request at the end: `any`, `none`, hosts separated by commas, or
    /// the cluster of the fallback, `a-v1`
    pub choice: Option<String>,
}

/// One or more attempts to reach a host.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Time in milliseconds
    pub at: u64,
    /// The host
    pub host: u64,
    /// Number of attempts; 1 if absent
    #[serde(default = "one")]
    pub times: u32,
    /// Whether the attempt probes the host; the host must then be due for a probe
    #[serde(default)]
    pub probe: bool,
    /// The HTTP status of the response
    pub status: Option<u16>,
    /// Headers of the response
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Time until the response, in milliseconds
    #[serde(default)]
    pub latency: u64,
    /// `grpc-status` in the trailers
    pub trailers_grpc_status: Option<String>,
    /// The failure, instead of a response
    pub failure: Option<Failure>,
}

/// Failures other than responses.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// A response that was already counted was cut off.
    Broken,
    /// The connection failed.
    NoConnection,
    /// The connection succeeded, but there was no response.
    NoResponse,
}

fn one() -> u32 {
    1
}

impl OutlierCase {
    /// Asserts that the row contains an expectation.
    ///
    /// # Panics
    /// When it has no steps, or a step that is neither a response nor a failure, or both, or the
    /// steps are not in order.
    pub fn validate(&self) {
        assert!(!self.script.is_empty(), "{} has no script", self.id);
        for step in &self.script {
            assert_ne!(step.status.is_some(), step.failure.is_some(), "{}: {step:?}", self.id);
        }
        assert!(
            self.script.is_sorted_by_key(|step| step.at),
            "the steps of {} are not in order of time",
            self.id
        );
    }

    /// The configuration of a filter, and the name of its cluster: that of a host, or of a subset
    /// where the settings have a fallback, which is the subset `v1`.
    pub fn config(&self) -> (String, &'static str) {
        let detection = self.outlier_detection.get();
        let policy = format!(r#"{{"outlierDetection": {detection}}}"#);
        let settings: serde_json::Value = serde_json::from_str(detection).unwrap();
        let (rest, cluster) = if settings.get("fallback").is_none() {
            (format!(r#""trafficPolicy": {policy}"#), "a")
        } else {
            let subsets =
                format!(r#"{{"name": "v1"}}, {{"name": "v2", "trafficPolicy": {policy}}}"#);
            (format!(r#""subsets": [{subsets}]"#), "a-v2")
        };
        let config = format!(
            r#"{{"clusterName": "{{host}}[-{{subset}}]", "destinationRules": [{{"host": "a", {rest}}}]}}"#
        );
        (config, cluster)
    }
}

impl Step {
    fn outcome(&self, settings: &Settings) -> Outcome {
        if let Some(failure) = self.failure {
            return match failure {
                Failure::Broken => Outcome::Broken,
                Failure::NoConnection => Outcome::NoConnection,
                Failure::NoResponse => Outcome::NoResponse,
            };
        }
        let header = |name: &str| self.headers.get(name).map(|value| value.clone().into_bytes());
        let response = Response {
            status: self.status.unwrap(),
            latency: Duration::from_millis(self.latency),
            header: &header,
        };
        let verdict: Option<Verdict> = classify(&settings.failures, &response);
        assert_eq!(
            verdict.is_none(),
            self.trailers_grpc_status.is_some(),
            "trailers are given where they are looked at"
        );
        let trailers = || {
            let status = self.trailers_grpc_status.as_ref().map(String::as_bytes);
            classify_trailers(&settings.failures, status)
        };
        Outcome::Response(verdict.unwrap_or_else(trailers))
    }
}

/// A cluster with one worker. The state that workers share is stored in its serialized form.
struct Simulation<'a> {
    settings: &'a Settings,
    fallback: Option<&'a str>,
    endpoints: u64,
    cluster: Vec<u8>,
    counts: BTreeMap<String, [u8; Counts::LENGTH]>,
    rates: BTreeMap<String, Rates>,
    draws: Listed<'a>,
    timeline: Vec<String>,
}

impl Simulation<'_> {
    fn tell(&mut self, now: u64, effects: impl IntoIterator<Item = Effect>) {
        for Effect { host, kind } in effects {
            let host = String::from_utf8(host.into_vec()).unwrap();
            let what = match kind {
                EffectKind::Detected { reason, enforced: true } => format!("detected {reason}"),
                EffectKind::Detected { reason, enforced: false } => {
                    format!("detected {reason}, not enforced")
                }
                EffectKind::Ejected { reason, time, ejections } => {
                    format!("ejected for {} ms by {reason}, number {ejections}", time.as_millis())
                }
                EffectKind::Departed => "departed".to_owned(),
                EffectKind::Forgotten => "forgotten".to_owned(),
                EffectKind::Overflow => "overflow".to_owned(),
                EffectKind::Withheld { reason } => format!("withheld {reason}"),
                EffectKind::Returned { after } => {
                    format!("returned after {} ms", after.as_millis())
                }
            };
            self.timeline.push(format!("{now} {host} {what}"));
        }
    }

    fn tick(&mut self, now: u64) {
        let mut cluster = Cluster::decode(&self.cluster).unwrap();
        for (host, rates) in std::mem::take(&mut self.rates) {
            cluster.observe(host.as_bytes(), Duration::from_millis(now));
            cluster.add_rates(host.as_bytes(), rates);
        }
        let time = Duration::from_millis(now);
        let effects = cluster.on_interval(self.settings, self.endpoints, time, &mut self.draws);
        self.cluster = cluster.encode();
        self.tell(now, effects);
    }

    fn step(&mut self, step: &Step) {
        let host = step.host.to_string();
        let now = Duration::from_millis(step.at);
        for _ in 0..step.times {
            let mut cluster = Cluster::decode(&self.cluster).unwrap();
            if step.probe {
                let probed = cluster.take_probe(self.settings, now).map(<[u8]>::to_vec);
                assert_eq!(probed.as_deref(), Some(host.as_bytes()), "probe at {now:?}");
            }
            let outcome = step.outcome(self.settings);
            let before = self.counts.get(&host);
            let before = before.map_or(Counts::default(), |bytes| Counts::decode(bytes).unwrap());
            let standing = cluster.standing(host.as_bytes());
            let (after, found) = before.record(self.settings, standing, outcome);
            // Like the filter, this writes only a state that has changed.
            if after != before {
                self.counts.insert(host.clone(), after.encode());
            }
            self.rates.entry(host.clone()).or_default().record(self.settings, outcome);
            let mut effects = Vec::new();
            if standing.is_ejected {
                let (is_failure, draws) = (Some(is_failure(outcome)), &mut self.draws);
                let address = host.as_bytes();
                effects.extend(cluster.end_probe(
                    self.settings,
                    address,
                    now,
                    is_failure,
                    now,
                    draws,
                ));
            }
            for reason in found.iter() {
                let (address, draws) = (host.as_bytes(), &mut self.draws);
                effects.extend(cluster.detect(
                    self.settings,
                    address,
                    reason,
                    self.endpoints,
                    now,
                    draws,
                ));
            }
            self.cluster = cluster.encode();
            self.tell(step.at, effects);
        }
    }

    fn counters(&self, host: &str) -> [u32; 3] {
        let standing = Cluster::decode(&self.cluster).unwrap().standing(host.as_bytes());
        let counts = self.counts.get(host).and_then(|bytes| Counts::decode(bytes));
        let counts = counts.unwrap_or_default().since_ejection(standing);
        [
            counts.consecutive_5xx,
            counts.consecutive_gateway_failure,
            counts.consecutive_local_origin_failure,
        ]
    }

    fn choice(&mut self) -> String {
        let cluster = Cluster::decode(&self.cluster).unwrap();
        let has_fallback = self.fallback.is_some();
        let view = View::new(&cluster, self.settings, has_fallback);
        match view.choose(self.endpoints, 0, false) {
            Choice::Any if view.refuses(self.endpoints) => "none".to_owned(),
            Choice::Any => "any".to_owned(),
            Choice::Hosts(hosts) => String::from_utf8(hosts).unwrap(),
            Choice::Fallback => self.fallback.unwrap().to_owned(),
        }
    }
}

/// Evaluates a row with the policy crate.
///
/// # Panics
/// If a result differs from the row. The message lists all differences.
pub fn check(case: &OutlierCase) {
    let (config, name) = case.config();
    let outliers = match Outliers::compile(config.as_bytes(), &Node::default()) {
        Ok((outliers, _)) => outliers,
        Err(rejection) => panic!("the configuration is refused:\n{rejection}"),
    };
    let target = outliers.target(name).unwrap();
    let mut cluster = Cluster::new(Duration::ZERO);
    for host in 0..case.hosts {
        cluster.observe(host.to_string().as_bytes(), Duration::ZERO);
    }
    let mut simulation = Simulation {
        settings: &target.settings,
        fallback: target.fallback.as_deref(),
        endpoints: case.hosts,
        cluster: cluster.encode(),
        counts: BTreeMap::new(),
        rates: BTreeMap::new(),
        draws: Listed(&case.draws),
        timeline: Vec::new(),
    };
    let last = case.script.last().map_or(0, |step| step.at);
    let until = case.until.unwrap_or(last);
    let interval = u64::try_from(target.settings.interval.as_millis()).unwrap();
    let every_interval = || (1..=until / interval).map(|n| n * interval).collect();
    let ticks: Vec<u64> = case.ticks.clone().unwrap_or_else(every_interval);
    let mut ticks = ticks.into_iter().peekable();
    for step in &case.script {
        while let Some(tick) = ticks.next_if(|tick| *tick <= step.at) {
            simulation.tick(tick);
        }
        simulation.step(step);
    }
    ticks.for_each(|tick| simulation.tick(tick));
    assert_eq!(simulation.timeline, case.expect, "events of the hosts");
    for (host, counters) in &case.counters {
        assert_eq!(simulation.counters(host), *counters, "counters of host {host}");
    }
    if let Some(choice) = &case.choice {
        assert_eq!(simulation.choice(), *choice, "possible destinations");
    }
}

struct Listed<'a>(&'a [u64]);

impl Draws for Listed<'_> {
    fn draw(&mut self) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(rest: &str) -> OutlierCase {
        let text = format!(
            r#"{{"id": "X", "name": "", "source": "", "hosts": 10, "outlierDetection":
                {{"consecutive5xxErrors": 2}}, {rest}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    const FAILS: &str = r#""script": [{"at": 0, "host": 3, "status": 500, "times": 2}]"#;

    #[test]
    fn correct_rows_pass() {
        check(&case(&format!(
            r#"{FAILS}, "until": 30000, "choice": "any", "counters": {{"3": [0, 0, 0]}},
                "expect": ["0 3 detected consecutive_5xx",
                "0 3 ejected for 30000 ms by consecutive_5xx, number 1",
                "30000 3 returned after 30000 ms"]"#
        )));
    }

    #[test]
    #[should_panic(expected = "events of the hosts")]
    fn wrong_events_are_reported() {
        check(&case(&format!(r#"{FAILS}, "expect": []"#)));
    }

    #[test]
    #[should_panic(expected = "possible destinations")]
    fn a_wrong_destination_is_reported() {
        let script = r#""script": [{"at": 0, "host": 3, "status": 200}]"#;
        check(&case(&format!(r#"{script}, "expect": [], "choice": "none""#)));
    }

    #[test]
    #[should_panic(expected = "counters of host 3")]
    fn wrong_counters_are_reported() {
        let script = r#""script": [{"at": 0, "host": 3, "status": 500}]"#;
        check(&case(&format!(r#"{script}, "expect": [], "counters": {{"3": [0, 0, 0]}}"#)));
    }

    #[test]
    #[should_panic(expected = "the steps of X are not in order of time")]
    fn steps_must_be_in_order() {
        let step = |at| format!(r#"{{"at": {at}, "host": 0, "status": 200}}"#);
        case(&format!(r#""script": [{}, {}], "expect": []"#, step(1), step(0))).validate();
    }

    #[test]
    #[should_panic(expected = "X: Step")]
    fn a_step_must_be_a_response_or_a_failure() {
        case(r#""script": [{"at": 0, "host": 0}], "expect": []"#).validate();
    }
}
