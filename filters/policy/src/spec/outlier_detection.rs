//! `OutlierDetection` as it is written: Istio's fields with Istio's defaults, Envoy's that Istio does
//! not have, and what neither has.

use std::time::Duration;

mod failures;

use crate::document::fields::fields;
use crate::document::json::Json;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::value::duration;
use crate::value::number::{read_count, read_in};
pub use failures::Failures;
use xxhash_rust::xxh64::xxh64;

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

/// A detector of failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consecutive {
    /// How many; 0 is off
    pub threshold: u32,
    /// How often a detection is enforced, in percent
    pub enforcing: u32,
}

/// A detector of hosts that are worse than the others
/// (`success_rate_*` of Envoy's `OutlierDetection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// `minimumHosts`: how many hosts with enough requests it takes; 5 if absent
    pub minimum_hosts: u32,
    /// `requestVolume`: how many requests of an interval are enough; 100 if absent
    pub request_volume: u32,
    /// `stdevFactor`: how many thousandths of a standard deviation below the mean; 1900 if absent
    pub stdev_factor: u32,
    /// `enforcing`: how often a detection is enforced, in percent; 100 if absent
    pub enforcing: u32,
    /// `enforcingLocalOrigin`: the same of local failures; `enforcing` if absent
    pub enforcing_local_origin: u32,
}

/// A detector of hosts that are bad
/// (`failure_percentage_*` of Envoy's `OutlierDetection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// `threshold`: how many percent of the requests have to fail; 85 if absent
    pub threshold: u32,
    /// `minimumHosts`: how many hosts with enough requests it takes; 5 if absent
    pub minimum_hosts: u32,
    /// `requestVolume`: how many requests of an interval are enough; 50 if absent
    pub request_volume: u32,
    /// `enforcing`: how often a detection is enforced, in percent; 100 if absent, where Envoy has 0
    pub enforcing: u32,
    /// `enforcingLocalOrigin`: the same of local failures; `enforcing` if absent
    pub enforcing_local_origin: u32,
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

fields!(SuccessRate, "Detects hosts that are worse than others.", {
    "minimumHosts": Kind::COUNT => "Number of hosts with enough requests; 5 if absent.";
    "requestVolume": Kind::COUNT => "Number of requests that are enough; 100 if absent.";
    "stdevFactor": Kind::COUNT =>
        "Distance below the mean, in thousandths of a standard deviation; 1900 if absent.";
    "enforcing": Kind::PERCENT => "Share of detections that are enforced; 100 if absent.";
    "enforcingLocalOrigin": Kind::PERCENT =>
        "Share of detections by local failures that are enforced; as enforcing if absent.";
});

