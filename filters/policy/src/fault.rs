//! Faults: selects the requests to delay and to abort.
//!
//! As in Envoy's fault filter, the delay comes first. The draw for the abort is made after the
//! delay and is independent: the share of requests with both faults is the product of the two
//! shares. With `sampling`, both draws are hashes of the user, so each user always gets the same
//! result.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh64::xxh64;

use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::request::{Chance, Draws, Request};
use crate::spec::document::Document;
use crate::spec::explain::ExplainSettings;
use crate::spec::fault::settings::FaultSettings;
use crate::spec::fault::{Abort, AbortStatus};
use crate::spec::policy::Policy;
use crate::spec::sampling::Sampling;
use crate::spec::virtual_services::{Match, VirtualServices};
use crate::value::percent::Percent;

/// The body of an abort, or its message for gRPC. The text is the same as in Envoy.
pub const ABORT_BODY: &str = "fault filter abort";

/// The faults of a document.
#[derive(Debug, Default)]
pub struct Faults {
    services: Arc<VirtualServices>,
    /// `faults.rules`, for all hosts; `None` without any
    rules: Option<Arc<VirtualServices>>,
    sampling: Sampling,
    may_inject: bool,
    /// Settings for all routes
    pub settings: FaultSettings,
    /// `explain` of the document
    pub explain: Option<Arc<ExplainSettings>>,
}

/// The faults of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Length of the delay; `None` for no delay
    pub delay: Option<Duration>,
    /// Number of bytes of the response body after which the stream is reset; `None` for no reset
    pub reset_after: Option<u64>,
    /// Rate limit of the response body, in bytes per second; `None` for no limit
    pub bytes_per_second: Option<u64>,
    abort: Option<Abort>,
    user: Option<u64>,
    /// Number of the request's fault headers that are invalid
    pub malformed_headers: u32,
}

impl Policy for Faults {
    fn filters(_: &Json) -> Filters {
        Filter::Fault.into()
    }

    fn new(document: &Document) -> Self {
        let settings = document.faults.clone();
        let has_fault = document.services.any_route(|route| route.fault.is_some());
        Self {
            services: Arc::clone(&document.services),
            rules: document.fault_rules.clone(),
            sampling: document.sampling.clone(),
            may_inject: settings.headers.are_allowed()
                || has_fault
                || document.fault_rules.is_some(),
            settings,
            explain: document.explain.clone(),
        }
    }
}

impl Faults {
    /// Returns whether any request can have a fault. If not, requests need no plan.
    pub fn may_inject(&self) -> bool {
        self.may_inject
    }

    /// The faults of a request: those of the first rule of `faults.rules` that matches, otherwise
    /// those of the first matching route. Fault headers of the request, if allowed, override the
    /// delay and the abort. The draw for the abort is made later, by [`Plan::draw_abort`]; all
    /// other draws are made here. `now` is called only if the settings have `notAfter`.
    pub fn plan(
        &self,
        request: &Request<'_>,
        now: impl FnOnce() -> SystemTime,
        draws: &mut dyn Draws,
    ) -> Plan {
        if self.is_over(now) {
            return Plan::default();
        }
        self.plan_matched(self.find(request), request, draws)
    }

    /// Returns whether the settings have a `notAfter` that has passed. Requests have no faults
    /// then. `now` is called only if the settings have `notAfter`.
    pub fn is_over(&self, now: impl FnOnce() -> SystemTime) -> bool {
        self.settings.not_after.is_some_and(|end| now() > end)
    }

    /// Returns whether a request has no faults only because `notAfter` has passed: the rule
    /// `source` has some, or requests may ask for them. `now` is as for [`Faults::is_over`].
    pub fn is_over_for(&self, source: Option<Match<'_>>, now: impl FnOnce() -> SystemTime) -> bool {
        let has_fault = source.is_some_and(|source| source.route.fault.is_some());
        (has_fault || self.settings.headers.are_allowed()) && self.is_over(now)
    }

