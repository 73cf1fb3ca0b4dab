//! The detectors of `OutlierDetection`: failures in a row, and rates of failures.

use crate::document::fields::fields;
use crate::document::json::Json;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::value::number::{read_count, read_in};

/// Detector of consecutive failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consecutive {
    /// Number of consecutive failures; 0 is off
    pub threshold: u32,
    /// Share of detections that are enforced, in percent
    pub enforcing: u32,
}

/// Detector of hosts whose success rate is far below the mean of all hosts
/// (`success_rate_*` of Envoy's `OutlierDetection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// `minimumHosts`: required number of hosts with enough requests; 5 if absent
    pub minimum_hosts: u32,
    /// `requestVolume`: number of requests per interval that are enough; 100 if absent
    pub request_volume: u32,
    /// `stdevFactor`: distance below the mean, in thousandths of a standard deviation; 1900 if
    /// absent
    pub stdev_factor: u32,
    /// `enforcing`: share of detections that are enforced, in percent; 100 if absent
    pub enforcing: u32,
    /// `enforcingLocalOrigin`: the same share for local failures; equal to `enforcing` if absent
    pub enforcing_local_origin: u32,
}

/// Detector of hosts with a large share of failed requests
/// (`failure_percentage_*` of Envoy's `OutlierDetection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// `threshold`: share of failed requests, in percent; 85 if absent
    pub threshold: u32,
    /// `minimumHosts`: required number of hosts with enough requests; 5 if absent
    pub minimum_hosts: u32,
    /// `requestVolume`: number of requests per interval that are enough; 50 if absent
    pub request_volume: u32,
    /// `enforcing`: share of detections that are enforced, in percent; 100 if absent (0 in Envoy)
    pub enforcing: u32,
    /// `enforcingLocalOrigin`: the same share for local failures; equal to `enforcing` if absent
    pub enforcing_local_origin: u32,
}

fields!(SuccessRate, "Ejects hosts whose success rate is far below the mean of all hosts.", {
    "minimumHosts": Kind::COUNT => "Required number of hosts with enough requests; 5 if absent.";
    "requestVolume": Kind::COUNT =>
        "Number of requests to a host per interval that are enough; 100 if absent.";
    "stdevFactor": Kind::COUNT =>
        "Distance below the mean, in thousandths of a standard deviation; 1900 if absent.";
    "enforcing": Kind::PERCENT =>
        "Share of detections that eject the host, in percent; 100 if absent.";
    "enforcingLocalOrigin": Kind::PERCENT =>
        "The same share for detections by failed connections; equal to enforcing if absent.";
});

fields!(FailurePercentage, "Ejects hosts with a large share of failed requests.", {
    "threshold": Kind::PERCENT => "Share of failed requests, in percent; 85 if absent.";
    "minimumHosts": Kind::COUNT => "Required number of hosts with enough requests; 5 if absent.";
    "requestVolume": Kind::COUNT =>
        "Number of requests to a host per interval that are enough; 50 if absent.";
    "enforcing": Kind::PERCENT =>
        "Share of detections that eject the host, in percent; 100 if absent.";
    "enforcingLocalOrigin": Kind::PERCENT =>
        "The same share for detections by failed connections; equal to enforcing if absent.";
});

/// Reads a detector. `enforcing` contains the name of the enforcement field, and its default in
/// percent for an absent threshold; if the threshold is present, the default is 100.
#[inline(never)]
fn consecutive(
    object: &Object<'_>,
    threshold: Option<Node<'_>>,
    enforcing: (&'static str, u32),
) -> Result<Consecutive, Reported> {
    let default = if threshold.is_some() { 100 } else { enforcing.1 };
    // The threshold 0 turns the detector off.
    let threshold = threshold.map_or(Ok(5), |node| read_count(&node));
    let enforcing = number(object, enforcing.0, 100, default);
    Ok(Consecutive { threshold: threshold?, enforcing: enforcing? })
}

pub(super) fn read_5xx(object: &Object<'_>) -> Result<Consecutive, Reported> {
    let threshold = object.field("consecutive5xxErrors");
    consecutive(object, threshold, ("enforcingConsecutive5xx", 100))
}

/// Reads the detector of gateway errors. Without a threshold, Istio leaves Envoy's detector on and
/// does not enforce its detections.
pub(super) fn read_gateway_failures(object: &Object<'_>) -> Result<Consecutive, Reported> {
    let threshold = object.field("consecutiveGatewayErrors");
    consecutive(object, threshold, ("enforcingConsecutiveGatewayFailure", 0))
}

/// Checks `consecutiveErrors`, which istiod does not read (`applyOutlierDetection` in
/// `pilot/pkg/networking/core/cluster_traffic_policy.go`).
pub(super) fn check_legacy_errors(object: &Object<'_>) -> Result<(), Reported> {
    let Some(node) = object.field("consecutiveErrors") else { return Ok(()) };
    let reason = "has no effect, since istiod does not read it; write consecutive5xxErrors or \
                  consecutiveGatewayErrors";
    node.notice(report::Kind::Deprecated, reason);
    read_count(&node).map(|_| ())
}

pub(super) fn read_local_failures(
    object: &Object<'_>,
    splits: Result<bool, Reported>,
) -> Result<Consecutive, Reported> {
    let threshold = object
        .field("consecutiveLocalOriginFailures")
        // Istio handles 0 as absent here, unlike for the other two detectors.
        .filter(|node| *node.json != Json::Integer(0));
    let conflict = match (&threshold, splits) {
        (Some(node), Ok(false)) => {
            Some(node.error("can only be used with splitExternalLocalOriginErrors: true"))
        }
        _ => None,
    };
    let read = consecutive(object, threshold, ("enforcingConsecutiveLocalOriginFailure", 100));
    conflict.map_or(read, Err)
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

/// Reads `enforcing`, and `enforcingLocalOrigin`, whose default is the value of `enforcing`.
#[inline(never)]
fn read_enforcing(object: &Object<'_>) -> (Result<u32, Reported>, Result<u32, Reported>) {
    let enforcing = number(object, "enforcing", 100, 100);
    let default = enforcing.unwrap_or(100);
    (enforcing, number(object, "enforcingLocalOrigin", 100, default))
}

/// Reads the number field `name`, 0 to `most`.
#[inline(never)]
pub(super) fn number(
    object: &Object<'_>,
    name: &'static str,
    most: u32,
    default: u32,
) -> Result<u32, Reported> {
    Ok(object.optional(name, |node| read_in(node, 0..=most))?.unwrap_or(default))
}
