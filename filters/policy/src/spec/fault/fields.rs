//! `HTTPFaultInjection` as it is written: Istio's fields, what Istio refuses about them and what it
//! would silently drop, and the fields beyond Istio's: `exponentialDelay`, `maxDelay`, `jitter`,
//! `reset` and, after Envoy's, `responseRateLimit`.

use std::time::Duration;

use super::{Abort, AbortStatus, Delay, DelayLength, Fault, RateLimit, Reset};
use crate::spec::direct_response::read_status;
use crate::value::duration;
use crate::document::node::{Node, Object};
use crate::value::percent::{Percent, read_fault_percent};

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

/// Reads a route's `fault`.
pub fn read(node: &Node<'_>) -> Option<Fault> {
    let mut object = node.object()?;
    let (delay, abort) = (object.field("delay"), object.field("abort"));
    let reset = object.field("reset");
    let rate_limit = object.field("responseRateLimit");
    if [&delay, &abort, &reset, &rate_limit].iter().all(|field| field.is_none()) {
        node.error("has none of delay, abort, reset and responseRateLimit");
    }
    Some(Fault {
        delay: delay.and_then(|node| read_delay(&node)),
        abort: abort.and_then(|node| read_abort(&node)),
        reset: reset.and_then(|node| read_reset(&node)),
        rate_limit: rate_limit.and_then(|node| read_rate_limit(&node)),
    })
}

fn read_rate_limit(node: &Node<'_>) -> Option<RateLimit> {
    let mut object = node.object()?;
    let percentage = object.field("percentage");
    let percentage = percentage.map_or(Some(Percent::NONE), |node| read_fault_percent(&node));
    let limit = object.required("limitKbps")?;
    let kibibytes = u64::try_from(limit.integer()?).ok().filter(|kib| (1..=1 << 40).contains(kib));
    if kibibytes.is_none() {
        limit.invalid("is not 1 or more KiB/s");
    }
    Some(RateLimit { bytes_per_second: kibibytes? * 1024, percentage: percentage? })
}

fn read_reset(node: &Node<'_>) -> Option<Reset> {
    let mut object = node.object()?;
    let percentage = object.field("percentage");
    let percentage = percentage.map_or(Some(Percent::NONE), |node| read_fault_percent(&node));
    let bytes = object.required("afterBytes")?;
    let after_bytes = u64::try_from(bytes.integer()?).ok();
    if after_bytes.is_none() {
        bytes.invalid("is negative");
    }
    Some(Reset { after_bytes: after_bytes?, percentage: percentage? })
}

/// How many times its mean an exponential delay may be if the rule does not say.
const DEFAULT_MAX_MEANS: u32 = 10;

fn read_delay(node: &Node<'_>) -> Option<Delay> {
    let mut object = node.object()?;
    let percentage = object.field("percentage");
    // The deprecated whole percentage, read where there is no other.
    let percent = object.field("percent");
    let length = read_length(&mut object);
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
    Some(Delay { length: length?, percentage: percentage? })
}