    /// Returns the route that applies to a request.
    pub fn find(&self, request: &Request<'_>) -> Option<Match<'_>> {
        self.services.find(request).ok()
    }

    /// Returns the rule with the faults of a request: of `faults.rules` or, if none of them applies
    /// or has faults, of the route `matched`.
    pub fn source<'a>(
        &'a self,
        matched: Option<Match<'a>>,
        request: &Request<'_>,
    ) -> Option<Match<'a>> {
        self.rule(request).filter(|rule| rule.route.fault.is_some()).or(matched)
    }

    /// Returns the rule of `faults.rules` that applies to a request.
    pub fn rule(&self, request: &Request<'_>) -> Option<Match<'_>> {
        self.rules.as_ref()?.find(request).ok()
    }

    /// Like [`Faults::plan`], if the rule that applies to the request is already found and
    /// [`Faults::is_over`] is false.
    pub fn plan_matched(
        &self,
        matched: Option<Match<'_>>,
        request: &Request<'_>,
        draws: &mut dyn Draws,
    ) -> Plan {
        let mut plan = Plan::default();
        let fault = self.source(matched, request).and_then(|source| source.route.fault);
        let from_headers = self.settings.headers.read(request);
        plan.malformed_headers = from_headers.malformed;
        let delay = from_headers.delay.or(fault.and_then(|fault| fault.delay));
        plan.abort = from_headers.abort.or(fault.and_then(|fault| fault.abort));
        let reset = fault.and_then(|fault| fault.reset);
        let rate_limit = fault.and_then(|fault| fault.rate_limit);
        if delay.is_none() && plan.abort.is_none() && reset.is_none() && rate_limit.is_none() {
            return plan;
        }
        plan.user = self.sampling.user(request);
        if let Some(delay) = delay {
            let is_hit = hits(delay.percentage, plan.user, "delay", draws);
            let length = is_hit.then(|| delay.length.draw(draws.draw()));
            // Envoy skips delays of zero length.
            plan.delay = length.filter(|length| !length.is_zero());
        }
        if let Some(reset) = reset {
            let is_hit = hits(reset.percentage, plan.user, "reset", draws);
            plan.reset_after = is_hit.then_some(reset.after_bytes);
        }
        if let Some(limit) = rate_limit {
            let is_hit = hits(limit.percentage, plan.user, "rate limit", draws);
            plan.bytes_per_second = is_hit.then_some(limit.bytes_per_second);
        }
        plan
    }
}

impl Plan {
    /// Returns whether the request has no faults.
    pub fn is_empty(&self) -> bool {
        *self
            == Self {
                user: self.user,
                malformed_headers: self.malformed_headers,
                ..Self::default()
            }
    }

    /// Draws whether the request is aborted. Call this once, after the delay.
    pub fn draw_abort(&self, draws: &mut dyn Draws) -> Option<AbortStatus> {
        let abort = self.abort?;
        let is_hit = hits(abort.percentage, self.user, "abort", draws);
        is_hit.then_some(abort.status)
    }
}

