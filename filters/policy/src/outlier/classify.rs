//! Classifies an attempt to reach a host as a success or as a kind of failure. Counting is
//! separate.

use std::time::Duration;

use crate::spec::outlier_detection::{Failures, Settings};

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The host sent a response.
    Response(Verdict),
    /// The response ended early. It was recorded as `Response` before.
    Broken,
    /// The connection failed.
    NoConnection,
    /// The connection succeeded, but there was no response before the timeout or the end of the
    /// connection.
    NoResponse,
}

/// The classification of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 502, 503, 504 or an equivalent failure. Another host may succeed.
    GatewayError,
    /// Another 5xx or an equivalent failure.
    ServerError,
    /// No failure.
    Success,
}

/// A response whose headers have arrived.
pub struct Response<'a> {
    /// The HTTP status
    pub status: u16,
    /// Time from the start of the attempt to the response headers
    pub latency: Duration,
    /// Returns the value of a header; the name is in lower case. Called only for headers that are
    /// needed
    pub header: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

/// Why a response is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The gRPC status in its headers.
    GrpcStatus,
    /// A header: `failure.headers`.
    Header,
    /// The time until its headers: `failure.slowerThan`.
    Latency,
    /// The HTTP status.
    Status,
}

impl Cause {
    /// The cause as a word of lower case letters, for the header that marks a failure.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GrpcStatus => "grpc_status",
            Self::Header => "header",
            Self::Latency => "latency",
            Self::Status => "status",
        }
    }
}

/// Returns why a response is a failure, judged by its headers; `None` if it is a success.
pub fn cause(failures: &Failures, response: &Response<'_>) -> Option<Cause> {
    let (verdict, cause) = judge(failures, response)?;
    (verdict != Verdict::Success).then_some(cause)
}

/// Classifies a response by its headers. `None` if the result depends on its trailers.
///
/// A gRPC status in the headers is mapped to an HTTP status as in Envoy. Envoy does this only for
/// gRPC requests, this function for all requests. With `outlierDetectionHttpErrorCodes`, a listed
/// status that is not a 5xx counts as 500, and every status that is not listed, also 503, is a
/// success. The list applies to the HTTP status only. Source: Envoy `Filter::onUpstreamHeaders`,
/// `Grpc::Utility::grpcToHttpStatus`.
pub fn classify(failures: &Failures, response: &Response<'_>) -> Option<Verdict> {
    judge(failures, response).map(|(verdict, _)| verdict)
}

/// Returns the verdict, and the property of the response that decided it.
fn judge(failures: &Failures, response: &Response<'_>) -> Option<(Verdict, Cause)> {
    let header = |name: &str| (response.header)(name);
    if failures.slower_than.is_some_and(|bound| response.latency > bound) {
        return Some((failure_verdict(response.status), Cause::Latency));
    }
    if failures.headers.iter().any(|(name, c)| c.is_match(header(name).as_deref())) {
        return Some((failure_verdict(response.status), Cause::Header));
    }
    let grpc = header("grpc-status").filter(|status| !status.is_empty());
    if !failures.grpc_statuses.is_empty() {
        match grpc {
            Some(status) => return Some((grpc_verdict(failures, &status), Cause::GrpcStatus)),
            // A status other than 200 is not from a gRPC server.
            None if response.status == 200 && is_grpc(header("content-type").as_deref()) => {
                return None;
            }
            None => {}
        }
    }
    if !failures.statuses.is_empty() {
        let is_failure = failures.statuses.contains(&response.status);
        let verdict = if is_failure { failure_verdict(response.status) } else { Verdict::Success };
        return Some((verdict, Cause::Status));
    }
    Some(match grpc {
        Some(status) => (verdict(grpc_to_http(parse_number(&status))), Cause::GrpcStatus),
        None => (verdict(response.status), Cause::Status),
    })
}

/// Classifies a gRPC response by the `grpc-status` of its trailers. Call this if [`classify`]
/// returned `None`.
pub fn classify_trailers(failures: &Failures, grpc_status: Option<&[u8]>) -> Verdict {
    grpc_verdict(failures, grpc_status.unwrap_or_default())
}

fn grpc_verdict(failures: &Failures, status: &[u8]) -> Verdict {
    match parse_number(status) {
        Some(status) if failures.grpc_statuses.contains(&status) => {
            failure_verdict(grpc_to_http(Some(status)))
        }
        _ => Verdict::Success,
    }
}

/// The verdict for the response counters. `None` if the attempt is counted only as a local failure.
pub(super) fn external_verdict(settings: &Settings, outcome: Outcome) -> Option<Verdict> {
    match outcome {
        Outcome::Response(verdict) => Some(verdict),
        _ if settings.splits_local_origin => None,
        // In Envoy, a failed connection counts as 503 and a missing response as 504.
        _ => Some(Verdict::GatewayError),
    }
}

/// Whether an attempt failed without a complete response of the host. `None` if such failures are
/// not counted separately.
pub(super) fn is_local_failure(settings: &Settings, outcome: Outcome) -> Option<bool> {
    settings.splits_local_origin.then_some(!matches!(outcome, Outcome::Response(_)))
}

/// Returns whether an attempt is a failure of any kind. Probes use this rule.
pub fn is_failure(outcome: Outcome) -> bool {
    outcome != Outcome::Response(Verdict::Success)
}

/// The verdict for an HTTP status.
fn verdict(status: u16) -> Verdict {
    match status {
        502..=504 => Verdict::GatewayError,
        500..=599 => Verdict::ServerError,
        _ => Verdict::Success,
    }
}

/// The verdict for a failure with this HTTP status, which may be a status of success.
fn failure_verdict(status: u16) -> Verdict {
    match verdict(status) {
        Verdict::Success => Verdict::ServerError,
        failure => failure,
    }
}

fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn parse_number(text: &[u8]) -> Option<u8> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The HTTP status to which Envoy maps a gRPC status: 500 for unknown ones.
fn grpc_to_http(status: Option<u8>) -> u16 {
    match status {
        Some(0) => 200,
        Some(1) => 499,
        Some(3 | 9 | 11) => 400,
        Some(4) => 504,
        Some(5) => 404,
        Some(6 | 10) => 409,
        Some(7) => 403,
        Some(8) => 429,
        Some(12) => 501,
        Some(14) => 503,
        Some(16) => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests;
