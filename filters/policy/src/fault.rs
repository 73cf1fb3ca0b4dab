//! `HTTPFaultInjection` as it is written, with everything that Istio refuses about it.
//!
//! The router does not inject faults; it checks them, because every filter checks the whole document.

use std::time::Duration;

use crate::direct_response::read_status;
use crate::duration;
use crate::node::Node;
use crate::percent::{Percent, read_fault_percent};

/// The names of gRPC's status codes, by number.
pub const GRPC_STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a route injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Waits before the request goes on
    pub delay: Option<Delay>,
    /// Answers in the upstream's place, after the delay
    pub abort: Option<Abort>,
}

/// A delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How long, at least 1 ms
    pub fixed: Duration,
    /// How often; never when absent, as in Istio
    pub percentage: Percent,
}

/// An abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// With what
    pub status: AbortStatus,
    /// How often; never when absent, as in Istio
    pub percentage: Percent,
}

/// The status of an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortStatus {
    /// A gRPC status, 0 to 16
    Grpc(u8),
    /// An HTTP status, 200 to 599
    Http(u16),
}

/// Reads a route's `fault`.
pub fn read(node: &Node<'_>) -> Option<Fault> {
    let mut object = node.object()?;
    let (delay, abort) = (object.field("delay"), object.field("abort"));
    if delay.is_none() && abort.is_none() {
        node.error("has neither delay nor abort");
    }
    Some(Fault {
        delay: delay.and_then(|node| read_delay(&node)),
        abort: abort.and_then(|node| read_abort(&node)),
    })
}

fn read_delay(node: &Node<'_>) -> Option<Delay> {
    let mut object = node.object()?;
    let percentage = object.field("percentage");
    // The deprecated whole percentage, read where there is no other.
    let percent = object.field("percent");
    let fixed = object.field("fixedDelay");
    let exponential = object.field("exponentialDelay");
    if let Some(node) = &exponential {
        node.error("is not supported by Istio and Envoy");
    } else if fixed.is_none() {
        node.error("has no fixedDelay");
    }
    let percentage = match (percentage, percent) {
        (Some(node), _) => read_fault_percent(&node),
        (None, Some(node)) => {
            let percent = node.number().and_then(Percent::new);
            if percent.is_none() {
                node.invalid("is not in 0..=100");
            }
            percent
        }
        (None, None) => Some(Percent::NONE),
    };
    let fixed = Duration::from_millis(duration::read_milliseconds(&fixed?)?);
    Some(Delay { fixed, percentage: percentage? })
}

fn read_abort(node: &Node<'_>) -> Option<Abort> {
    let mut object = node.object()?;
    let percentage = object.field("percentage");
    let given =
        ["httpStatus", "grpcStatus", "http2Error"].map(|name| Some((name, object.field(name)?)));
    let percentage = percentage.map_or(Some(Percent::NONE), |node| read_fault_percent(&node));
    let mut given = given.into_iter().flatten();
    let Some((name, status)) = given.next() else {
        node.error("has neither httpStatus nor grpcStatus");
        return None;
    };
    if let Some((other, _)) = given.next() {
        node.error(format_args!("has both {name} and {other}"));
        return None;
    }
    let status = match name {
        "httpStatus" => AbortStatus::Http(read_status(&status)?),
        "grpcStatus" => AbortStatus::Grpc(read_grpc_status(&status)?),
        _ => {
            status.error("is not supported by Istio and Envoy");
            return None;
        }
    };
    Some(Abort { status, percentage: percentage? })
}

fn read_grpc_status(node: &Node<'_>) -> Option<u8> {
    let name = node.string()?;
    let code = GRPC_STATUS_NAMES.iter().position(|known| *known == name);
    if code.is_none() {
        node.invalid("is not the name of a gRPC status such as UNAVAILABLE");
    }
    code.and_then(|code| u8::try_from(code).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read_text(text: &str) -> Result<Fault, String> {
        testing::read(text, read)
    }

    #[test]
    fn an_absent_percentage_is_never() {
        let fault = read_text(
            r#"{"delay": {"fixedDelay": "7s"}, "abort": {"grpcStatus": "DEADLINE_EXCEEDED",
                "percentage": {"value": 50}}}"#,
        )
        .unwrap();
        let delay = Delay { fixed: Duration::from_secs(7), percentage: Percent::NONE };
        assert_eq!(fault.delay, Some(delay));
        let percentage = Percent::new(50.0).unwrap();
        assert_eq!(fault.abort, Some(Abort { status: AbortStatus::Grpc(4), percentage }));
    }

    #[test]
    fn refusals() {
        let refuse = |text: &str| read_text(text).unwrap_err();
        assert_eq!(refuse("{}"), "configuration: has neither delay nor abort");
        assert_eq!(
            refuse(r#"{"delay": {"exponentialDelay": "1s"}, "abort": {"http2Error": "X"}}"#),
            "delay.exponentialDelay: is not supported by Istio and Envoy\n\
             abort.http2Error: is not supported by Istio and Envoy"
        );
        assert_eq!(
            refuse(r#"{"delay": {}, "abort": {"percentage": {"value": 101}}}"#),
            "delay: has no fixedDelay\n\
             abort: has neither httpStatus nor grpcStatus\n\
             abort.percentage.value: 101 is neither 0 nor in 0.0001..=100"
        );
        assert_eq!(
            refuse(
                r#"{"delay": {"fixedDelay": "1.5ms", "percentage": {"value": 0.00001}},
                "abort": {"httpStatus": 600}}"#
            ),
            "delay.fixedDelay: \"1.5ms\" is not a whole number of milliseconds\n\
             delay.percentage.value: 0.00001 is neither 0 nor in 0.0001..=100\n\
             abort.httpStatus: 600 is not in 200..=599"
        );
        assert_eq!(
            refuse(r#"{"abort": {"httpStatus": 200, "grpcStatus": "BAD_STATUS"}}"#),
            "abort: has both httpStatus and grpcStatus"
        );
        assert_eq!(
            refuse(r#"{"abort": {"grpcStatus": "BAD_STATUS"}}"#),
            "abort.grpcStatus: \"BAD_STATUS\" is not the name of a gRPC status such as UNAVAILABLE"
        );
    }
}
