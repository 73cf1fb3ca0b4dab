//! `OutlierDetection`: Istio's fields with Istio's defaults, fields that only Envoy has, and fields
//! that neither has.

use std::time::Duration;

mod detectors;
mod failures;
mod fingerprint;

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::spec::mode::Mode;
use crate::spec::outlier::{self, Enforcement, OutlierSettings};
use crate::spec::scope::Scope;
use crate::value::duration;
use crate::value::number::read_in;
use detectors::{
    check_legacy_errors, number, read_5xx, read_failure_percentage, read_gateway_failures,
    read_local_failures, read_success_rate,
};
use fingerprint::hash;

pub use detectors::{Consecutive, FailurePercentage, SuccessRate};
pub use failures::Failures;

/// Default of Envoy's `max_ejection_time`; if the base time is longer, it is the default.
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);

/// The outlier detection of a cluster, compiled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `outlier.mode` of the document: whether hosts are ejected
    pub mode: Mode,
    /// Who keeps requests away from ejected hosts: `outlier.enforcement` of the document. If that
    /// is absent, the filter where only the filter can, otherwise Envoy
    pub enforcement: Enforcement,
    /// `consecutive5xxErrors`: 5 if absent, 0 is off
    pub consecutive_5xx: Consecutive,
    /// `consecutiveGatewayErrors`: 0 is off. If absent, 5, and detections are not enforced
    pub consecutive_gateway_failure: Consecutive,
    /// `consecutiveLocalOriginFailures`: 5 if absent or 0. Used only if `splits_local_origin` is
    /// true
    pub consecutive_local_origin_failure: Consecutive,
    /// `splitExternalLocalOriginErrors`: failed connections and missing responses are counted
    /// separately and not as 5xx; false if absent
    pub splits_local_origin: bool,
    /// `interval`, 10 s if absent
    pub interval: Duration,
    /// `baseEjectionTime`, 30 s if absent
    pub base_ejection_time: Duration,
    /// `maxEjectionTime` (Envoy); if absent, the longer of 300 s and the base time
    pub max_ejection_time: Duration,
    /// `maxEjectionTimeJitter` (Envoy): maximum of a random time that is added; 0 if absent
    pub max_ejection_time_jitter: Duration,
    /// `maxEjectionPercent`: maximum share of ejected hosts, 1 to 100; 10 if absent or 0
    pub max_ejection_percent: u32,
    /// `minHealthPercent`, 0 to 100: if the share of healthy hosts is smaller, all hosts receive
    /// requests. 0 if absent, which turns this off
    pub min_health_percent: u32,
    /// `alwaysEjectOneHost` (Envoy): one host may be ejected even if this exceeds
    /// `max_ejection_percent`; false if absent
    pub always_ejects_one_host: bool,
    /// `successRate` (Envoy); off if absent
    pub success_rate: Option<SuccessRate>,
    /// `failurePercentage` (Envoy); off if absent
    pub failure_percentage: Option<FailurePercentage>,
    /// `halfOpen` (in neither Istio nor Envoy); if absent, off without `fallback`, else the
    /// defaults
    pub half_open: Option<HalfOpen>,
    /// Responses that count as failures
    pub failures: Failures,
    /// Hash of the JSON value, independent of the order of fields. State that belongs to settings
    /// with another hash must not be reused
    pub fingerprint: u64,
}

/// How ejected hosts are tested with single requests before they return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// `successes`: number of consecutive probes that must succeed, 1 to 1000; 1 if absent
    pub successes: u32,
    /// `probeTimeout`: time without a response after which another probe may be sent; 10 s if
    /// absent
    pub probe_timeout: Duration,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self { successes: 1, probe_timeout: Duration::from_secs(10) }
    }
}

