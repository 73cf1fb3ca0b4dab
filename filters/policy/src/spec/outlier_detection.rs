//! `OutlierDetection` as it is written: Istio's fields with Istio's defaults, Envoy's that Istio does
//! not have, and what neither has.

use std::time::Duration;

mod detectors;
mod failures;
mod fingerprint;

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::value::duration;
use crate::value::number::read_in;
use detectors::{
    number, read_5xx, read_failure_percentage, read_gateway_failures, read_local_failures,
    read_success_rate,
};
use fingerprint::hash;

pub use detectors::{Consecutive, FailurePercentage, SuccessRate};
pub use failures::Failures;

/// Envoy's `max_ejection_time` where it is not given, unless the base time is longer.
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);

/// The outlier detection of a cluster, compiled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `consecutive5xxErrors`: 5 if absent, 0 is off. Only detected if there is `consecutiveErrors`
    pub consecutive_5xx: Consecutive,
    /// `consecutiveGatewayErrors`, once `consecutiveErrors`: 5 and only detected if absent, 0 is off
    pub consecutive_gateway_failure: Consecutive,
    /// `consecutiveLocalOriginFailures`: 5 if absent or 0. At work only with a split
    pub consecutive_local_origin_failure: Consecutive,
    /// `splitExternalLocalOriginErrors`: failed connections and missing responses are counted by
    /// themselves and not as 5xx; false if absent
    pub splits_local_origin: bool,
    /// `interval`, 10 s if absent
    pub interval: Duration,
    /// `baseEjectionTime`, 30 s if absent
    pub base_ejection_time: Duration,
    /// `maxEjectionTime` (Envoy), 300 s or the base time if absent, whatever is longer
    pub max_ejection_time: Duration,
    /// `maxEjectionTimeJitter` (Envoy): upper bound of a random time that is added; 0 if absent
    pub max_ejection_time_jitter: Duration,
    /// `maxEjectionPercent`, 0 to 100; 10 if absent or 0
    pub max_ejection_percent: u32,
    /// `minHealthPercent`, 0 to 100: with a smaller share of healthy hosts, all get traffic; 0, which
    /// is never, if absent
    pub min_health_percent: u32,
    /// `alwaysEjectOneHost` (Envoy): the first host may be ejected whatever the share; false if absent
    pub always_ejects_one_host: bool,
    /// `successRate` (Envoy); off if absent
    pub success_rate: Option<SuccessRate>,
    /// `failurePercentage` (Envoy); off if absent
    pub failure_percentage: Option<FailurePercentage>,
    /// `halfOpen` (beyond Istio and Envoy); off if absent, unless there is a `fallback`
    pub half_open: Option<HalfOpen>,
    /// What is a failure
    pub failures: Failures,
    /// A hash of the settings as they are written: state of others is not theirs
    pub fingerprint: u64,
}

/// How ejected hosts come back where they are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// `successes`: how many probes in a row have to succeed; 1 if absent
    pub successes: u32,
    /// `probeTimeout`: after how long without an answer another probe may be sent; 10 s if absent
    pub probe_timeout: Duration,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self { successes: 1, probe_timeout: Duration::from_secs(10) }
    }
}

fields!(Settings as "OutlierDetection", "When hosts get no more requests.", {
    "consecutive5xxErrors": Kind::COUNT =>
        "Number of 5xx in a row that eject a host; 5 if absent, 0 is off.";
    "consecutiveGatewayErrors": Kind::COUNT =>
        "Number of 502, 503 and 504 in a row that eject a host; off if absent.";
    "consecutiveErrors": Kind::COUNT => "Deprecated, use consecutiveGatewayErrors.";
    "consecutiveLocalOriginFailures": Kind::COUNT =>
        "Number of failed connections in a row that eject a host, with the split; 5 if absent.";
    "splitExternalLocalOriginErrors": Kind::Boolean =>
        "Whether failed connections are counted by themselves; false if absent.";
    "interval": Kind::Text => "Time between two evaluations of rates; 10s if absent.";
    "baseEjectionTime": Kind::Text => "Length of the first ejection; 30s if absent.";
    "maxEjectionTime": Kind::Text => "Upper bound of an ejection; 300s if absent.";
    "maxEjectionTimeJitter": Kind::Text =>
        "Upper bound of a random time that is added to an ejection; 0 if absent.";
    "maxEjectionPercent": Kind::PERCENT => "Largest share of ejected hosts; 10 if absent.";
    "minHealthPercent": Kind::PERCENT =>
        "With a smaller share of healthy hosts, all hosts get requests; 0 if absent.";
    "alwaysEjectOneHost": Kind::Boolean =>
        "Whether one host may be ejected whatever the share; false if absent.";
    "enforcingConsecutive5xx": Kind::PERCENT => "Share of detections that are enforced.";
    "enforcingConsecutiveGatewayFailure": Kind::PERCENT => "Share of detections that are enforced.";
    "enforcingConsecutiveLocalOriginFailure": Kind::PERCENT =>
        "Share of detections that are enforced.";
    "successRate": Kind::Object(SuccessRate::schema) => "Detects hosts that are worse than others.";
    "failurePercentage": Kind::Object(FailurePercentage::schema) => "Detects hosts that fail often.";
    "halfOpen": Kind::Object(HalfOpen::schema) => "Tests ejected hosts before they return.";
    "fallback": Kind::Object(Fallback::schema) =>
        "The subset that gets the requests while this one is out.";
    "outlierDetectionHttpErrorCodes":
        Kind::List(&Kind::Integer(100, 599)) => "Only these statuses are failures.";
    "failure": Kind::Object(Failures::schema) => "What else is a failure.";
});

