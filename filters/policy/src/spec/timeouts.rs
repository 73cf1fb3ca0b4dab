//! `timeout` and `retries`. Envoy's router carries them out; request headers configure it.

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::Node;
use crate::document::report::{self, Reported};
use crate::value::duration;
use crate::value::header::{FixedEdit, HeaderOperation};

/// Header with the timeout of a request, in milliseconds; 0 for none.
pub(crate) const TIMEOUT: &str = "x-envoy-upstream-rq-timeout-ms";
/// Header with the timeout of one attempt, in milliseconds.
pub(crate) const PER_TRY_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";
/// Header with the maximum number of retries.
pub(crate) const MAX_RETRIES: &str = "x-envoy-max-retries";
const RETRY_ON: &str = "x-envoy-retry-on";
const RETRY_GRPC_ON: &str = "x-envoy-retry-grpc-on";
const RETRIABLE_CODES: &str = "x-envoy-retriable-status-codes";

/// Request headers that configure timeouts and retries in Envoy's router. Headers from a client are
/// ignored, because a client could use them to multiply the load on an upstream.
pub const ROUTER_HEADERS: [&str; 6] =
    [TIMEOUT, PER_TRY_TIMEOUT, MAX_RETRIES, RETRY_ON, RETRY_GRPC_ON, RETRIABLE_CODES];

/// Istio's default of `retryOn`.
const DEFAULT_RETRY_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/// Retry conditions for the header [`RETRY_ON`].
const HTTP_CONDITIONS: [&str; 11] = [
    "5xx",
    "connect-failure",
    "envoy-ratelimited",
    "gateway-error",
    "http3-post-connect-failure",
    "refused-stream",
    "reset",
    "reset-before-request",
    "retriable-4xx",
    "retriable-headers",
    "retriable-status-codes",
];

/// Retry conditions for the header [`RETRY_GRPC_ON`].
const GRPC_CONDITIONS: [&str; 5] =
    ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

/// Conditions and statuses, separated by commas.
const RETRY_ON_SYNTAX: &str = "\\s*((5xx|connect-failure|envoy-ratelimited|gateway-error|\
    http3-post-connect-failure|refused-stream|reset|reset-before-request|retriable-4xx|\
    retriable-headers|retriable-status-codes|cancelled|deadline-exceeded|internal|\
    resource-exhausted|unavailable|[1-5][0-9]{2})?\\s*(,\\s*|$))*";

/// Returns the edit that sets a header of Envoy's router.
pub(crate) fn set(name: &'static str, value: impl ToString) -> FixedEdit {
    FixedEdit::new(HeaderOperation::Set, name, value.to_string().into_bytes())
}

/// Reads a route's `timeout`: at least 1 ms. Without it the timeout of Envoy's route applies.
pub fn read_timeout(node: &Node<'_>) -> Result<FixedEdit, Reported> {
    duration::read_milliseconds(node).map(|milliseconds| set(TIMEOUT, milliseconds))
}

/// `HTTPRetry`
pub struct Retries;

fields!(Retries, "Retries of failed requests.", {
    "attempts": Kind::Integer(0, i32::MAX as i64) =>
        "Maximum number of retries; 0 if absent, which turns retries off.";
    "perTryTimeout": Kind::Duration => "Timeout of one attempt, such as 2s.";
    "retryOn": Kind::Pattern(RETRY_ON_SYNTAX) =>
        "Retry conditions of Envoy and HTTP statuses, separated by commas. Default: \
         connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes, as in \
         Istio.";
    "retryRemoteLocalities": Kind::Boolean =>
        "Not carried out by the filters; set it in the retry policy of Envoy's route.";
    "retryIgnorePreviousHosts": Kind::Boolean =>
        "Not carried out by the filters; set it in the retry policy of Envoy's route.";
    "backoff": Kind::Duration =>
        "Not carried out by the filters; set it in the retry policy of Envoy's route.";
});

/// Reads a route's `retries`. Without them the retry policy of Envoy's route applies; `attempts: 0`
/// turns retries off.
pub fn read_retries(node: &Node<'_>) -> Result<Vec<FixedEdit>, Reported> {
    let object = node.object::<Retries>()?;
    let attempts = object.optional("attempts", read_attempts);
    let per_try = object.optional("perTryTimeout", duration::read_milliseconds);
    let retry_on = object.given("retryOn").map(|node| read_retry_on(&node)).transpose();
    let remote = object.flag("retryRemoteLocalities");
    let previous = object.optional("retryIgnorePreviousHosts", Node::boolean);
    let backoff = object.optional("backoff", duration::read_milliseconds);
    for (name, is_set) in [
        ("retryRemoteLocalities", remote == Ok(true)),
        ("retryIgnorePreviousHosts", previous == Ok(Some(false))),
        ("backoff", matches!(backoff, Ok(Some(_)))),
    ] {
        if let Some(node) = object.field(name).filter(|_| is_set) {
            leave_to_envoy(&node);
        }
    }
    let attempts = attempts?.unwrap_or_default();
    let per_try = per_try?.map(|milliseconds| set(PER_TRY_TIMEOUT, milliseconds));
    let retry_on = retry_on?;
    remote?;
    previous?;
    backoff?;
    let max_retries = set(MAX_RETRIES, attempts);
    if attempts == 0 {
        let unused = ["perTryTimeout", "retryOn", "retryRemoteLocalities"];
        let unused = unused.iter().filter_map(|name| object.given(name));
        let reason = "has no effect because attempts is 0, which turns retries off";
        let failure = unused.map(|node| node.error(reason)).reduce(|_, reported| reported);
        // The header is set to 0 too, because 0 turns off the retries of Envoy's route.
        return failure.map_or(Ok(vec![max_retries]), Err);
    }
    let default = || retry_on_edits(DEFAULT_RETRY_ON.split(',').collect(), Vec::new());
    let mut edits = vec![max_retries];
    edits.extend(per_try);
    edits.append(&mut retry_on.unwrap_or_else(default));
    Ok(edits)
}

