use super::*;
use crate::outlier::classify::is_failure;
use crate::outlier::rates::{Rate, Rates};
use crate::testing::outlier_settings as settings;

const OK: Outcome = Outcome::Response(Verdict::Success);
const S500: Outcome = Outcome::Response(Verdict::ServerError);
const S503: Outcome = Outcome::Response(Verdict::GatewayError);
const IN: Standing = Standing { ejections: 0, is_ejected: false };

/// The counters after all outcomes, and the detections of the last one.
fn count(settings: &Settings, outcomes: &[Outcome]) -> ([u32; 3], Vec<Reason>) {
    let mut counts = Counts::default();
    let mut found = Detections::default();
    for outcome in outcomes {
        (counts, found) = counts.record(settings, IN, *outcome);
    }
    let counters = [
        counts.consecutive_5xx,
        counts.consecutive_gateway_failure,
        counts.consecutive_local_origin_failure,
    ];
    (counters, found.iter().collect())
}

#[test]
fn gateway_errors_increment_both_counters_and_other_5xx_reset_theirs() {
    let settings = settings("{}");
    assert_eq!(count(&settings, &[S503, S503]).0, [2, 2, 0]);
    assert_eq!(count(&settings, &[S503, S500]).0, [2, 0, 0]);
    assert_eq!(count(&settings, &[S503, S500, S503]).0, [3, 1, 0]);
    assert_eq!(count(&settings, &[S503, OK]).0, [0, 0, 0]);
    for local in [Outcome::NoConnection, Outcome::NoResponse, Outcome::Broken] {
        assert_eq!(count(&settings, &[local, local]).0, [2, 2, 0], "{local:?}");
    }
}

#[test]
fn a_detection_resets_only_its_own_counter() {
    let settings = settings(r#"{"consecutive5xxErrors": 3, "consecutiveGatewayErrors": 2}"#);
    assert_eq!(
        count(&settings, &[S503, S503]),
        ([2, 0, 0], vec![Reason::ConsecutiveGatewayFailure])
    );
    assert_eq!(count(&settings, &[S500, S503, S500]), ([0, 0, 0], vec![Reason::Consecutive5xx]));
    let both = [Reason::ConsecutiveGatewayFailure, Reason::Consecutive5xx];
    assert_eq!(count(&settings, &[S500, S503, S503]), ([0, 0, 0], both.to_vec()));
}

#[test]
fn a_threshold_of_0_is_never_reached() {
    let settings = settings(r#"{"consecutive5xxErrors": 0, "consecutiveGatewayErrors": 0}"#);
    for length in 1..20 {
        assert_eq!(count(&settings, &vec![S503; length]).1, []);
    }
}

#[test]
fn local_failures_are_counted_separately_if_they_are_split() {
    let settings = settings(
        r#"{"splitExternalLocalOriginErrors": true, "consecutiveLocalOriginFailures": 3}"#,
    );
    let none = Outcome::NoConnection;
    assert_eq!(count(&settings, &[none, none]).0, [0, 0, 2]);
    assert_eq!(
        count(&settings, &[S503, none, none, none]),
        ([1, 1, 0], vec![Reason::ConsecutiveLocalOriginFailure])
    );
    assert_eq!(count(&settings, &[none, none, S500]).0, [1, 0, 0], "the connection succeeded");
    assert_eq!(count(&settings, &[none, none, OK]).0, [0, 0, 0]);
    let silent = Outcome::NoResponse;
    assert_eq!(
        count(&settings, &[none, none, silent]).0,
        [0, 0, 1],
        "the connection succeeded before the failure"
    );
    assert_eq!(count(&settings, &[OK, Outcome::Broken]).0, [0, 0, 1]);
}

#[test]
fn successes_and_attempts_of_ejected_hosts_change_no_counts() {
    let settings = settings("{}");
    for ejections in [0, 7] {
        let standing = Standing { ejections, is_ejected: false };
        let (after, found) = Counts::default().record(&settings, standing, OK);
        assert_eq!(after, Counts::default());
        assert!(found.is_empty());
    }
    let (failed, _) = Counts::default().record(&settings, IN, S500);
    let out = Standing { ejections: 1, is_ejected: true };
    for outcome in [OK, S500, Outcome::NoConnection] {
        assert_eq!(failed.record(&settings, out, outcome), (failed, Detections::default()));
    }
}

#[test]
fn counts_from_before_an_ejection_are_ignored() {
    let settings = settings("{}");
    let (before, _) = Counts::default().record(&settings, IN, S500);
    let back = Standing { ejections: 1, is_ejected: false };
    let (after, _) = before.record(&settings, back, S500);
    assert_eq!(after.consecutive_5xx, 1);
    let (later, _) = after.record(&settings, back, S500);
    assert_eq!(later.consecutive_5xx, 2);
    let (clear, _) = before.record(&settings, back, OK);
    assert!(clear.is_clear() && clear != before);
}

#[test]
fn decoding_returns_the_encoded_counts() {
    let counts = Counts {
        generation: 1,
        consecutive_5xx: u32::MAX,
        consecutive_gateway_failure: 3,
        consecutive_local_origin_failure: 4,
    };
    assert_eq!(Counts::decode(&counts.encode()), Some(counts));
    assert_eq!(Counts::decode(&counts.encode()[1..]), None);
    assert_eq!(Counts::decode(&[]), None);
}

#[test]
fn counts_saturate() {
    let settings = settings("{}");
    let max = Counts { consecutive_5xx: u32::MAX, ..Counts::default() };
    assert_eq!(max.record(&settings, IN, S500).0.consecutive_5xx, u32::MAX);
}

#[test]
fn rates_count_all_attempts() {
    let plain = settings("{}");
    let split = settings(r#"{"splitExternalLocalOriginErrors": true}"#);
    let tally = |settings: &Settings, outcomes: &[Outcome]| {
        let mut rates = Rates::default();
        outcomes.iter().for_each(|outcome| rates.record(settings, *outcome));
        let pair = |rate: Rate| (rate.successes, rate.requests);
        (pair(rates.external), pair(rates.local))
    };
    let outcomes = [OK, S500, Outcome::NoConnection, Outcome::NoResponse, Outcome::Broken];
    assert_eq!(tally(&plain, &outcomes), ((1, 5), (0, 0)));
    // Local: two responses, three failures, and the success of the connection of `NoResponse`.
    assert_eq!(tally(&split, &outcomes), ((1, 2), (3, 6)));
}

#[test]
fn every_kind_of_failure_fails_a_probe() {
    assert!(!is_failure(OK));
    for outcome in [S500, S503, Outcome::Broken, Outcome::NoConnection, Outcome::NoResponse] {
        assert!(is_failure(outcome), "{outcome:?}");
    }
}
