//! `faults` of a document: settings that apply to the faults of all routes. Istio has none of them.
//! Every limit is off if its field is absent.

use std::time::{Duration, SystemTime};

use super::rules::{self, FaultRule};
use super::{Abort, AbortStatus, Delay, DelayLength};
use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::request::Request;
use crate::spec::mode::{MODES, Mode};
use crate::spec::scope::Scope;
use crate::spec::virtual_services::VirtualServices;
use crate::value::budget::Budget;
use crate::value::number::read_count;
use crate::value::percent::{Percent, read_fault_percent};

/// Settings that apply to the faults of all routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSettings {
    /// Whether faults are injected, or only counted
    pub mode: Mode,
    /// Maximum number of faults of a worker at the same time; further requests get no fault. No
    /// limit if absent
    pub max_active: Option<u32>,
    /// Maximum number of faults that a worker injects per window; no limit if absent
    pub budget: Option<Budget>,
    /// Time at which fault injection ends; never if absent
    pub not_after: Option<SystemTime>,
    /// Faults that clients may request by headers
    pub headers: HeaderFaults,
    /// Whether the response to a request with a fault has the header `x-sluice-fault`; true if
    /// absent. Always false in shadow mode, where no request has a fault
    pub marks_responses: bool,
}

impl Default for FaultSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            max_active: None,
            budget: None,
            not_after: None,
            headers: HeaderFaults::default(),
            marks_responses: true,
        }
    }
}

/// Faults that clients may request by headers, each with its maximum share of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderFaults {
    delay: Option<Percent>,
    abort: Option<Percent>,
}

/// Faults that the headers of one request specify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderFault {
    /// Requested delay
    pub delay: Option<Delay>,
    /// Requested abort
    pub abort: Option<Abort>,
    /// Number of fault headers with an invalid value
    pub malformed: u32,
}

/// `faults.budget`
struct FaultBudget;

fields!(FaultBudget, "Limits the number of faults per time window.", {
    "faults" required: Kind::COUNT => "Maximum number of faults per window.";
    "window" required: Kind::Duration => "Length of the window, such as 1m.";
});

fields!(FaultSettings as "Faults", "Settings and limits of the fault filter.", {
    "mode": Kind::OneOf(&MODES) =>
        "enforce (default) injects faults, shadow only counts them.";
    "maxActive": Kind::COUNT =>
        "Maximum number of faults of a worker at the same time; no limit if absent.";
    "budget": Kind::Object(FaultBudget::schema) =>
        "Maximum number of faults of a worker per time window; no limit if absent.";
    "notAfter": Kind::Pattern(TIME) =>
        "Time at which faults end, such as 2026-12-31T23:59:59Z; never if absent.";
    "headers": Kind::Object(HeaderFaults::schema) =>
        "Faults that clients may request by headers; none if absent.";
    "rules": Kind::List(&Kind::Object(FaultRule::schema)) =>
        "Faults with conditions of their own, for all hosts; the first rule that matches replaces \
         the fault of the request's route.";
    "markResponses": Kind::Boolean =>
        "Whether the response to a request with a fault has the header x-sluice-fault; true if \
         absent.";
});

fields!(HeaderFaults, "Faults that clients may request by headers, with their maximum shares.", {
    "delay": Kind::Object(Percent::schema) =>
        "Maximum share of requests with a requested delay; delays cannot be requested if absent.";
    "abort": Kind::Object(Percent::schema) =>
        "Maximum share of requests with a requested abort; aborts cannot be requested if absent.";
});

impl FaultSettings {
    /// Reads `faults: { mode, maxActive, budget, notAfter, headers, rules, markResponses }`.
    /// Returns the settings and the rules.
    pub fn read(
        node: &Node<'_>,
        scope: &Scope<'_>,
    ) -> Result<(Self, Option<VirtualServices>), Reported> {
        let object = node.object::<Self>()?;
        let rules = rules::read(&object, scope);
        let mode = object.optional("mode", Mode::read);
        let max_active = object.optional("maxActive", read_count);
        let budget = object.optional("budget", |node| Budget::read::<FaultBudget>(node, "faults"));
        let not_after = object.optional("notAfter", read_time);
        let headers = object.optional("headers", |node| {
            let object = node.object::<HeaderFaults>()?;
            let delay = object.optional("delay", read_fault_percent);
            let abort = object.optional("abort", read_fault_percent);
            Ok(HeaderFaults { delay: delay?, abort: abort? })
        });
        let marks_responses = object.optional("markResponses", Node::boolean);
        let (mode, marks_responses) = (mode?.unwrap_or_default(), marks_responses?.unwrap_or(true));
        let settings = Self {
            mode,
            max_active: max_active?,
            budget: budget?,
            not_after: not_after?,
            headers: headers?.unwrap_or_default(),
            marks_responses: marks_responses && !mode.is_shadow(),
        };
        Ok((settings, rules?))
    }
}

