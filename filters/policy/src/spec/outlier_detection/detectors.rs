//! The detectors of `OutlierDetection`: failures in a row, and rates of failures.

use crate::document::fields::fields;
use crate::document::json::Json;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::value::number::{read_count, read_in};

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

pub(super) fn read_5xx(object: &Object<'_>) -> Result<Consecutive, Reported> {
    // Documents that have `consecutiveErrors` are about gateway errors alone.
    let default = if object.field("consecutiveErrors").is_some() { 0 } else { 100 };
    let threshold = object.field("consecutive5xxErrors");
    consecutive(object, threshold, ("enforcingConsecutive5xx", default))
}

/// Gateway errors, which Istio once called `consecutiveErrors`. Without a threshold Istio leaves
/// Envoy's detector on and does not enforce it.
pub(super) fn read_gateway_failures(object: &Object<'_>) -> Result<Consecutive, Reported> {
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

pub(super) fn read_local_failures(
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

pub(super) fn read_success_rate(node: &Node<'_>) -> Result<SuccessRate, Reported> {
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

pub(super) fn read_failure_percentage(node: &Node<'_>) -> Result<FailurePercentage, Reported> {
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

/// The number field `name` up to `most`, or a default.
#[inline(never)]
pub(super) fn number(
    object: &Object<'_>,
    name: &'static str,
    most: u32,
    default: u32,
) -> Result<u32, Reported> {
    Ok(object.optional(name, |node| read_in(node, 0..=most))?.unwrap_or(default))
}