fn read_attempts(node: &Node<'_>) -> Result<i32, Reported> {
    let attempts = node.integer()?;
    if attempts < 0 {
        return Err(node.invalid("is negative"));
    }
    i32::try_from(attempts).map_err(|_| node.invalid("is greater than 2147483647"))
}

/// Reports a field that only the retry policy of Envoy's route has.
pub(crate) fn leave_to_envoy(node: &Node<'_>) {
    let reason = "is left to Envoy, set it in the retry policy of Envoy's route";
    node.notice_to(Filter::Router, report::Kind::LeftToEnvoy, reason);
}

/// Reads `retryOn`: conditions and status codes, separated by commas.
fn read_retry_on(node: &Node<'_>) -> Result<Vec<FixedEdit>, Reported> {
    let (mut conditions, mut codes) = (Vec::new(), Vec::new());
    let mut failure = None;
    let parts = node.string()?.split(',').map(str::trim).filter(|part| !part.is_empty());
    for part in parts {
        if HTTP_CONDITIONS.contains(&part) || GRPC_CONDITIONS.contains(&part) {
            conditions.push(part);
        } else if part.parse().is_ok_and(is_registered_status) {
            codes.push(part);
        } else {
            let reason = format_args!("{part:?} is neither a retry condition nor an HTTP status");
            failure = Some(node.error(reason));
        }
    }
    failure.map_or_else(|| Ok(retry_on_edits(conditions, codes)), Err)
}

/// Returns the headers for the conditions and status codes. Envoy has one header for HTTP
/// conditions and one for gRPC conditions.
pub(crate) fn retry_on_edits(conditions: Vec<&str>, codes: Vec<&str>) -> Vec<FixedEdit> {
    let (grpc, mut http): (Vec<&str>, Vec<&str>) =
        conditions.into_iter().partition(|condition| GRPC_CONDITIONS.contains(condition));
    if !codes.is_empty() && !http.contains(&"retriable-status-codes") {
        http.push("retriable-status-codes");
    }
    let lists = [(RETRY_ON, http), (RETRY_GRPC_ON, grpc), (RETRIABLE_CODES, codes)];
    let filled = lists.into_iter().filter(|(_, list)| !list.is_empty());
    filled.map(|(name, list)| set(name, list.join(","))).collect()
}

/// Returns whether `status` is in the registry of HTTP status codes, which Istio requires here.
fn is_registered_status(status: u16) -> bool {
    matches!(status,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429
        | 431 | 451 | 500..=508 | 510 | 511)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn retries(text: &str) -> Result<Vec<String>, String> {
        let shown = |edit: &FixedEdit| {
            let edit = edit.as_edit();
            format!("{}: {}", edit.name, String::from_utf8_lossy(&edit.value))
        };
        testing::read(text, |node| Ok(read_retries(node)?.iter().map(shown).collect()))
    }

    #[test]
    fn each_condition_is_in_the_header_that_envoy_reads() {
        let text = r#"{"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx, unavailable,503"}"#;
        assert_eq!(
            retries(text).unwrap(),
            [
                "x-envoy-max-retries: 3",
                "x-envoy-upstream-rq-per-try-timeout-ms: 2000",
                "x-envoy-retry-on: 5xx,retriable-status-codes",
                "x-envoy-retry-grpc-on: unavailable",
                "x-envoy-retriable-status-codes: 503",
            ]
        );
        assert_eq!(
            retries(r#"{"attempts": 1}"#).unwrap(),
            [
                "x-envoy-max-retries: 1",
                "x-envoy-retry-on: connect-failure,refused-stream,retriable-status-codes",
                "x-envoy-retry-grpc-on: unavailable,cancelled",
            ]
        );
        assert_eq!(retries(r#"{"attempts": 0}"#).unwrap(), ["x-envoy-max-retries: 0"]);
        assert_eq!(retries("{}").unwrap(), ["x-envoy-max-retries: 0"]);
    }

    #[test]
    fn rejects_invalid_fields() {
        assert_eq!(retries(r#"{"attempts": -1}"#).unwrap_err(), "attempts: -1 is negative");
        assert_eq!(
            retries(r#"{"attempts": 0, "perTryTimeout": "1s", "retryOn": "5xx"}"#).unwrap_err(),
            "perTryTimeout: has no effect because attempts is 0, which turns retries off\n\
             retryOn: has no effect because attempts is 0, which turns retries off"
        );
        assert_eq!(
            retries(r#"{"attempts": 1, "retryOn": "5xx,teapot,999"}"#).unwrap_err(),
            "retryOn: \"teapot\" is neither a retry condition nor an HTTP status\n\
             retryOn: \"999\" is neither a retry condition nor an HTTP status"
        );
    }
}