/// Times in UTC, as the reader takes them.
const TIME: &str = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z";

fn read_time(node: &Node<'_>) -> Result<SystemTime, Reported> {
    humantime::parse_rfc3339(node.string()?)
        .map_err(|_| node.invalid("is not a time such as 2026-12-31T23:59:59Z"))
}

impl HeaderFaults {
    /// Returns whether clients may request any fault.
    pub fn are_allowed(&self) -> bool {
        self.delay.is_some() || self.abort.is_some()
    }

    /// Returns the allowed faults that a request specifies. Reads the first value of a repeated
    /// header, as Envoy does. An invalid value counts as absent.
    pub fn read(&self, request: &Request<'_>) -> HeaderFault {
        let mut found = HeaderFault::default();
        let mut number = |name: &str, range: std::ops::RangeInclusive<u64>| {
            let value = request.first_header(name)?;
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let number = number.filter(|number| range.contains(number));
            found.malformed += u32::from(number.is_none());
            number
        };
        // At most one day, so that a deadline cannot overflow the clock.
        let delay = self.delay.and_then(|most| {
            let share = number("x-envoy-fault-delay-request-percentage", 0..=100);
            let milliseconds = number("x-envoy-fault-delay-request", 0..=86_400_000)?;
            let length = DelayLength::Fixed {
                duration: Duration::from_millis(milliseconds),
                jitter: Duration::ZERO,
            };
            Some(Delay { length, percentage: at_most(share, most) })
        });
        let abort = self.abort.and_then(|most| {
            let share = number("x-envoy-fault-abort-request-percentage", 0..=100);
            let http = number("x-envoy-fault-abort-request", 200..=599);
            let grpc = number("x-envoy-fault-abort-grpc-request", 0..=16);
            let http = http.and_then(|status| u16::try_from(status).ok()).map(AbortStatus::Http);
            let grpc = grpc.and_then(|status| u8::try_from(status).ok()).map(AbortStatus::Grpc);
            Some(Abort { status: http.or(grpc)?, percentage: at_most(share, most) })
        });
        HeaderFault { delay, abort, ..found }
    }
}

/// Returns the requested share in percent, limited to `most`; `most` if no share is requested.
fn at_most(share: Option<u64>, most: Percent) -> Percent {
    share.and_then(|share| Percent::new(share as f64)).map_or(most, |share| share.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::proxy::{NoMetadata, Proxy};
    use crate::testing;

    fn read(node: &Node<'_>) -> Result<FaultSettings, Reported> {
        let proxy = Proxy::unknown(&NoMetadata);
        let scope = Scope::of_document(None, &proxy);
        FaultSettings::read(node, &scope).map(|(settings, _)| settings)
    }

    #[test]
    fn all_limits_are_off_by_default() {
        assert_eq!(testing::read("{}", read), Ok(FaultSettings::default()));
        let text = r#"{"maxActive": 0, "budget": {"faults": 10, "window": "1m"},
            "notAfter": "2026-12-31T23:59:59Z", "markResponses": false}"#;
        let settings = testing::read(text, read).unwrap();
        assert_eq!(settings.max_active, Some(0));
        let budget = Budget { count: 10, window: Duration::from_secs(60) };
        assert_eq!((settings.budget, settings.marks_responses), (Some(budget), false));
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_599);
        assert_eq!(settings.not_after, Some(end));
    }

    #[test]
    fn rejects_invalid_fields() {
        let text = r#"{"maxActive": -1, "budget": {"faults": 1.5}, "notAfter": "tomorrow",
            "headers": {"delay": {"value": 101}, "aborts": {}}, "markResponses": 1}"#;
        assert_eq!(
            testing::read(text, read).unwrap_err(),
            "maxActive: -1 is not in the range 0 to 4294967295\n\
             budget.window: is required\n\
             budget.faults: 1.5 is not a whole number\n\
             notAfter: \"tomorrow\" is not a time such as 2026-12-31T23:59:59Z\n\
             headers.delay.value: 101 is neither 0 nor in the range 0.0001 to 100\n\
             headers.aborts: unknown field, did you mean \"abort\"?\n\
             markResponses: 1 is neither true nor false"
        );
    }
}
