//! `virtualServices[].http[].fault`.

#![allow(dead_code, reason = "only their schemas are of use")]

use schemars::JsonSchema;

use super::virtual_service::{Number, Percent};

/// Faults.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Requests that wait.
    delay: Option<Delay>,
    /// Requests that are answered with an error.
    abort: Option<Abort>,
    /// Responses that break off; beyond Istio.
    reset: Option<Reset>,
    /// Responses that are slow; beyond Istio.
    response_rate_limit: Option<RateLimit>,
}

/// A delay.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delay {
    /// How often; never if absent.
    percentage: Option<Percent>,
    /// Deprecated, use percentage.
    percent: Option<Number>,
    /// How long.
    fixed_delay: Option<String>,
    /// The mean of delays that are exponentially distributed; beyond Istio.
    exponential_delay: Option<String>,
    /// What a fixed delay may be longer, evenly distributed; beyond Istio.
    jitter: Option<String>,
    /// What no exponential delay is longer than; ten times the mean if absent.
    max_delay: Option<String>,
}

/// An abort.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Abort {
    /// How often; never if absent.
    percentage: Option<Percent>,
    /// The HTTP status.
    #[schemars(range(min = 200, max = 599))]
    http_status: Option<u16>,
    /// The name of a gRPC status, such as UNAVAILABLE.
    grpc_status: Option<String>,
}

/// A response that breaks off.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reset {
    /// How often; never if absent.
    percentage: Option<Percent>,
    /// After how many bytes of the body.
    #[schemars(range(min = 0))]
    after_bytes: i64,
}

/// A response whose body is slow.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// How often; never if absent.
    percentage: Option<Percent>,
    /// The rate in KiB a second.
    #[schemars(range(min = 1))]
    limit_kbps: i64,
}
