use super::*;
use crate::testing;

fn read(text: &str) -> Result<(Settings, String), String> {
    testing::read_with_notices(text, testing::read_outlier_settings)
}

fn accepted(text: &str) -> Settings {
    read(text).unwrap().0
}

#[test]
fn defaults_are_those_of_istio() {
    let settings = accepted("{}");
    assert_eq!(settings.consecutive_5xx, Consecutive { threshold: 5, enforcing: 100 });
    assert_eq!(settings.consecutive_gateway_failure, Consecutive { threshold: 5, enforcing: 0 });
    assert!(!settings.splits_local_origin && !settings.has_rates());
    assert_eq!(settings.interval, Duration::from_secs(10));
    assert_eq!(settings.base_ejection_time, Duration::from_secs(30));
    assert_eq!(settings.max_ejection_time, Duration::from_secs(300));
    assert_eq!((settings.max_ejection_percent, settings.min_health_percent), (10, 0));
    assert!(!settings.always_ejects_one_host && settings.half_open.is_none());
    assert_eq!(settings.minimum_hosts(), 10);
    assert_eq!(read("{}").unwrap().1, "");
}

#[test]
fn detectors_with_a_threshold_are_enforced() {
    let settings = accepted(
        r#"{"consecutive_5xx_errors": 0, "consecutiveGatewayErrors": 3,
            "splitExternalLocalOriginErrors": true, "consecutiveLocalOriginFailures": 10}"#,
    );
    assert_eq!(settings.consecutive_5xx.threshold, 0);
    assert_eq!(settings.consecutive_gateway_failure, Consecutive { threshold: 3, enforcing: 100 });
    let local = Consecutive { threshold: 10, enforcing: 100 };
    assert_eq!(settings.consecutive_local_origin_failure, local);
    let default = accepted(
        r#"{"splitExternalLocalOriginErrors": true, "consecutiveLocalOriginFailures": 0}"#,
    );
    let local = Consecutive { threshold: 5, enforcing: 100 };
    assert_eq!(default.consecutive_local_origin_failure, local, "0 counts as absent");
    let shadow = accepted(r#"{"consecutive5xxErrors": 3, "enforcingConsecutive5xx": 0}"#);
    assert_eq!(shadow.consecutive_5xx, Consecutive { threshold: 3, enforcing: 0 });
}