fn read_length(object: &mut Object<'_>) -> Option<DelayLength> {
    let node = object.node;
    let duration = |node: &Node<'_>| duration::read_milliseconds(node).map(Duration::from_millis);
    let fixed = object.field("fixedDelay").map(|node| duration(&node));
    let mean = object.field("exponentialDelay").map(|node| duration(&node));
    let jitter = object.field("jitter");
    let max = object.field("maxDelay");
    if let (Some(node), None) = (&jitter, &fixed) {
        node.error("goes with fixedDelay");
    }
    if let (Some(node), None) = (&max, &mean) {
        node.error("goes with exponentialDelay");
    }
    let jitter = jitter.map_or(Some(Duration::ZERO), |node| duration(&node));
    let max = max.map(|node| duration(&node));
    match (fixed, mean) {
        (Some(_), Some(_)) => {
            node.error("has both fixedDelay and exponentialDelay");
            None
        }
        (Some(duration), None) => Some(DelayLength::Fixed { duration: duration?, jitter: jitter? }),
        (None, Some(mean)) => {
            let mean = mean?;
            let max = max.unwrap_or_else(|| mean.checked_mul(DEFAULT_MAX_MEANS))?;
            Some(DelayLength::Exponential { mean, max })
        }
        (None, None) => {
            node.error("has neither fixedDelay nor exponentialDelay");
            None
        }
    }
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

pub(crate) fn read_grpc_status(node: &Node<'_>) -> Option<u8> {
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
        let length =
            DelayLength::Fixed { duration: Duration::from_secs(7), jitter: Duration::ZERO };
        let delay = Delay { length, percentage: Percent::NONE };
        assert_eq!(fault.delay, Some(delay));
        let percentage = Percent::new(50.0).unwrap();
        assert_eq!(fault.abort, Some(Abort { status: AbortStatus::Grpc(4), percentage }));
    }

    #[test]
    fn delays_beyond_istio() {
        let length = |text: &str| read_text(text).unwrap().delay.unwrap().length;
        let ms = Duration::from_millis;
        assert_eq!(
            length(r#"{"delay": {"exponentialDelay": "100ms"}}"#),
            DelayLength::Exponential { mean: ms(100), max: ms(1000) }
        );
        assert_eq!(
            length(r#"{"delay": {"exponentialDelay": "100ms", "maxDelay": "2s"}}"#),
            DelayLength::Exponential { mean: ms(100), max: ms(2000) }
        );
        assert_eq!(
            length(r#"{"delay": {"fixedDelay": "100ms", "jitter": "50ms"}}"#),
            DelayLength::Fixed { duration: ms(100), jitter: ms(50) }
        );
        assert_eq!(
            read_text(r#"{"delay": {"fixedDelay": "1s", "maxDelay": "2s"}}"#).unwrap_err(),
            "delay.maxDelay: can only be used with exponentialDelay"
        );
    }

    #[test]
    fn refusals() {
        let refuse = |text: &str| read_text(text).unwrap_err();
        assert_eq!(
            refuse("{}"),
            "configuration: must have one of delay, abort, reset, responseRateLimit"
        );
        assert_eq!(
            refuse(r#"{"responseRateLimit": {"limitKbps": 0}}"#),
            "responseRateLimit.limitKbps: 0 is not 1 or more KiB per second"
        );
        assert_eq!(refuse(r#"{"reset": {"afterBytes": -1}}"#), "reset.afterBytes: -1 is negative");
        assert_eq!(refuse(r#"{"reset": {}}"#), "reset.afterBytes: is required");
        assert_eq!(
            refuse(
                r#"{"delay": {"exponentialDelay": "1s", "fixedDelay": "1s"},
                    "abort": {"http2Error": "X"}}"#
            ),
            "delay: cannot have both fixedDelay and exponentialDelay\n\
             abort.http2Error: is supported neither by Istio nor by Envoy"
        );
        assert_eq!(
            refuse(r#"{"delay": {}, "abort": {"percentage": {"value": 101}}}"#),
            "delay: must have one of fixedDelay, exponentialDelay\n\
             abort: must have one of httpStatus, grpcStatus\n\
             abort.percentage.value: 101 is neither 0 nor in the range 0.0001 to 100"
        );
        assert_eq!(
            refuse(
                r#"{"delay": {"fixedDelay": "1.5ms", "percentage": {"value": 0.00001}},
                "abort": {"httpStatus": 600}}"#
            ),
            "delay.fixedDelay: \"1.5ms\" is not a whole number of milliseconds\n\
             delay.percentage.value: 0.00001 is neither 0 nor in the range 0.0001 to 100\n\
             abort.httpStatus: 600 is not in the range 200 to 599"
        );
        assert_eq!(
            refuse(r#"{"abort": {"httpStatus": 200, "grpcStatus": "BAD_STATUS"}}"#),
            "abort: cannot have both httpStatus and grpcStatus"
        );
        assert_eq!(
            refuse(r#"{"abort": {"grpcStatus": "BAD_STATUS"}}"#),
            "abort.grpcStatus: \"BAD_STATUS\" is not the name of a gRPC status such as UNAVAILABLE"
        );
    }
}
