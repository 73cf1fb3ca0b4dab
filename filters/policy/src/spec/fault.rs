//! `HTTPFaultInjection`: Istio's fields, and fields that Istio does not have: `exponentialDelay`,
//! `maxDelay`, `jitter`, `reset` and `responseRateLimit` (from Envoy). Values that Istio rejects or
//! silently ignores are errors.

pub mod rules;
pub mod settings;

use std::time::Duration;

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::Reported;
use crate::value::duration;
use crate::value::grpc_status::GRPC_STATUS_NAMES;
use crate::value::grpc_status::read_grpc_status;
use crate::value::http_status::read_status;
use crate::value::percent::{Percent, read_fault_percent, read_plain_percent};

/// Faults that a route injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Delay before the request is forwarded
    pub delay: Option<Delay>,
    /// Response that replaces that of the upstream, after the delay
    pub abort: Option<Abort>,
    /// Reset of the stream within the response body; neither Istio nor Envoy has this fault
    pub reset: Option<Reset>,
    /// Rate limit of the response body; Envoy has this fault, Istio does not
    pub rate_limit: Option<RateLimit>,
}

/// Rate limit of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Maximum rate in bytes per second, at least 1024
    pub bytes_per_second: u64,
    /// Share of the responses that this applies to
    pub percentage: Percent,
}

/// Reset of a stream after a part of the response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Maximum number of bytes of the body that are forwarded before the reset
    pub after_bytes: u64,
    /// Share of the responses that this applies to
    pub percentage: Percent,
}

/// A delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Length of the delay
    pub length: DelayLength,
    /// Share of the requests that this applies to
    pub percentage: Percent,
}

/// The length of a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayLength {
    /// Exponentially distributed length; neither Istio nor Envoy has it.
    Exponential {
        /// Mean length
        mean: Duration,
        /// Maximum length
        max: Duration,
    },
    /// Fixed length plus a uniformly distributed random part, which Istio does not have.
    Fixed {
        /// Minimum length, at least 1 ms
        duration: Duration,
        /// Maximum of the random part
        jitter: Duration,
    },
}

impl DelayLength {
    /// Returns the length of one delay, from a uniformly distributed random number.
    pub fn draw(self, random: u64) -> Duration {
        // `point` is in (0, 1), so its logarithm is finite.
        let point = ((random >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        match self {
            Self::Exponential { mean, max } => {
                let length = -libm::log(point) * mean.as_secs_f64();
                Duration::try_from_secs_f64(length).map_or(max, |length| length.min(max))
            }
            Self::Fixed { duration, jitter } => duration.saturating_add(jitter.mul_f64(point)),
        }
    }
}

/// An abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Status of the response
    pub status: AbortStatus,
    /// Share of the requests that this applies to
    pub percentage: Percent,
}

/// The status of an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortStatus {
    /// A gRPC status, 0 to 16; a request that is not gRPC gets HTTP 200
    Grpc(u8),
    /// An HTTP status, 200 to 599; Envoy derives the gRPC status of a gRPC request from it
    Http(u16),
}

/// Fields of which a fault must have at least one.
pub(crate) const FAULT: [&str; 4] = ["delay", "abort", "reset", "responseRateLimit"];

fields!(Fault, "Injected faults; requires at least one of the fields.", {
    "delay": Kind::AnyOf(&Kind::Object(Delay::schema), &["fixedDelay", "exponentialDelay"]) =>
        "Delays requests.";
    "abort": Kind::AnyOf(&Kind::Object(Abort::schema), &["httpStatus", "grpcStatus"]) =>
        "Answers requests with an error.";
    "reset": Kind::Object(Reset::schema) =>
        "Resets the stream within the response body; not in Istio.";
    "responseRateLimit": Kind::Object(RateLimit::schema) =>
        "Limits the rate of the response body; not in Istio.";
});

fields!(Delay, "A delay: exactly one of fixedDelay and exponentialDelay.", {
    "percentage": Kind::Object(Percent::schema) =>
        "Share of the requests, in percent; 0 if absent.";
    "percent": Kind::Percentage => "Deprecated, use percentage.";
    "fixedDelay": Kind::Duration => "Length of the delay, such as 5s.";
    "exponentialDelay": Kind::Duration =>
        "Mean length of exponentially distributed delays, such as 100ms; not in Istio.";
    "jitter": Kind::Duration =>
        "Maximum of a uniformly distributed random time that is added to fixedDelay; 0 if \
         absent; not in Istio.";
    "maxDelay": Kind::Duration =>
        "Maximum length of an exponential delay; ten times the mean if absent; not in Istio.";
});

fields!(Abort, "An abort: exactly one status.", {
    "percentage": Kind::Object(Percent::schema) =>
        "Share of the requests, in percent; 0 if absent.";
    "httpStatus": Kind::Integer(200, 599) => "HTTP status, 200 to 599.";
    "grpcStatus": Kind::OneOf(&GRPC_STATUS_NAMES) => "Name of the gRPC status, such as UNAVAILABLE.";
    "http2Error": Kind::Unsupported => "Not supported, as in Istio and Envoy.";
});

fields!(Reset, "A reset of the stream within the response body.", {
    "percentage": Kind::Object(Percent::schema) =>
        "Share of the responses, in percent; 0 if absent.";
    "afterBytes" required: Kind::Integer(0, i64::MAX) =>
        "Maximum number of bytes of the body that are forwarded before the reset.";
});