fields!(HalfOpen, "Tests ejected hosts before they return.", {
    "successes": Kind::Integer(1, 1000) =>
        "Number of probes in a row that must succeed; 1 if absent.";
    "probeTimeout": Kind::Text =>
        "Time after which an unanswered probe is followed by another; 10s if absent.";
});

/// `fallback`
struct Fallback;

fields!(Fallback, "The subset that gets the requests while this one is out.", {
    "subset" required: Kind::Text => "The name of the subset.";
});

impl Settings {
    /// Reads `outlierDetection`, and the name of the subset of its `fallback`.
    pub fn read<'a>(node: &Node<'a>) -> Result<(Self, Option<Node<'a>>), Reported> {
        let object = &node.object::<Self>()?;
        let splits = object.flag("splitExternalLocalOriginErrors");
        let always_ejects_one_host = object.flag("alwaysEjectOneHost");
        let interval = time(object, "interval", 10_000);
        let base_ejection_time = time(object, "baseEjectionTime", 30_000);
        let max_ejection_time_jitter = time(object, "maxEjectionTimeJitter", 0);
        let max_ejection_time = read_max_ejection_time(object, base_ejection_time);
        let max_ejection_percent = number(object, "maxEjectionPercent", 100, 0);
        let min_health_percent = number(object, "minHealthPercent", 100, 0);
        let consecutive_5xx = read_5xx(object);
        let consecutive_gateway_failure = read_gateway_failures(object);
        let consecutive_local_origin_failure = read_local_failures(object, splits);
        let success_rate = object.optional("successRate", read_success_rate);
        let failure_percentage = object.optional("failurePercentage", read_failure_percentage);
        let half_open = object.optional("halfOpen", read_half_open);
        let fallback = object.optional("fallback", |node| {
            let subset = node.object::<Fallback>()?.required("subset")?;
            subset.string().map(|_| subset)
        });
        let failures = Failures::read(object);
        let fallback = fallback?;
        let settings = Self {
            consecutive_5xx: consecutive_5xx?,
            consecutive_gateway_failure: consecutive_gateway_failure?,
            consecutive_local_origin_failure: consecutive_local_origin_failure?,
            splits_local_origin: splits?,
            interval: interval?,
            base_ejection_time: base_ejection_time?,
            max_ejection_time: max_ejection_time?,
            max_ejection_time_jitter: max_ejection_time_jitter?,
            // 0 is absent, as in protobuf.
            max_ejection_percent: Some(max_ejection_percent?).filter(|p| *p > 0).unwrap_or(10),
            min_health_percent: min_health_percent?,
            always_ejects_one_host: always_ejects_one_host?,
            success_rate: success_rate?,
            failure_percentage: failure_percentage?,
            half_open: half_open?.or_else(|| fallback.map(|_| HalfOpen::default())),
            failures: failures?,
            fingerprint: hash(node.json, 0),
        };
        settings.report_idle_detectors(node);
        Ok((settings, fallback))
    }

    /// Reports settings under which nothing is ever ejected.
    fn report_idle_detectors(&self, node: &Node<'_>) {
        let detectors = [
            self.consecutive_5xx,
            self.consecutive_gateway_failure,
            self.consecutive_local_origin_failure,
        ];
        let is_active = |(index, detector): (usize, &Consecutive)| {
            detector.threshold > 0
                && detector.enforcing > 0
                && (index < 2 || self.splits_local_origin)
        };
        if !detectors.iter().enumerate().any(is_active) && !self.has_rates() {
            node.notice(report::Kind::NoEffect, "ejects nothing, all of its detectors are off");
        }
    }

    /// Whether shares of failures are looked at, so that successes have to be counted too.
    pub fn has_rates(&self) -> bool {
        self.success_rate.is_some() || self.failure_percentage.is_some()
    }

    /// How many hosts a cluster needs for one of them to be ejected: 10 by default, since one in
    /// nine is more than 10 %.
    pub fn minimum_hosts(&self) -> u32 {
        if self.always_ejects_one_host { 1 } else { 100u32.div_ceil(self.max_ejection_percent) }
    }

    /// How long an ejection is, without the jitter.
    pub fn ejection_time(&self, multiplier: u32) -> Duration {
        self.base_ejection_time.saturating_mul(multiplier).min(self.max_ejection_time)
    }
}

fn read_max_ejection_time(
    object: &Object<'_>,
    base: Result<Duration, Reported>,
) -> Result<Duration, Reported> {
    let given = time(object, "maxEjectionTime", 0)?;
    let base = base?;
    match object.field("maxEjectionTime") {
        None => Ok(MAX_EJECTION_TIME.max(base)),
        Some(node) if given < base => Err(node.invalid("is shorter than baseEjectionTime")),
        Some(_) => Ok(given),
    }
}

fn read_half_open(node: &Node<'_>) -> Result<HalfOpen, Reported> {
    let object = node.object::<HalfOpen>()?;
    let successes = object.optional("successes", |node| read_in(node, 1..=1000));
    let probe_timeout = time(&object, "probeTimeout", 10_000);
    Ok(HalfOpen { successes: successes?.unwrap_or(1), probe_timeout: probe_timeout? })
}

/// The duration field `name`, or a default in milliseconds.
// Not inlined: every module has the code for every setting.
#[inline(never)]
fn time(object: &Object<'_>, name: &'static str, default: u64) -> Result<Duration, Reported> {
    let milliseconds = object.optional(name, duration::read_milliseconds)?;
    Ok(Duration::from_millis(milliseconds.unwrap_or(default)))
}

#[cfg(test)]
mod tests;