/// Whether the fault `name` happens: by the hash of the user if there is one, otherwise by a random
/// number. The name is the input of the hash, so that the choices of a user are independent.
fn hits(percent: Percent, user: Option<u64>, name: &'static str, draws: &mut dyn Draws) -> bool {
    let draw = user.map_or_else(|| draws.draw(), |user| xxh64(name.as_bytes(), user));
    draws.chose(Chance::of_percent(name, percent, draw));
    percent.hit(draw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fault::DelayLength;
    use crate::spec::proxy::NoMetadata;
    use crate::testing::{FixedAttributes, FixedDraw, pairs};

    /// Returns the numbers of a list, in order.
    struct DrawList<'a>(&'a [u64]);

    impl Draws for DrawList<'_> {
        fn draw(&mut self) -> u64 {
            let (first, rest) = self.0.split_first().expect("a draw too many");
            self.0 = rest;
            *first
        }
    }

    fn faults(more: &str, fault: &str) -> Faults {
        let document = format!(
            r#"{{"clusterName": "{{host}}", {more} "virtualServices": [{{"hosts": ["a"], "http": [
                {{"fault": {fault}, "route": [{{"destination": {{"host": "b"}}}}]}}]}}]}}"#
        );
        Faults::compile(document.as_bytes(), &NoMetadata).unwrap().0
    }

    fn plan(faults: &Faults, headers: &[(&str, &str)], draws: &mut dyn Draws) -> Plan {
        let mut all = pairs(&[(":authority", "a"), (":path", "/")]);
        all.extend(pairs(headers));
        let attributes = FixedAttributes::default();
        faults.plan(&Request::new(&all, &attributes), || SystemTime::UNIX_EPOCH, draws)
    }

    const BOTH: &str = r#"{"delay": {"fixedDelay": "5s", "percentage": {"value": 50}},
        "abort": {"httpStatus": 503, "percentage": {"value": 25}}}"#;

    #[test]
    fn delay_and_abort_are_drawn_independently() {
        let faults = faults("", BOTH);
        // The draws are for the delay, for its length, and for the abort.
        let mut draws = DrawList(&[499_999, 0, 249_999]);
        let hit = plan(&faults, &[], &mut draws);
        assert_eq!(hit.delay, Some(Duration::from_secs(5)));
        assert_eq!(hit.draw_abort(&mut draws), Some(AbortStatus::Http(503)));
        let mut draws = DrawList(&[500_000, 250_000]);
        let missed = plan(&faults, &[], &mut draws);
        assert_eq!(missed.delay, None);
        assert_eq!(missed.draw_abort(&mut draws), None);
    }

    #[test]
    fn without_faults_requests_need_no_plan() {
        let may_inject = |more: &str, fault: &str| faults(more, fault).may_inject();
        assert!(may_inject("", BOTH));
        assert!(!may_inject("", "null"));
        let from_headers = r#""faults": {"headers": {"abort": {"value": 1}}},"#;
        assert!(may_inject(from_headers, "null"));
    }

    #[test]
    fn the_configured_share_of_responses_is_reset() {
        let faults = faults("", r#"{"reset": {"afterBytes": 10, "percentage": {"value": 50}}}"#);
        let reset = |random| plan(&faults, &[], &mut DrawList(&[random])).reset_after;
        assert_eq!([reset(499_999), reset(500_000)], [Some(10), None]);
    }

    #[test]
    fn each_user_always_gets_the_same_faults() {
        let faults = faults(r#""sampling": {"key": [{"header": "user"}]},"#, BOTH);
        let mut counts = [0u32; 4];
        for user in 0..4_000 {
            let user = user.to_string();
            let outcome = |random| {
                let plan = plan(&faults, &[("user", &user)], &mut FixedDraw(random));
                let abort = plan.draw_abort(&mut FixedDraw(random)).is_some();
                usize::from(plan.delay.is_some()) * 2 + usize::from(abort)
            };
            assert_eq!(outcome(0), outcome(u64::MAX));
            counts[outcome(0)] += 1;
        }
        // Delay 50 % and abort 25 %, independently: 12.5 % have both. Four standard deviations.
        for (count, share) in counts.iter().zip([0.375, 0.125, 0.375, 0.125]) {
            let deviation = (4_000.0_f64 * share * (1.0 - share)).sqrt();
            assert!((f64::from(*count) - 4_000.0 * share).abs() < 4.0 * deviation, "{counts:?}");
        }
    }

    #[test]
    fn faults_end_at_not_after() {
        let more = r#""faults": {"notAfter": "1970-01-01T00:00:00Z"},"#;
        let faults = faults(more, BOTH);
        let all = pairs(&[(":authority", "a"), (":path", "/")]);
        let attributes = FixedAttributes::default();
        let request = Request::new(&all, &attributes);
        let at = |seconds| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            faults.plan(&request, || now, &mut FixedDraw(0)).is_empty()
        };
        assert!(!at(0));
        assert!(at(1));
    }

    #[test]
    fn delay_lengths_follow_their_distribution() {
        let ms = Duration::from_millis;
        let fixed = DelayLength::Fixed { duration: ms(100), jitter: ms(50) };
        assert!(fixed.draw(0) >= ms(100) && fixed.draw(0) < ms(101));
        assert!(fixed.draw(u64::MAX) > ms(149) && fixed.draw(u64::MAX) <= ms(150));
        let exponential = DelayLength::Exponential { mean: ms(100), max: ms(1000) };
        assert_eq!(exponential.draw(0), ms(1000), "capped");
        assert!(exponential.draw(u64::MAX) < ms(1));
        // The mean of evenly spaced draws is 100 ms; the cap reduces it by a factor of e^-10.
        let draws = 100_000u64;
        let total: f64 =
            (0..draws).map(|n| exponential.draw(u64::MAX / draws * n).as_secs_f64()).sum();
        assert!((total / draws as f64 - 0.1).abs() < 0.0005, "{total}");
    }

    #[test]
    fn fault_headers_are_limited_to_the_configured_share() {
        let more = r#""faults": {"headers": {"delay": {"value": 40}, "abort": {"value": 100}}},"#;
        let faults =
            faults(more, r#"{"abort": {"httpStatus": 500, "percentage": {"value": 100}}}"#);
        let abort = |headers: &[(&str, &str)]| {
            plan(&faults, headers, &mut FixedDraw(0)).draw_abort(&mut FixedDraw(0))
        };
        assert_eq!(abort(&[]), Some(AbortStatus::Http(500)));
        assert_eq!(abort(&[("x-envoy-fault-abort-request", "429")]), Some(AbortStatus::Http(429)));
        let both =
            [("x-envoy-fault-abort-request", "429"), ("x-envoy-fault-abort-grpc-request", "5")];
        assert_eq!(abort(&both), Some(AbortStatus::Http(429)));
        assert_eq!(abort(&both[1..]), Some(AbortStatus::Grpc(5)));
        let delay =
            |headers: &[(&str, &str)], random| plan(&faults, headers, &mut FixedDraw(random)).delay;
        let five = ("x-envoy-fault-delay-request", "5");
        let share = |share| ("x-envoy-fault-delay-request-percentage", share);
        let ms = Some(Duration::from_millis(5));
        assert_eq!([delay(&[five], 399_999), delay(&[five], 400_000)], [ms, None]);
        assert_eq!(delay(&[five, share("60")], 400_000), None, "limited to the configured 40 %");
        assert_eq!(delay(&[five, share("10")], 100_000), None);
        assert_eq!(delay(&[five, share("10")], 99_999), ms);
        assert_eq!(delay(&[five, share("x")], 399_999), ms, "an invalid percentage is ignored");
        assert_eq!(delay(&[("x-envoy-fault-delay-request", "0")], 0), None);
        let malformed = [
            ("x-envoy-fault-delay-request", "1s"),
            ("x-envoy-fault-abort-request", "600"),
            ("x-envoy-fault-abort-grpc-request", "17"),
            ("x-envoy-fault-abort-request-percentage", "-1"),
        ];
        let plan = plan(&faults, &malformed, &mut FixedDraw(0));
        assert_eq!(plan.malformed_headers, 4);
        assert_eq!(plan.draw_abort(&mut FixedDraw(0)), Some(AbortStatus::Http(500)));
    }

    #[test]
    fn fault_headers_are_ignored_by_default() {
        let none = faults("", r#"{"abort": {"httpStatus": 500}}"#);
        let headers =
            [("x-envoy-fault-abort-request", "429"), ("x-envoy-fault-delay-request", "x")];
        let plan = plan(&none, &headers, &mut FixedDraw(0));
        assert_eq!((plan.delay, plan.malformed_headers), (None, 0));
        assert_eq!(plan.draw_abort(&mut FixedDraw(0)), None);
    }
}