fields!(RateLimit, "A rate limit of the response body.", {
    "percentage": Kind::Object(Percent::schema) =>
        "Share of the responses, in percent; 0 if absent.";
    "limitKbps" required: Kind::Integer(1, 1 << 40) => "Maximum rate, in KiB per second.";
});

/// Reads a route's `fault`.
pub fn read(node: &Node<'_>) -> Result<Fault, Reported> {
    let object = node.object::<Fault>()?;
    let delay = object.optional("delay", read_delay);
    let abort = object.optional("abort", read_abort);
    let reset = object.optional("reset", read_reset);
    let rate_limit = object.optional("responseRateLimit", read_rate_limit);
    let (delay, abort, reset, rate_limit) = (delay?, abort?, reset?, rate_limit?);
    if delay.is_none() && abort.is_none() && reset.is_none() && rate_limit.is_none() {
        return Err(node.error("must have one of delay, abort, reset, responseRateLimit"));
    }
    Ok(Fault { delay, abort, reset, rate_limit })
}

/// Reads the share of a fault. Without `percentage` the share is 0, as in Istio.
fn read_percentage(object: &Object<'_>) -> Result<Percent, Reported> {
    Ok(object.optional("percentage", read_fault_percent)?.unwrap_or(Percent::NONE))
}

fn read_rate_limit(node: &Node<'_>) -> Result<RateLimit, Reported> {
    let object = node.object::<RateLimit>()?;
    let percentage = read_percentage(&object);
    let limit = object.required("limitKbps").and_then(|node| {
        let kibibytes = u64::try_from(node.integer()?).ok();
        let kibibytes = kibibytes.filter(|kibibytes| (1..=1 << 40).contains(kibibytes));
        kibibytes.ok_or_else(|| node.invalid("is not 1 or more KiB per second"))
    });
    Ok(RateLimit { bytes_per_second: limit? * 1024, percentage: percentage? })
}

fn read_reset(node: &Node<'_>) -> Result<Reset, Reported> {
    let object = node.object::<Reset>()?;
    let percentage = read_percentage(&object);
    let after_bytes = object
        .required("afterBytes")
        .and_then(|node| u64::try_from(node.integer()?).map_err(|_| node.invalid("is negative")));
    Ok(Reset { after_bytes: after_bytes?, percentage: percentage? })
}

/// Default maximum of an exponential delay, in multiples of its mean.
const DEFAULT_MAX_MEANS: u32 = 10;

fn read_delay(node: &Node<'_>) -> Result<Delay, Reported> {
    let object = node.object::<Delay>()?;
    let percentage = object.optional("percentage", read_fault_percent);
    // The deprecated `percent` counts only if `percentage` is absent.
    let percent = object.optional("percent", read_plain_percent);
    let length = read_length(&object);
    let percentage = percentage?.or(percent?).unwrap_or(Percent::NONE);
    Ok(Delay { length: length?, percentage })
}

fn read_length(object: &Object<'_>) -> Result<DelayLength, Reported> {
    let fixed = object.optional("fixedDelay", duration::read);
    let mean = object.optional("exponentialDelay", duration::read);
    let jitter = object.optional("jitter", duration::read);
    let max = object.optional("maxDelay", duration::read);
    let exclusive = object.exclude("fixedDelay", "exponentialDelay");
    let mut lone = None;
    for (name, base) in [("jitter", "fixedDelay"), ("maxDelay", "exponentialDelay")] {
        if let (Some(node), None) = (object.field(name), object.field(base)) {
            lone = Some(node.error(format_args!("can only be used with {base}")));
        }
    }
    let (fixed, mean, jitter, max) = (fixed?, mean?, jitter?, max?);
    exclusive?;
    match (fixed, mean) {
        (None, None) => Err(object.node.error("must have one of fixedDelay, exponentialDelay")),
        _ if let Some(reported) = lone => Err(reported),
        (Some(duration), None) => {
            Ok(DelayLength::Fixed { duration, jitter: jitter.unwrap_or_default() })
        }
        (_, Some(mean)) => {
            let default = || mean.checked_mul(DEFAULT_MAX_MEANS).unwrap_or(Duration::MAX);
            Ok(DelayLength::Exponential { mean, max: max.unwrap_or_else(default) })
        }
    }
}

fn read_abort(node: &Node<'_>) -> Result<Abort, Reported> {
    let object = node.object::<Abort>()?;
    let percentage = read_percentage(&object);
    let status = object.at_most_one(&["httpStatus", "grpcStatus", "http2Error"]);
    let status = status.and_then(|given| match given {
        Some(("httpStatus", node)) => read_status(&node).map(AbortStatus::Http),
        Some(("grpcStatus", node)) => read_grpc_status(&node).map(AbortStatus::Grpc),
        Some((_, node)) => Err(node.error("is supported neither by Istio nor by Envoy")),
        None => Err(node.error("must have one of httpStatus, grpcStatus")),
    });
    Ok(Abort { status: status?, percentage: percentage? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read_text(text: &str) -> Result<Fault, String> {
        testing::read(text, read)
    }

    #[test]
    fn an_absent_percentage_is_0() {
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
    fn exponential_delays_and_jitter() {
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
    fn rejects_invalid_fields() {
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