#[test]
fn consecutive_errors_has_no_effect() {
    let (settings, notices) = read(r#"{"consecutiveErrors": 1}"#).unwrap();
    assert_eq!(settings.consecutive_gateway_failure, Consecutive { threshold: 5, enforcing: 0 });
    assert_eq!(settings.consecutive_5xx, Consecutive { threshold: 5, enforcing: 100 });
    assert_eq!(
        notices,
        "consecutiveErrors: has no effect, since istiod does not read it; write \
         consecutive5xxErrors or consecutiveGatewayErrors"
    );
    let both = accepted(r#"{"consecutiveErrors": 1, "consecutiveGatewayErrors": 2}"#);
    assert_eq!(both.consecutive_gateway_failure, Consecutive { threshold: 2, enforcing: 100 });
    assert_eq!(
        read(r#"{"consecutiveErrors": -1}"#).unwrap_err(),
        "consecutiveErrors: -1 is not in the range 0 to 4294967295"
    );
}

#[test]
fn the_maximum_time_is_at_least_the_base_time() {
    let settings = accepted(r#"{"baseEjectionTime": "10m"}"#);
    assert_eq!(settings.max_ejection_time, Duration::from_secs(600));
    assert_eq!(
        read(r#"{"maxEjectionTime": "29s"}"#).unwrap_err(),
        "maxEjectionTime: \"29s\" is shorter than baseEjectionTime"
    );
}

#[test]
fn ejections_last_a_multiple_of_the_base_time_up_to_the_maximum() {
    let settings = accepted("{}");
    let seconds = |multiplier| settings.ejection_time(multiplier).as_secs();
    assert_eq!([0, 1, 2, 10, 11, u32::MAX].map(seconds), [0, 30, 60, 300, 300, 300]);
}

#[test]
fn minimum_hosts_follow_the_maximum_share() {
    let hosts = |percent| {
        let text = format!(r#"{{"maxEjectionPercent": {percent}}}"#);
        accepted(&text).minimum_hosts()
    };
    assert_eq!([0, 1, 33, 34, 50, 100].map(hosts), [10, 100, 4, 3, 2, 1]);
    assert_eq!(accepted(r#"{"alwaysEjectOneHost": true}"#).minimum_hosts(), 1);
}

#[test]
fn rates_and_half_open_have_defaults() {
    let settings = accepted(
        r#"{"successRate": {}, "failurePercentage": {"enforcing": 50}, "halfOpen": {"successes": 3}}"#,
    );
    let success = settings.success_rate.unwrap();
    assert_eq!((success.minimum_hosts, success.request_volume), (5, 100));
    assert_eq!((success.stdev_factor, success.enforcing), (1900, 100));
    let failure = settings.failure_percentage.unwrap();
    assert_eq!((failure.threshold, failure.minimum_hosts, failure.request_volume), (85, 5, 50));
    assert_eq!((failure.enforcing, failure.enforcing_local_origin), (50, 50));
    let half_open = HalfOpen { successes: 3, probe_timeout: Duration::from_secs(10) };
    assert_eq!(settings.half_open, Some(half_open));
    assert_eq!(accepted(r#"{"fallback": {"subset": "v1"}}"#).half_open, Some(HalfOpen::default()));
}

#[test]
fn settings_that_eject_nothing_are_reported() {
    let nothing = "configuration: ejects nothing, all of its detectors are off";
    let notices = |text: &str| read(text).unwrap().1;
    assert_eq!(notices(r#"{"consecutive5xxErrors": 0}"#), nothing);
    assert_eq!(notices(r#"{"enforcingConsecutive5xx": 0}"#), nothing);
    assert_eq!(notices(r#"{"consecutive5xxErrors": 0, "successRate": {}}"#), "");
    assert_eq!(
        notices(r#"{"consecutive5xxErrors": 0, "splitExternalLocalOriginErrors": true}"#),
        ""
    );
}

#[test]
fn different_settings_have_different_fingerprints() {
    let fingerprint = |text: &str| accepted(text).fingerprint;
    assert_eq!(fingerprint(r#"{"interval": "1s"}"#), fingerprint(r#"{ "interval" : "1s" }"#));
    assert_eq!(
        fingerprint(r#"{"interval": "1s", "baseEjectionTime": "2s", "halfOpen": {}}"#),
        fingerprint(r#"{"halfOpen": {}, "baseEjectionTime": "2s", "interval": "1s"}"#)
    );
    let all = [
        fingerprint("{}"),
        fingerprint(r#"{"interval": "1s", "baseEjectionTime": "2s"}"#),
        fingerprint(r#"{"interval": "2s", "baseEjectionTime": "1s"}"#),
        fingerprint(r#"{"interval": "1s"}"#),
        fingerprint(r#"{"baseEjectionTime": "1s"}"#),
        fingerprint(r#"{"interval": "2s"}"#),
        fingerprint(r#"{"interval": null}"#),
        fingerprint(r#"{"outlierDetectionHttpErrorCodes": [500]}"#),
        fingerprint(r#"{"alwaysEjectOneHost": true}"#),
        fingerprint(r#"{"alwaysEjectOneHost": false}"#),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "{index}");
    }
}

#[test]
fn rejects_invalid_fields() {
    let text = r#"{"consecutive5xxErrors": -1, "interval": "2.000000005s", "baseEjectionTime": "0s",
        "maxEjectionPercent": 105, "minHealthPercent": -1, "consecutiveLocalOriginFailures": 3,
        "outlierDetectionHttpErrorCodes": [99, 600], "successRate": {"stdevFactors": 1},
        "halfOpen": {"successes": 0}, "failure": {"grpcStatus": ["NO"], "headers": {":x": {}},
        "slowerThan": "0s"}, "maxEjectionTimeJitter": "1us", "fallback": {}}"#;
    assert_eq!(
        read(text).unwrap_err(),
        "consecutive5xxErrors: -1 is not in the range 0 to 4294967295\n\
         interval: \"2.000000005s\" is not a whole number of milliseconds\n\
         baseEjectionTime: \"0s\" is shorter than 1ms\n\
         maxEjectionPercent: 105 is not in the range 0 to 100\n\
         minHealthPercent: -1 is not in the range 0 to 100\n\
         consecutiveLocalOriginFailures: can only be used with splitExternalLocalOriginErrors: true\n\
         outlierDetectionHttpErrorCodes[0]: 99 is not in the range 100 to 599\n\
         outlierDetectionHttpErrorCodes[1]: 600 is not in the range 100 to 599\n\
         successRate.stdevFactors: unknown field, did you mean \"stdevFactor\"?\n\
         halfOpen.successes: 0 is not in the range 1 to 1000\n\
         failure.grpcStatus[0]: \"NO\" is not the name of a gRPC status such as UNAVAILABLE\n\
         failure.headers[\":x\"]: \":x\" is a pseudo-header that cannot be used here\n\
         failure.slowerThan: \"0s\" is shorter than 1ms\n\
         maxEjectionTimeJitter: \"1us\" is shorter than 1ms\n\
         fallback.subset: is required"
    );
}
