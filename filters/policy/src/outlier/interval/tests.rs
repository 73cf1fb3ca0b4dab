use super::*;
use crate::testing::{FixedDraw, outlier_settings as settings};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tick(cluster: &mut Cluster, settings: &Settings, endpoints: u64, now: u64) -> Vec<String> {
    let effects = cluster.on_interval(settings, endpoints, at(now), &mut FixedDraw(0));
    let shown = |effect: Effect| {
        let host = String::from_utf8_lossy(&effect.host).into_owned();
        match effect.kind {
            EffectKind::Detected { reason, enforced } => format!("{host} {reason} {enforced}"),
            EffectKind::Ejected { time, .. } => format!("{host} ejected {}", time.as_secs()),
            EffectKind::Departed => format!("{host} departed"),
            EffectKind::Forgotten => format!("{host} forgotten"),
            EffectKind::Overflow => format!("{host} overflow"),
            EffectKind::Withheld { reason } => format!("{host} withheld {reason}"),
            EffectKind::Returned { after } => format!("{host} returned {}", after.as_secs()),
        }
    };
    effects.into_iter().map(shown).collect()
}

fn eject(cluster: &mut Cluster, settings: &Settings, host: &str, now: u64) {
    let reason = Reason::Consecutive5xx;
    let effects =
        cluster.detect(settings, host.as_bytes(), reason, 100, at(now), &mut FixedDraw(0));
    assert_eq!(effects.len(), 2, "{effects:?}");
}

/// A cluster of hosts with 100 requests each. `successes` are their successful requests.
fn rated(successes: &[u32]) -> Cluster {
    let mut cluster = Cluster::new(at(0));
    for (host, successes) in successes.iter().enumerate() {
        let host = format!("h{host}");
        cluster.observe(host.as_bytes(), at(1));
        let external = Rate { requests: 100, successes: *successes };
        cluster.add_rates(host.as_bytes(), Rates { external, local: Rate::default() });
    }
    cluster
}

#[test]
fn hosts_return_at_the_first_tick_after_their_ejection_time() {
    let settings = settings("{}");
    let mut cluster = Cluster::new(at(0));
    eject(&mut cluster, &settings, "a", 5);
    assert_eq!(tick(&mut cluster, &settings, 0, 30), [""; 0]);
    assert_eq!(cluster.next_tick(&settings), at(40));
    assert_eq!(tick(&mut cluster, &settings, 0, 40), ["a returned 35"]);
    assert_eq!(tick(&mut cluster, &settings, 0, 50), [""; 0]);
}

