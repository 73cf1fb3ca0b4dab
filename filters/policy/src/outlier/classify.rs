//! What an attempt to reach a host was: a success, or a failure of which kind. Nothing is counted
//! here.

use std::time::Duration;

use super::settings::whole;
use crate::duration;
use crate::fault::read_grpc_status;
use crate::header::check_name;
use crate::node::{Node, Object};
use crate::string_match::{self, ValueMatch};

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

/// What of responses is a failure.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// `outlierDetectionHttpErrorCodes`: if there are any, these and no other statuses
    statuses: Vec<u16>,
    /// `failure.grpcStatus` (beyond Istio): if there are any, these and no other gRPC statuses, in
    /// headers and in trailers
    grpc_statuses: Vec<u8>,
    /// `failure.headers` (beyond Istio): a response with any of these is one
    headers: Vec<(String, ValueMatch)>,
    /// `failure.slowerThan` (beyond Istio): a response whose headers take longer is one
    slower_than: Option<Duration>,
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

impl Failures {
    /// Reads `outlierDetectionHttpErrorCodes` and `failure` of `outlierDetection`.
    pub(super) fn read(object: &mut Object<'_>) -> Self {
        let codes = object.list("outlierDetectionHttpErrorCodes");
        let code = |node: &Node<'_>| whole(node, 100..=599).and_then(|code| code.try_into().ok());
        let mut failures =
            Self { statuses: codes.iter().filter_map(code).collect(), ..Self::default() };
        let Some(mut object) = object.field("failure").and_then(|node| node.object()) else {
            return failures;
        };
        failures.grpc_statuses =
            object.list("grpcStatus").iter().filter_map(read_grpc_status).collect();
        for (name, node) in object.field("headers").map_or(Vec::new(), |node| node.entries()) {
            let name = check_name(&node, name, &[]);
            let condition = string_match::read_value_match(&node);
            failures.headers.extend(name.zip(condition));
        }
        let slower_than = object.field("slowerThan");
        let slower_than = slower_than.and_then(|node| duration::read_milliseconds(&node));
        failures.slower_than = slower_than.map(Duration::from_millis);
        failures
    }

    /// Whether latency matters, so that attempts have to be timed.
    pub fn needs_latency(&self) -> bool {
        self.slower_than.is_some()
    }

    /// What the headers of a response say; `None` when that is up to its trailers.
    ///
    /// A gRPC status in the headers is taken for the HTTP status that Envoy maps it to, here whatever
    /// the request was, in Envoy that of a gRPC request. With
    /// `outlierDetectionHttpErrorCodes`, a status of the list that is no 5xx counts as 500, and
    /// every other one, 503 too, as a success; it is the HTTP status that is looked at.
    /// Source: Envoy `Filter::onUpstreamHeaders`, `Grpc::Utility::grpcToHttpStatus`.
    pub fn classify(&self, response: &Response<'_>) -> Option<Verdict> {
        let header = |name: &str| (response.header)(name);
        let is_slow = self.slower_than.is_some_and(|bound| response.latency > bound);
        if is_slow || self.headers.iter().any(|(name, c)| c.is_match(header(name).as_deref())) {
            return Some(as_failure(response.status));
        }
        let grpc = header("grpc-status").filter(|status| !status.is_empty());
        if !self.grpc_statuses.is_empty() {
            match grpc {
                Some(status) => return Some(self.grpc_verdict(&status)),
                // A status other than 200 is the answer of something that does not know gRPC.
                None if response.status == 200 && is_grpc(header("content-type").as_deref()) => {
                    return None;
                }
                None => {}
            }
        }
        if !self.statuses.is_empty() {
            let is_failure = self.statuses.contains(&response.status);
            return Some(if is_failure { as_failure(response.status) } else { Verdict::Success });
        }
        let status = grpc.map_or(response.status, |status| grpc_to_http(number(&status)));
        Some(verdict(status))
    }

    /// What the trailers of a gRPC response say, by their `grpc-status`. To be asked where the
    /// headers left it open.
    pub fn classify_trailers(&self, grpc_status: Option<&[u8]>) -> Verdict {
        self.grpc_verdict(grpc_status.unwrap_or_default())
    }

    fn grpc_verdict(&self, status: &[u8]) -> Verdict {
        match number(status) {
            Some(status) if self.grpc_statuses.contains(&status) => {
                as_failure(grpc_to_http(Some(status)))
            }
            _ => Verdict::Success,
        }
    }
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
