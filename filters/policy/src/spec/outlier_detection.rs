//! `OutlierDetection` as it is written: Istio's fields with Istio's defaults, Envoy's that Istio does
//! not have, and what neither has.

use std::time::Duration;

mod failures;

use crate::document::json::Json;
use crate::document::node::{Node, Object};
use crate::value::duration;
use crate::value::number::whole;
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
    /// `maxEjectionTimeJitter` (Envoy): what an ejection may be longer at the most; 0 if absent
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

impl Settings {
    /// Reads `outlierDetection`, and the name of the subset of its `fallback`.
    pub fn read<'a>(node: &Node<'a>) -> Option<(Self, Option<Node<'a>>)> {
        let mut object = node.object()?;
        let fields = &mut object;
        let [splits, always_ejects_one_host] =
            ["splitExternalLocalOriginErrors", "alwaysEjectOneHost"].map(|name| flag(fields, name));
        let [interval, base_ejection_time, max_ejection_time_jitter] = times(
            fields,
            [("interval", 10_000), ("baseEjectionTime", 30_000), ("maxEjectionTimeJitter", 0)],
        );
        let [max_ejection_percent, min_health_percent] =
            numbers(fields, [("maxEjectionPercent", 100, 0), ("minHealthPercent", 100, 0)]);
        let fallback = fields.field("fallback");
        let half_open = fields.field("halfOpen").map(|node| read_half_open(&node));
        let settings = Self {
            consecutive_5xx: read_5xx(fields),
            consecutive_gateway_failure: read_gateway_failures(fields),
            consecutive_local_origin_failure: read_local_failures(fields, splits),
            splits_local_origin: splits,
            interval,
            base_ejection_time,
            max_ejection_time: read_max_ejection_time(fields, base_ejection_time),
            max_ejection_time_jitter,
            // 0 is absent, as in protobuf.
            max_ejection_percent: if max_ejection_percent > 0 { max_ejection_percent } else { 10 },
            min_health_percent,
            always_ejects_one_host,
            success_rate: fields.field("successRate").and_then(|node| read_success_rate(&node)),
            failure_percentage: fields
                .field("failurePercentage")
                .and_then(|node| read_failure_percentage(&node)),
            half_open: half_open.or_else(|| fallback.map(|_| HalfOpen::default())),
            failures: Failures::read(fields),
            fingerprint: hash(node.json, 0),
        };
        settings.remark(node);
        let fallback = fallback.and_then(|node| node.object()?.required("subset"));
        Some((settings, fallback))
    }

    /// Remarks on settings that can do nothing.
    fn remark(&self, node: &Node<'_>) {
        let detectors = [
            self.consecutive_5xx,
            self.consecutive_gateway_failure,
            self.consecutive_local_origin_failure,
        ];
        let is_at_work = |(index, detector): (usize, &Consecutive)| {
            detector.threshold > 0
                && detector.enforcing > 0
                && (index < 2 || self.splits_local_origin)
        };
        if !detectors.iter().enumerate().any(is_at_work) && !self.has_rates() {
            node.notice("ejects nothing, all of its detectors are off");
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

/// A detector that is enforced where its threshold is given, else in so many percent.
#[inline(never)]
fn consecutive(
    object: &mut Object<'_>,
    threshold: Option<Node<'_>>,
    enforcing: (&'static str, u32),
) -> Consecutive {
    let default = if threshold.is_some() { 100 } else { enforcing.1 };
    // A threshold of 0 is one that is never reached.
    let threshold = threshold.and_then(|node| whole(&node, 0..=u32::MAX)).unwrap_or(5);
    let [enforcing] = numbers(object, [(enforcing.0, 100, default)]);
    Consecutive { threshold, enforcing }
}

fn read_5xx(object: &mut Object<'_>) -> Consecutive {
    // Documents of the time of `consecutiveErrors` are about gateway errors alone.
    let default = if object.field("consecutiveErrors").is_some() { 0 } else { 100 };
    let threshold = object.field("consecutive5xxErrors");
    consecutive(object, threshold, ("enforcingConsecutive5xx", default))
}

/// Gateway errors. Istio called them `consecutiveErrors` once, and leaves Envoy's detector on without
/// having it enforced where they are not given.
fn read_gateway_failures(object: &mut Object<'_>) -> Consecutive {
    const NAME: &str = "consecutiveGatewayErrors";
    let legacy = object.field("consecutiveErrors");
    let threshold = object.field(NAME);
    match (&legacy, &threshold) {
        (Some(node), Some(_)) => {
            node.error(format_args!("has been replaced by {NAME}, which is given too"));
        }
        (Some(node), None) => {
            node.notice(format_args!("has been replaced by {NAME}, and is taken for that"));
        }
        (None, _) => {}
    }
    consecutive(object, legacy.or(threshold), ("enforcingConsecutiveGatewayFailure", 0))
}

fn read_local_failures(object: &mut Object<'_>, splits: bool) -> Consecutive {
    let threshold = object
        .field("consecutiveLocalOriginFailures")
        // For Istio 0 is absent here, other than in the other two.
        .filter(|node| *node.json != Json::Integer(0));
    if let (Some(node), false) = (&threshold, splits) {
        node.error("goes with splitExternalLocalOriginErrors: true");
    }
    consecutive(object, threshold, ("enforcingConsecutiveLocalOriginFailure", 100))
}

fn read_max_ejection_time(object: &mut Object<'_>, base: Duration) -> Duration {
    let [given] = times(object, [("maxEjectionTime", 0)]);
    if given.is_zero() {
        return MAX_EJECTION_TIME.max(base);
    }
    if let (Some(node), true) = (object.field("maxEjectionTime"), given < base) {
        node.invalid("is shorter than baseEjectionTime");
    }
    given
}

fn read_success_rate(node: &Node<'_>) -> Option<SuccessRate> {
    let mut object = node.object()?;
    let [minimum_hosts, request_volume, stdev_factor, enforcing] = numbers(
        &mut object,
        [
            ("minimumHosts", u32::MAX, 5),
            ("requestVolume", u32::MAX, 100),
            ("stdevFactor", u32::MAX, 1900),
            ("enforcing", 100, 100),
        ],
    );
    let [enforcing_local_origin] = numbers(&mut object, [("enforcingLocalOrigin", 100, enforcing)]);
    Some(SuccessRate {
        minimum_hosts,
        request_volume,
        stdev_factor,
        enforcing,
        enforcing_local_origin,
    })
}

fn read_failure_percentage(node: &Node<'_>) -> Option<FailurePercentage> {
    let mut object = node.object()?;
    let [threshold, minimum_hosts, request_volume, enforcing] = numbers(
        &mut object,
        [
            ("threshold", 100, 85),
            ("minimumHosts", u32::MAX, 5),
            ("requestVolume", u32::MAX, 50),
            ("enforcing", 100, 100),
        ],
    );
    let [enforcing_local_origin] = numbers(&mut object, [("enforcingLocalOrigin", 100, enforcing)]);
    Some(FailurePercentage {
        threshold,
        minimum_hosts,
        request_volume,
        enforcing,
        enforcing_local_origin,
    })
}

fn read_half_open(node: &Node<'_>) -> HalfOpen {
    let Some(mut object) = node.object() else { return HalfOpen::default() };
    let successes = object.field("successes").and_then(|node| whole(&node, 1..=1000));
    let [probe_timeout] = times(&mut object, [("probeTimeout", 10_000)]);
    HalfOpen { successes: successes.unwrap_or(1), probe_timeout }
}

#[inline(never)]
fn flag(object: &mut Object<'_>, name: &'static str) -> bool {
    object.field(name).and_then(|node| node.boolean()).unwrap_or_default()
}

/// Durations by name, with defaults in milliseconds.
fn times<const N: usize>(
    object: &mut Object<'_>,
    fields: [(&'static str, u64); N],
) -> [Duration; N] {
    fields.map(|(name, default)| Duration::from_millis(time(object, name, default)))
}

/// Numbers by name, each up to a maximum and with a default.
fn numbers<const N: usize>(
    object: &mut Object<'_>,
    fields: [(&'static str, u32, u32); N],
) -> [u32; N] {
    fields.map(|(name, most, default)| number(object, name, most, default))
}

// Not inlined, since every module has the code for every setting.
#[inline(never)]
fn time(object: &mut Object<'_>, name: &'static str, default: u64) -> u64 {
    let milliseconds = object.field(name).and_then(|node| duration::read_milliseconds(&node));
    milliseconds.unwrap_or(default)
}

#[inline(never)]
fn number(object: &mut Object<'_>, name: &'static str, most: u32, default: u32) -> u32 {
    object.field(name).and_then(|node| whole(&node, 0..=most)).unwrap_or(default)
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