#[test]
fn the_multiplier_rises_to_the_maximum_and_each_tick_decrements_it() {
    let settings = settings("{}");
    let mut cluster = Cluster::new(at(0));
    let multiplier = |cluster: &Cluster| cluster.hosts()[0].multiplier;
    let mut now = 0;
    let mut times = Vec::new();
    for _ in 0..12 {
        eject(&mut cluster, &settings, "a", now);
        let time = settings.ejection_time(multiplier(&cluster)).as_secs();
        times.push(time);
        now += time;
        assert_eq!(tick(&mut cluster, &settings, 0, now), [format!("a returned {time}")]);
    }
    assert_eq!(times, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    // It rises while `multiplier * base < max + base`, which is false for 11 * 30 s.
    assert_eq!(multiplier(&cluster), 11);
    tick(&mut cluster, &settings, 0, now + 9);
    assert_eq!(multiplier(&cluster), 11, "less than one interval after the return");
    for left in (0..11).rev() {
        now += 10;
        tick(&mut cluster, &settings, 0, now);
        assert_eq!(multiplier(&cluster), left);
    }
    tick(&mut cluster, &settings, 0, now + 10);
    assert_eq!(multiplier(&cluster), 0);
}

#[test]
fn ticks_do_not_decrement_the_multiplier_of_an_ejected_host() {
    let settings = settings("{}");
    let mut cluster = Cluster::new(at(0));
    eject(&mut cluster, &settings, "a", 0);
    tick(&mut cluster, &settings, 0, 30);
    eject(&mut cluster, &settings, "a", 31);
    for now in [40, 50, 60, 70, 80, 90] {
        assert_eq!(tick(&mut cluster, &settings, 0, now), [""; 0]);
    }
    assert_eq!(tick(&mut cluster, &settings, 0, 100), ["a returned 69"]);
}

#[test]
fn a_success_rate_far_below_the_others_is_an_outlier() {
    let settings = settings(r#"{"successRate": {}, "maxEjectionPercent": 20}"#);
    // The mean is 90 and the standard deviation 20. So the threshold is 52, and 50 is below it.
    let detected = ["h4 success_rate true", "h4 ejected 30"];
    assert_eq!(tick(&mut rated(&[100, 100, 100, 100, 50]), &settings, 0, 10), detected);
    let mut again = rated(&[100, 100, 100, 100, 50]);
    tick(&mut again, &settings, 0, 10);
    assert_eq!(tick(&mut again, &settings, 0, 20), [""; 0], "rates are per interval");
    assert_eq!(tick(&mut rated(&[100, 100, 100, 50]), &settings, 0, 10), [""; 0], "too few hosts");
    assert_eq!(tick(&mut rated(&[100, 100, 100, 50, 50]), &settings, 0, 10), [""; 0]);
    let few = settings_with_volume(101);
    assert_eq!(tick(&mut rated(&[100, 100, 100, 100, 50]), &few, 0, 10), [""; 0]);
}

fn settings_with_volume(volume: u32) -> Settings {
    settings(&format!(r#"{{"successRate": {{"requestVolume": {volume}}}}}"#))
}

#[test]
fn the_failure_percentage_is_inclusive() {
    let settings =
        settings(r#"{"failurePercentage": {"minimumHosts": 2}, "maxEjectionPercent": 50}"#);
    let detected = ["h0 failure_percentage true", "h0 ejected 30"];
    assert_eq!(tick(&mut rated(&[15, 100]), &settings, 0, 10), detected);
    assert_eq!(tick(&mut rated(&[16, 100]), &settings, 0, 10), [""; 0]);
    let both = [&detected[..], &["h1 failure_percentage false", "h1 overflow"]].concat();
    assert_eq!(tick(&mut rated(&[0, 0]), &settings, 0, 10), both);
}

#[test]
fn a_host_that_both_rates_detect_is_ejected_once() {
    let settings =
        settings(r#"{"failurePercentage": {}, "successRate": {}, "maxEjectionPercent": 100}"#);
    let detected = ["h5 success_rate true", "h5 ejected 30"];
    assert_eq!(tick(&mut rated(&[100, 100, 100, 100, 100, 0]), &settings, 0, 10), detected);
}

#[test]
fn local_rates_are_checked_separately() {
    let settings = settings(
        r#"{"splitExternalLocalOriginErrors": true, "maxEjectionPercent": 100,
            "failurePercentage": {"minimumHosts": 1, "enforcingLocalOrigin": 0}}"#,
    );
    let mut cluster = Cluster::new(at(0));
    cluster.observe(b"a", at(1));
    let local = Rate { requests: 50, successes: 0 };
    cluster.add_rates(b"a", Rates { external: Rate::default(), local });
    cluster.add_rates(b"unknown", Rates { external: Rate::default(), local });
    let detected = ["a local_origin_failure_percentage false"];
    assert_eq!(tick(&mut cluster, &settings, 0, 10), detected);
}

#[test]
fn with_half_open_recovery_ticks_return_no_hosts() {
    let settings = settings(r#"{"halfOpen": {}}"#);
    let mut cluster = Cluster::new(at(0));
    eject(&mut cluster, &settings, "a", 5);
    assert_eq!(tick(&mut cluster, &settings, 0, 1000), [""; 0]);
}

#[test]
fn hosts_without_traffic_are_forgotten() {
    let settings = settings(r#"{"baseEjectionTime": "30m", "maxEjectionPercent": 50}"#);
    let mut cluster = Cluster::new(at(0));
    for host in ["a", "b", "c"] {
        cluster.observe(host.as_bytes(), at(0));
    }
    eject(&mut cluster, &settings, "a", 0);
    cluster.observe(b"c", at(599));
    assert_eq!(tick(&mut cluster, &settings, 3, 599), [""; 0]);
    assert_eq!(tick(&mut cluster, &settings, 3, 600), ["b forgotten"]);
    assert_eq!(cluster.hosts().len(), 2, "an ejected host stays");
    assert_eq!(tick(&mut cluster, &settings, 3, 1_800), ["a returned 1800", "c forgotten"]);
    assert_eq!(tick(&mut cluster, &settings, 3, 1_829), [""; 0], "the host has just returned");
    assert_eq!(tick(&mut cluster, &settings, 3, 1_830), ["a forgotten"]);
}

#[test]
fn hosts_are_forgotten_earlier_if_the_cluster_has_fewer_hosts() {
    let settings = settings("{}");
    let mut cluster = Cluster::new(at(0));
    for host in ["a", "b", "c"] {
        cluster.observe(host.as_bytes(), at(0));
    }
    assert_eq!(tick(&mut cluster, &settings, 2, 29), [""; 0]);
    assert_eq!(tick(&mut cluster, &settings, 3, 30), [""; 0]);
    assert_eq!(tick(&mut cluster, &settings, 0, 30), [""; 0]);
    assert_eq!(tick(&mut cluster, &settings, 2, 30), ["a forgotten"]);
    assert_eq!(tick(&mut cluster, &settings, 2, 30), [""; 0], "only the surplus is forgotten");
}

#[test]
fn an_ejected_host_that_envoy_no_longer_chooses_has_left_if_a_new_one_came() {
    let settings = settings(r#"{"maxEjectionPercent": 50, "baseEjectionTime": "10m"}"#);
    let mut cluster = Cluster::new(at(0));
    for host in ["a", "b", "c"] {
        cluster.observe(host.as_bytes(), at(0));
    }
    eject(&mut cluster, &settings, "a", 1);
    for now in [10, 20, 30, 40] {
        cluster.observe(b"b", at(now));
        cluster.observe(b"c", at(now));
        assert_eq!(tick(&mut cluster, &settings, 3, now), [""; 0], "it may only be out of use");
    }
    cluster.observe(b"d", at(41));
    assert_eq!(cluster.ejected_in_cluster(&settings, 3), 0, "it fills no percentage");
    for host in [b"b", b"c", b"d"] {
        cluster.observe(host, at(50));
    }
    assert_eq!(tick(&mut cluster, &settings, 3, 50), ["a departed"]);
    assert_eq!(cluster.ejected(), 0);
}

#[test]
fn an_ejected_host_that_was_tried_lately_stays() {
    let settings = settings(r#"{"maxEjectionPercent": 50, "baseEjectionTime": "10m"}"#);
    let mut cluster = Cluster::new(at(0));
    for host in ["a", "b"] {
        cluster.observe(host.as_bytes(), at(0));
    }
    eject(&mut cluster, &settings, "a", 1);
    assert!(cluster.record_try(b"a", at(35)));
    assert!(!cluster.record_try(b"b", at(35)), "it is not ejected");
    cluster.observe(b"c", at(36));
    assert_eq!(tick(&mut cluster, &settings, 2, 40), ["b forgotten"]);
    assert!(!cluster.is_settled(), "the tick allows another try");
    assert!(cluster.record_try(b"a", at(41)) && cluster.is_settled());
}