fields!(FailurePercentage, "Detects hosts that fail often.", {
    "threshold": Kind::PERCENT => "Share of failed requests; 85 if absent.";
    "minimumHosts": Kind::COUNT => "Number of hosts with enough requests; 5 if absent.";
    "requestVolume": Kind::COUNT => "Number of requests that are enough; 50 if absent.";
    "enforcing": Kind::PERCENT => "Share of detections that are enforced; 100 if absent.";
    "enforcingLocalOrigin": Kind::PERCENT =>
        "Share of detections by local failures that are enforced; as enforcing if absent.";
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

/// A detector that is enforced where its threshold is given, else in `enforcing.1` percent.
#[inline(never)]
fn consecutive(
    object: &Object<'_>,
    threshold: Option<Node<'_>>,
    enforcing: (&'static str, u32),
) -> Result<Consecutive, Reported> {
    let default = if threshold.is_some() { 100 } else { enforcing.1 };
    // A threshold of 0 is one that is never reached.
    let threshold = threshold.map_or(Ok(5), |node| read_count(&node));
    let enforcing = number(object, enforcing.0, 100, default);
    Ok(Consecutive { threshold: threshold?, enforcing: enforcing? })
}

fn read_5xx(object: &Object<'_>) -> Result<Consecutive, Reported> {
    // Documents that have `consecutiveErrors` are about gateway errors alone.
    let default = if object.field("consecutiveErrors").is_some() { 0 } else { 100 };
    let threshold = object.field("consecutive5xxErrors");
    consecutive(object, threshold, ("enforcingConsecutive5xx", default))
}

/// Gateway errors, which Istio once called `consecutiveErrors`. Without a threshold Istio leaves
/// Envoy's detector on and does not enforce it.
fn read_gateway_failures(object: &Object<'_>) -> Result<Consecutive, Reported> {
    const NAME: &str = "consecutiveGatewayErrors";
    let legacy = object.field("consecutiveErrors");
    let threshold = object.field(NAME);
    let conflict = match (&legacy, &threshold) {
        (Some(node), Some(_)) => {
            Some(node.error(format_args!("cannot be combined with {NAME}, its newer name")))
        }
        (Some(node), None) => {
            node.notice(report::Kind::Deprecated, format_args!("is deprecated, use {NAME}"));
            None
        }
        (None, _) => None,
    };
    let read = consecutive(object, legacy.or(threshold), ("enforcingConsecutiveGatewayFailure", 0));
    conflict.map_or(read, Err)
}

fn read_local_failures(
    object: &Object<'_>,
    splits: Result<bool, Reported>,
) -> Result<Consecutive, Reported> {
    let threshold = object
        .field("consecutiveLocalOriginFailures")
        // Istio takes 0 for absent here, unlike in the other two.
        .filter(|node| *node.json != Json::Integer(0));
    let lone = match (&threshold, splits) {
        (Some(node), Ok(false)) => {
            Some(node.error("can only be used with splitExternalLocalOriginErrors: true"))
        }
        _ => None,
    };
    let read = consecutive(object, threshold, ("enforcingConsecutiveLocalOriginFailure", 100));
    lone.map_or(read, Err)
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

fn read_success_rate(node: &Node<'_>) -> Result<SuccessRate, Reported> {
    let object = &node.object::<SuccessRate>()?;
    let minimum_hosts = number(object, "minimumHosts", u32::MAX, 5);
    let request_volume = number(object, "requestVolume", u32::MAX, 100);
    let stdev_factor = number(object, "stdevFactor", u32::MAX, 1900);
    let (enforcing, enforcing_local_origin) = read_enforcing(object);
    Ok(SuccessRate {
        minimum_hosts: minimum_hosts?,
        request_volume: request_volume?,
        stdev_factor: stdev_factor?,
        enforcing: enforcing?,
        enforcing_local_origin: enforcing_local_origin?,
    })
}

fn read_failure_percentage(node: &Node<'_>) -> Result<FailurePercentage, Reported> {
    let object = &node.object::<FailurePercentage>()?;
    let threshold = number(object, "threshold", 100, 85);
    let minimum_hosts = number(object, "minimumHosts", u32::MAX, 5);
    let request_volume = number(object, "requestVolume", u32::MAX, 50);
    let (enforcing, enforcing_local_origin) = read_enforcing(object);
    Ok(FailurePercentage {
        threshold: threshold?,
        minimum_hosts: minimum_hosts?,
        request_volume: request_volume?,
        enforcing: enforcing?,
        enforcing_local_origin: enforcing_local_origin?,
    })
}

/// `enforcing`, and `enforcingLocalOrigin`, whose default is the former.
#[inline(never)]
fn read_enforcing(object: &Object<'_>) -> (Result<u32, Reported>, Result<u32, Reported>) {
    let enforcing = number(object, "enforcing", 100, 100);
    let default = enforcing.unwrap_or(100);
    (enforcing, number(object, "enforcingLocalOrigin", 100, default))
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

/// The number field `name` up to `most`, or a default.
#[inline(never)]
fn number(
    object: &Object<'_>,
    name: &'static str,
    most: u32,
    default: u32,
) -> Result<u32, Reported> {
    Ok(object.optional_with(name, |node| read_in(node, 0..=most))?.unwrap_or(default))
}

/// A hash of a value, after one of what is before it.
fn hash(json: &Json, seed: u64) -> u64 {
    match json {
        Json::Null => xxh64(b"n", seed),
        Json::Bool(value) => xxh64(&[b'b', u8::from(*value)], seed),
        Json::Integer(value) => xxh64(&value.to_le_bytes(), seed),
        Json::Float(value) => xxh64(&value.to_bits().to_le_bytes(), seed),
        Json::String(value) => xxh64(value.as_bytes(), seed),
        Json::Array(values) => {
            values.iter().fold(xxh64(b"a", seed), |seed, value| hash(value, seed))
        }
        Json::Object(fields) => {
            // A protobuf `Struct` comes with its fields in another order each time.
            let fields = fields.iter().map(|(key, value)| hash(value, xxh64(key.as_bytes(), seed)));
            xxh64(&fields.fold(0, u64::wrapping_add).to_le_bytes(), xxh64(b"o", seed))
        }
    }
}

#[cfg(test)]
mod tests;
