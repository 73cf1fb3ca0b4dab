//! `HTTPRouteTimeouts` and `HTTPRouteRetry`, as headers for Envoy's router.

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::Reported;
use crate::spec::timeouts::{
    MAX_RETRIES, PER_TRY_TIMEOUT, TIMEOUT, leave_to_envoy, retry_on_edits, set,
};
use crate::value::gateway_duration::{self, read_milliseconds};
use crate::value::header::FixedEdit;

/// `HTTPRouteTimeouts`
pub struct Timeouts;

fields!(Timeouts as "GatewayTimeouts", "Timeouts; 0s turns a timeout off.", {
    "request": Kind::Pattern(gateway_duration::SYNTAX) =>
        "Maximum time until the response is complete, such as 10s; that of Envoy's route if absent.";
    "backendRequest": Kind::Pattern(gateway_duration::SYNTAX) =>
        "Timeout of one attempt, at most that of request; none if absent.";
});

/// `HTTPRouteRetry`
pub struct Retry;

fields!(Retry as "GatewayRetry", "Retries of requests that fail or whose response has one of the \
    codes.", {
    "codes": Kind::List(&Kind::Integer(400, 599)) => "HTTP statuses to retry; none if absent.";
    "attempts": Kind::Integer(0, i32::MAX as i64) =>
        "Maximum number of retries; 2 if absent, as in Istio; 0 turns retries off.";
    "backoff": Kind::Pattern(gateway_duration::SYNTAX) =>
        "Not carried out by the filters; set it in the retry policy of Envoy's route.";
});

/// Failures to retry beside those of `codes`. Source: istiod's `convertHTTPRoute`.
const RETRY_ON: [&str; 4] = ["connect-failure", "refused-stream", "unavailable", "cancelled"];

const DEFAULT_ATTEMPTS: i32 = 2;

/// Reads `timeouts` and `retry` of a rule.
#[inline(never)]
pub fn read(rule: &Object<'_>) -> Result<Vec<FixedEdit>, Reported> {
    let timeouts = rule.optional("timeouts", read_timeouts);
    let retry = rule.optional("retry", read_retry);
    let mut edits = timeouts?.unwrap_or_default();
    edits.append(&mut retry?.unwrap_or_default());
    Ok(edits)
}

fn read_timeouts(node: &Node<'_>) -> Result<Vec<FixedEdit>, Reported> {
    let object = node.object::<Timeouts>()?;
    let request = object.optional("request", read_milliseconds);
    let attempt = object.optional("backendRequest", |node| Ok((*node, read_milliseconds(node)?)));
    let (request, attempt) = (request?, attempt?);
    if let (Some(1..), Some((node, attempt))) = (request, attempt)
        && request < Some(attempt)
    {
        return Err(node.invalid("is longer than request"));
    }
    let attempt = attempt.map(|(_, milliseconds)| milliseconds).filter(|own| *own > 0);
    let request = request.map(|milliseconds| set(TIMEOUT, milliseconds));
    let attempt = attempt.map(|milliseconds| set(PER_TRY_TIMEOUT, milliseconds));
    Ok(request.into_iter().chain(attempt).collect())
}

fn read_retry(node: &Node<'_>) -> Result<Vec<FixedEdit>, Reported> {
    let object = node.object::<Retry>()?;
    let codes = object.list("codes", |node| match node.integer()? {
        code @ 400..=599 => Ok(code.to_string()),
        _ => Err(node.invalid("is not in the range 400 to 599")),
    });
    let attempts = object.optional("attempts", |node| {
        let attempts = i32::try_from(node.integer()?).ok().filter(|attempts| *attempts >= 0);
        attempts.ok_or_else(|| node.invalid("is not in the range 0 to 2147483647"))
    });
    let backoff = object.optional("backoff", |node| {
        leave_to_envoy(node);
        read_milliseconds(node)
    });
    let (codes, attempts) = (codes?, attempts?.unwrap_or(DEFAULT_ATTEMPTS));
    backoff?;
    let mut edits = vec![set(MAX_RETRIES, attempts)];
    if attempts > 0 {
        let codes = codes.iter().map(String::as_str).collect();
        edits.append(&mut retry_on_edits(RETRY_ON.to_vec(), codes));
    }
    Ok(edits)
}