fields!(Settings as "OutlierDetection",
    "Ejects hosts that fail, so that they receive no requests.", {
    "consecutive5xxErrors": Kind::COUNT =>
        "Number of consecutive 5xx responses that eject a host; 5 if absent; 0 turns it off.";
    "consecutiveGatewayErrors": Kind::COUNT =>
        "Number of consecutive 502, 503 and 504 responses that eject a host; off if absent or 0.";
    "consecutiveErrors": Kind::COUNT => "Has no effect; use consecutive5xxErrors or consecutiveGatewayErrors.";
    "consecutiveLocalOriginFailures": Kind::COUNT =>
        "Number of consecutive failed connections that eject a host, requires \
         splitExternalLocalOriginErrors; 5 if absent or 0.";
    "splitExternalLocalOriginErrors": Kind::Boolean =>
        "Whether failed connections are counted separately from 5xx responses; false if absent.";
    "interval": Kind::Duration =>
        "Time between two evaluations of success and failure rates; 10s if absent.";
    "baseEjectionTime": Kind::Duration =>
        "Length of the first ejection of a host; later ones last a multiple of it; 30s if absent.";
    "maxEjectionTime": Kind::Duration =>
        "Maximum length of an ejection; if absent, the longer of 300s and baseEjectionTime.";
    "maxEjectionTimeJitter": Kind::Duration =>
        "Maximum of a random time that is added to an ejection; 0 if absent.";
    "maxEjectionPercent": Kind::PERCENT =>
        "Maximum share of ejected hosts, in percent; 10 if absent or 0.";
    "minHealthPercent": Kind::PERCENT =>
        "If the share of healthy hosts in percent is smaller, all hosts receive requests; 0 if \
         absent.";
    "alwaysEjectOneHost": Kind::Boolean =>
        "Whether one host may be ejected even if this exceeds maxEjectionPercent; false if absent.";
    "enforcingConsecutive5xx": Kind::PERCENT =>
        "Share of detections by consecutive5xxErrors that eject the host, in percent; 100 if \
         absent.";
    "enforcingConsecutiveGatewayFailure": Kind::PERCENT =>
        "Share of detections by consecutiveGatewayErrors that eject the host, in percent; if \
         absent, 100 with consecutiveGatewayErrors and 0 without it.";
    "enforcingConsecutiveLocalOriginFailure": Kind::PERCENT =>
        "Share of detections by consecutiveLocalOriginFailures that eject the host, in percent; \
         100 if absent.";
    "successRate": Kind::Object(SuccessRate::schema) =>
        "Ejects hosts whose success rate is far below the mean; off if absent.";
    "failurePercentage": Kind::Object(FailurePercentage::schema) =>
        "Ejects hosts with a large share of failed requests; off if absent.";
    "halfOpen": Kind::Object(HalfOpen::schema) =>
        "Tests ejected hosts with single requests before they return; off if absent, unless \
         fallback is present.";
    "fallback": Kind::Object(Fallback::schema) =>
        "Subset that receives the requests while all hosts of this one are ejected.";
    "outlierDetectionHttpErrorCodes": Kind::List(&Kind::Integer(100, 599)) =>
        "HTTP statuses that count as failures, in place of 5xx.";
    "failure": Kind::Object(Failures::schema) => "Other responses that count as failures.";
});

fields!(HalfOpen, "Tests ejected hosts with single requests (probes) before they return.", {
    "successes": Kind::Integer(1, 1000) =>
        "Number of consecutive probes that must succeed; 1 if absent.";
    "probeTimeout": Kind::Duration =>
        "Time without a response after which another probe is sent; 10s if absent.";
});

/// `fallback`
struct Fallback;

fields!(Fallback, "Subset that receives the requests while all hosts of this one are ejected.", {
    "subset" required: Kind::LABEL => "Name of another subset of the same host.";
});

