//! `destinationRules[]`.

#![allow(dead_code, reason = "only their schemas are of use")]

use schemars::JsonSchema;
use serde_json::Value;

use super::Map;
use super::virtual_service::{PortSelector, StringMatch};

/// The spec of a DestinationRule.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationRule {
    /// The host that it is for; *.SUFFIX for several.
    host: String,
    /// What holds for the host.
    traffic_policy: Option<TrafficPolicy>,
    /// The versions of the service.
    subsets: Option<Vec<Subset>>,
    /// The workloads that it is for; all if absent.
    workload_selector: Option<WorkloadSelector>,
    /// Of no effect: only attached documents apply.
    export_to: Option<Vec<String>>,
}

/// Which workloads are meant.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadSelector {
    /// The labels that they have.
    match_labels: Map<String>,
}

/// A version of the service.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subset {
    /// The name.
    name: String,
    /// The labels of its endpoints; Envoy's clusters have to follow them.
    labels: Option<Map<String>>,
    /// What holds for the subset.
    traffic_policy: Option<TrafficPolicy>,
}

/// What holds for clusters.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicy {
    /// When hosts get no more requests.
    outlier_detection: Option<OutlierDetection>,
    /// What holds for single ports in place of the rest.
    port_level_settings: Option<Vec<PortPolicy>>,
    /// Left to Envoy.
    load_balancer: Option<Value>,
    /// Left to Envoy.
    connection_pool: Option<Value>,
    /// Left to Envoy.
    tls: Option<Value>,
    /// Left to Envoy.
    tunnel: Option<Value>,
    /// Left to Envoy.
    proxy_protocol: Option<Value>,
    /// Left to Envoy.
    retry_budget: Option<Value>,
}

/// What holds for a port.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortPolicy {
    /// The port.
    port: PortSelector,
    /// When hosts get no more requests.
    outlier_detection: Option<OutlierDetection>,
    /// Left to Envoy.
    load_balancer: Option<Value>,
    /// Left to Envoy.
    connection_pool: Option<Value>,
    /// Left to Envoy.
    tls: Option<Value>,
}

/// When hosts get no more requests.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutlierDetection {
    /// So many 5xx in a row eject a host; 5 if absent, 0 is off.
    #[schemars(rename = "consecutive5xxErrors")]
    consecutive_5xx_errors: Option<u32>,
    /// So many 502, 503 and 504 in a row eject a host; off if absent.
    consecutive_gateway_errors: Option<u32>,
    /// Deprecated, use consecutiveGatewayErrors.
    consecutive_errors: Option<u32>,
    /// So many failed connections in a row eject a host, with the split; 5 if absent.
    consecutive_local_origin_failures: Option<u32>,
    /// Whether failed connections are counted by themselves.
    split_external_local_origin_errors: Option<bool>,
    /// Time between two looks at rates; 10s if absent.
    interval: Option<String>,
    /// The time of the first ejection; 30s if absent.
    base_ejection_time: Option<String>,
    /// The longest ejection; 300s if absent.
    max_ejection_time: Option<String>,
    /// What an ejection may be longer; 0 if absent.
    max_ejection_time_jitter: Option<String>,
    /// How many of the hosts may be out; 10 if absent.
    #[schemars(range(max = 100))]
    max_ejection_percent: Option<u32>,
    /// With a smaller share of healthy hosts, all get requests; 0 if absent.
    #[schemars(range(max = 100))]
    min_health_percent: Option<u32>,
    /// Whether one host may be ejected whatever the share.
    always_eject_one_host: Option<bool>,
    /// How often detections are enforced, in percent.
    #[schemars(rename = "enforcingConsecutive5xx", range(max = 100))]
    enforcing_consecutive_5xx: Option<u32>,
    /// How often detections are enforced, in percent.
    #[schemars(range(max = 100))]
    enforcing_consecutive_gateway_failure: Option<u32>,
    /// How often detections are enforced, in percent.
    #[schemars(range(max = 100))]
    enforcing_consecutive_local_origin_failure: Option<u32>,
    /// Hosts that are worse than the others.
    success_rate: Option<SuccessRate>,
    /// Hosts that are bad.
    failure_percentage: Option<FailurePercentage>,
    /// How ejected hosts come back where they are tried first.
    half_open: Option<HalfOpen>,
    /// The subset that gets the requests while this one is out.
    fallback: Option<Fallback>,
    /// These statuses are failures, and no others.
    outlier_detection_http_error_codes: Option<Vec<Status>>,
    /// What is a failure beside.
    failure: Option<Failure>,
}

/// An HTTP status.
#[derive(JsonSchema)]
pub struct Status(#[schemars(range(min = 100, max = 599))] u16);

/// Hosts that are worse than the others.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct SuccessRate {
    /// How many hosts with enough requests it takes; 5 if absent.
    minimum_hosts: Option<u32>,
    /// How many requests are enough; 100 if absent.
    request_volume: Option<u32>,
    /// Thousandths of a standard deviation below the mean; 1900 if absent.
    stdev_factor: Option<u32>,
    /// How often a detection is enforced, in percent; 100 if absent.
    #[schemars(range(max = 100))]
    enforcing: Option<u32>,
    /// The same of local failures.
    #[schemars(range(max = 100))]
    enforcing_local_origin: Option<u32>,
}

/// Hosts that are bad.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailurePercentage {
    /// How many percent of the requests have to fail; 85 if absent.
    #[schemars(range(max = 100))]
    threshold: Option<u32>,
    /// How many hosts with enough requests it takes; 5 if absent.
    minimum_hosts: Option<u32>,
    /// How many requests are enough; 50 if absent.
    request_volume: Option<u32>,
    /// How often a detection is enforced, in percent; 100 if absent.
    #[schemars(range(max = 100))]
    enforcing: Option<u32>,
    /// The same of local failures.
    #[schemars(range(max = 100))]
    enforcing_local_origin: Option<u32>,
}

/// How ejected hosts come back where they are tried first.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct HalfOpen {
    /// How many probes in a row have to succeed; 1 if absent.
    #[schemars(range(min = 1, max = 1000))]
    successes: Option<u32>,
    /// After how long without an answer another probe may be sent; 10s if absent.
    probe_timeout: Option<String>,
}

/// What gets the requests while a subset is out.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fallback {
    /// The other subset.
    subset: String,
}

/// What is a failure beside statuses.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// Names of gRPC statuses.
    grpc_status: Option<Vec<String>>,
    /// Response headers.
    headers: Option<Map<StringMatch>>,
    /// Responses that take longer.
    slower_than: Option<String>,
}
