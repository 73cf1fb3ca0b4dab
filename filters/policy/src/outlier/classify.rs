//! What an attempt to reach a host was: a success, or a failure of which kind. Nothing is counted
//! here.

use std::time::Duration;

use crate::spec::outlier_detection::{Failures, Settings};

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response came.
    Response(Verdict),
    /// A response came, which was told before, and broke off.
    Broken,
    /// There was no connection.
    NoConnection,
    /// There was a connection, and no response until the time was over or the connection gone.
    NoResponse,
}

/// What a response says of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 502, 503, 504 or what counts as such: a failure that another host may not have.
    GatewayError,
    /// 500 or what counts as such.
    ServerError,
    /// The host does well.
    Success,
}

/// A response whose headers have arrived.
pub struct Response<'a> {
    /// The HTTP status
    pub status: u16,
    /// How long after the attempt began
    pub latency: Duration,
    /// The value of a header, given in lower case. Asked only where it is needed
    pub header: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

/// What the headers of a response say; `None` when that is up to its trailers.
///
/// A gRPC status in the headers is taken for the HTTP status that Envoy maps it to, here whatever
/// the request was, in Envoy that of a gRPC request. With
/// `outlierDetectionHttpErrorCodes`, a status of the list that is no 5xx counts as 500, and
/// every other one, 503 too, as a success; it is the HTTP status that is looked at.
/// Source: Envoy `Filter::onUpstreamHeaders`, `Grpc::Utility::grpcToHttpStatus`.
pub fn classify(failures: &Failures, response: &Response<'_>) -> Option<Verdict> {
    let header = |name: &str| (response.header)(name);
    let is_slow = failures.slower_than.is_some_and(|bound| response.latency > bound);
    if is_slow || failures.headers.iter().any(|(name, c)| c.is_match(header(name).as_deref())) {
        return Some(as_failure(response.status));
    }
    let grpc = header("grpc-status").filter(|status| !status.is_empty());
    if !failures.grpc_statuses.is_empty() {
        match grpc {
            Some(status) => return Some(grpc_verdict(failures, &status)),
            // A status other than 200 is the answer of something that does not know gRPC.
            None if response.status == 200 && is_grpc(header("content-type").as_deref()) => {
                return None;
            }
            None => {}
        }
    }
    if !failures.statuses.is_empty() {
        let is_failure = failures.statuses.contains(&response.status);
        return Some(if is_failure { as_failure(response.status) } else { Verdict::Success });
    }
    let status = grpc.map_or(response.status, |status| grpc_to_http(number(&status)));
    Some(verdict(status))
}

/// What the trailers of a gRPC response say, by their `grpc-status`. To be asked where the
/// headers left it open.
pub fn classify_trailers(failures: &Failures, grpc_status: Option<&[u8]>) -> Verdict {
    grpc_verdict(failures, grpc_status.unwrap_or_default())
}

fn grpc_verdict(failures: &Failures, status: &[u8]) -> Verdict {
    match number(status) {
        Some(status) if failures.grpc_statuses.contains(&status) => {
            as_failure(grpc_to_http(Some(status)))
        }
        _ => Verdict::Success,
    }
}

/// What an attempt says of the response; `None` where it is counted as local alone.
pub(super) fn external(settings: &Settings, outcome: Outcome) -> Option<Verdict> {
    match outcome {
        Outcome::Response(verdict) => Some(verdict),
        _ if settings.splits_local_origin => None,
        // A missing connection is a 503, a missing response a 504.
        _ => Some(Verdict::GatewayError),
    }
}

/// Whether an attempt failed before the host had a say; `None` where that is not counted.
pub(super) fn local(settings: &Settings, outcome: Outcome) -> Option<bool> {
    settings.splits_local_origin.then_some(!matches!(outcome, Outcome::Response(_)))
}

/// Whether an attempt was a failure of any kind, as a probe is judged.
pub fn is_failure(outcome: Outcome) -> bool {
    outcome != Outcome::Response(Verdict::Success)
}

/// The verdict on an HTTP status.
fn verdict(status: u16) -> Verdict {
    match status {
        502..=504 => Verdict::GatewayError,
        500..=599 => Verdict::ServerError,
        _ => Verdict::Success,
    }
}

/// The verdict on a failure that has this status, perhaps a good one.
fn as_failure(status: u16) -> Verdict {
    match verdict(status) {
        Verdict::Success => Verdict::ServerError,
        failure => failure,
    }
}

fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn number(text: &[u8]) -> Option<u8> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The HTTP status that Envoy takes a gRPC status for; of an unknown one 500.
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