impl Settings {
    /// Reads `outlierDetection`. Returns the settings, and the node with the subset of `fallback`.
    /// `outlier` is that of the document.
    ///
    /// # Errors
    /// Beside invalid values: fields that only the filter can carry out, if `outlier.enforcement`
    /// is Envoy.
    pub fn read<'a>(
        node: &Node<'a>,
        outlier: OutlierSettings,
        scope: &Scope<'_>,
    ) -> Result<(Self, Option<Node<'a>>), Reported> {
        let OutlierSettings { mode, enforcement } = outlier;
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
        let legacy_errors = check_legacy_errors(object);
        let consecutive_local_origin_failure = read_local_failures(object, splits);
        let success_rate = object.optional("successRate", read_success_rate);
        let failure_percentage = object.optional("failurePercentage", read_failure_percentage);
        let half_open = object.optional("halfOpen", read_half_open);
        let fallback = object.optional("fallback", |node| {
            let subset = node.object::<Fallback>()?.required("subset")?;
            subset.string().map(|_| subset)
        });
        let failures = Failures::read(object, enforcement, scope);
        let only_in_filter = ["fallback", "halfOpen"].map(|name| object.field(name));
        let mut conflict = Ok(());
        for node in only_in_filter.iter().flatten() {
            conflict = conflict.and(outlier::check_enforcement(node, enforcement));
        }
        let (fallback, failures, half_open) = (fallback?, failures?, half_open?);
        conflict?;
        legacy_errors?;
        let needs_filter =
            only_in_filter.iter().any(Option::is_some) || failures.has_grpc_statuses();
        let settings = Self {
            enforcement: enforcement.unwrap_or(match needs_filter {
                true => Enforcement::Filter,
                false => Enforcement::Envoy,
            }),
            consecutive_5xx: consecutive_5xx?,
            consecutive_gateway_failure: consecutive_gateway_failure?,
            consecutive_local_origin_failure: consecutive_local_origin_failure?,
            splits_local_origin: splits?,
            interval: interval?,
            base_ejection_time: base_ejection_time?,
            max_ejection_time: max_ejection_time?,
            max_ejection_time_jitter: max_ejection_time_jitter?,
            // 0 counts as absent, as in protobuf.
            max_ejection_percent: Some(max_ejection_percent?).filter(|p| *p > 0).unwrap_or(10),
            min_health_percent: min_health_percent?,
            always_ejects_one_host: always_ejects_one_host?,
            success_rate: success_rate?,
            failure_percentage: failure_percentage?,
            half_open: half_open.or_else(|| fallback.map(|_| HalfOpen::default())),
            failures,
            // Workers that eject hosts share no state with those that do not.
            fingerprint: hash(node.json, mode.is_shadow().into()),
            mode,
        };
        settings.report_idle_detectors(object);
        Ok((settings, fallback))
    }

    /// Returns settings with the effect of the mode for those who do not know modes, such as Envoy:
    /// in shadow mode, no detection is enforced.
    pub fn without_mode(mut self) -> Self {
        if !self.mode.is_shadow() {
            return self;
        }
        self.consecutive_5xx.enforcing = 0;
        self.consecutive_gateway_failure.enforcing = 0;
        self.consecutive_local_origin_failure.enforcing = 0;
        if let Some(rate) = &mut self.success_rate {
            (rate.enforcing, rate.enforcing_local_origin) = (0, 0);
        }
        if let Some(rate) = &mut self.failure_percentage {
            (rate.enforcing, rate.enforcing_local_origin) = (0, 0);
        }
        self
    }

    /// Reports settings that can never eject a host.
    fn report_idle_detectors(&self, object: &Object<'_>) {
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
            let reason = "ejects nothing, all of its detectors are off";
            object.node.notice(report::Kind::NoEffect, reason);
            return;
        }
        let of_5xx = self.consecutive_5xx;
        if (of_5xx.threshold == 0 || of_5xx.enforcing == 0)
            && !self.has_rates()
            && let Some(failure) = object.field("failure")
        {
            let reason = "ejects nothing for responses below 500, which count only for \
                          consecutive5xxErrors";
            failure.notice(report::Kind::NoEffect, reason);
        }
    }

    /// Returns whether a detector uses rates, so that successes must be counted too.
    pub fn has_rates(&self) -> bool {
        self.success_rate.is_some() || self.failure_percentage.is_some()
    }

    /// Returns the minimum number of hosts at which one host may be ejected: 10 by default, because
    /// one of nine hosts is more than 10 %.
    pub fn minimum_hosts(&self) -> u32 {
        if self.always_ejects_one_host { 1 } else { 100u32.div_ceil(self.max_ejection_percent) }
    }

    /// Returns the length of an ejection without jitter, for a multiple of the base time.
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

/// Reads the duration field `name`; `default` is in milliseconds.
// Not inlined, to reduce code size: every filter contains the code of every setting.
#[inline(never)]
fn time(object: &Object<'_>, name: &'static str, default: u64) -> Result<Duration, Reported> {
    let milliseconds = object.optional(name, duration::read_milliseconds)?;
    Ok(Duration::from_millis(milliseconds.unwrap_or(default)))
}

#[cfg(test)]
mod tests;
