//! Random settings of outlier detection, for the policy and for the model of Envoy's.

use proptest::prelude::*;

use crate::envoy_model::Config;

/// Returns random settings.
pub fn config() -> impl Strategy<Value = Config> {
    let times = (1..12i64, 1..30i64, 0..60i64, prop_oneof![Just(0i64), 0..5_000i64]);
    let thresholds = (0..7u32, 0..7u32, 1..7u32);
    let percent = || prop_oneof![4 => Just(100u64), 1 => 0..=100u64];
    let shares = (1..=100u32, any::<bool>(), percent(), percent(), percent());
    // Only one detector, because Envoy ejects a host twice that both detect.
    let rates = prop_oneof![
        2 => Just((None, None)),
        1 => (0..6usize, 0..10u64, 500..2_000u32).prop_map(|rate| (Some(rate), None)),
        1 => (0..6usize, 0..10u64, 0..=100u32).prop_map(|rate| (None, Some(rate))),
    ];
    (times, thresholds, shares, rates, any::<bool>()).prop_map(
        |(times, thresholds, shares, rates, split)| Config {
            interval: times.0 * 1000,
            base_ejection_time: times.1 * 1000,
            // Often a multiple of the base, to reach the case in which the multiplier is exactly at
            // its limit.
            max_ejection_time: match times.2 {
                more @ 0..30 => times.1 * (1 + more % 3) * 1000,
                more => (times.1 + more) * 1000,
            },
            max_ejection_time_jitter: times.3,
            max_ejection_percent: shares.0,
            always_eject_one_host: shares.1,
            split,
            consecutive_5xx: thresholds.0,
            consecutive_gateway_failure: thresholds.1,
            consecutive_local_origin_failure: if split { thresholds.2 } else { 0 },
            enforcing_consecutive_5xx: shares.2,
            enforcing_consecutive_gateway_failure: shares.3,
            enforcing_consecutive_local_origin_failure: shares.4,
            success_rate: rates.0,
            failure_percentage: rates.1,
        },
    )
}

/// Returns the `outlierDetection` with these settings.
pub fn detection(config: &Config) -> String {
    let mut more = String::new();
    if config.max_ejection_time_jitter > 0 {
        more += &format!(r#", "maxEjectionTimeJitter": "{}ms""#, config.max_ejection_time_jitter);
    }
    let rate = |name, rate: Option<(usize, u64, u32)>, last| {
        rate.map_or(String::new(), |(hosts, volume, value)| {
            format!(
                r#", "{name}": {{"minimumHosts": {hosts}, "requestVolume": {volume}, "{last}": {value}}}"#
            )
        })
    };
    more += &rate("successRate", config.success_rate, "stdevFactor");
    more += &rate("failurePercentage", config.failure_percentage, "threshold");
    format!(
        r#"{{"interval": "{}ms", "baseEjectionTime": "{}ms", "maxEjectionTime": "{}ms",
        "maxEjectionPercent": {}, "alwaysEjectOneHost": {}, "splitExternalLocalOriginErrors": {},
        "consecutive5xxErrors": {}, "consecutiveGatewayErrors": {},
        "consecutiveLocalOriginFailures": {}, "enforcingConsecutive5xx": {},
        "enforcingConsecutiveGatewayFailure": {}, "enforcingConsecutiveLocalOriginFailure": {}
        {more}}}"#,
        config.interval,
        config.base_ejection_time,
        config.max_ejection_time,
        config.max_ejection_percent,
        config.always_eject_one_host,
        config.split,
        config.consecutive_5xx,
        config.consecutive_gateway_failure,
        config.consecutive_local_origin_failure,
        config.enforcing_consecutive_5xx,
        config.enforcing_consecutive_gateway_failure,
        config.enforcing_consecutive_local_origin_failure,
    )
}
