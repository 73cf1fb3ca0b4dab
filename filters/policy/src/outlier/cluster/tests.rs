use super::*;
use crate::spec::mode::Mode;
use crate::testing::{FixedDraw, outlier_settings as settings};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn detect(cluster: &mut Cluster, settings: &Settings, host: &str, hosts: u64) -> Vec<EffectKind> {
    let reason = Reason::Consecutive5xx;
    let effects =
        cluster.detect(settings, host.as_bytes(), reason, hosts, at(1), &mut FixedDraw(0));
    assert!(effects.iter().all(|effect| *effect.host == *host.as_bytes()));
    effects.into_iter().map(|effect| effect.kind).collect()
}

fn detected(enforced: bool) -> EffectKind {
    EffectKind::Detected { reason: Reason::Consecutive5xx, enforced }
}

fn ejected(seconds: u64, ejections: u32) -> EffectKind {
    EffectKind::Ejected { reason: Reason::Consecutive5xx, time: at(seconds), ejections }
}

#[test]
fn hosts_are_sorted_and_unique() {
    let mut cluster = Cluster::new(at(0));
    assert_eq!(cluster.observe(b"b", at(1)), Observed::Added);
    assert_eq!(cluster.observe(b"a", at(2)), Observed::Added);
    assert_eq!(cluster.observe(b"b", at(3)), Observed::Known);
    assert_eq!(cluster.observe(b"b", at(2)), Observed::Known);
    let hosts: Vec<_> =
        cluster.hosts().iter().map(|host| (&*host.address, host.seen.as_secs())).collect();
    assert_eq!(hosts, [(&b"a"[..], 2), (&b"b"[..], 3)]);
    assert_eq!(cluster.standing(b"c"), Standing::default());
    assert_eq!(cluster.observe(&[b'x'; 256], at(1)), Observed::Full);
}

#[test]
fn the_number_of_hosts_is_limited() {
    let mut cluster = Cluster::new(at(0));
    for host in 0..MAX_HOSTS {
        assert_eq!(cluster.observe(format!("{host:05}").as_bytes(), at(1)), Observed::Added);
    }
    assert_eq!(cluster.observe(b"one more", at(1)), Observed::Full);
    assert_eq!(cluster.observe(b"00007", at(1)), Observed::Known);
    let settings = settings(r#"{"maxEjectionPercent": 100}"#);
    assert_eq!(detect(&mut cluster, &settings, "one more", 0), []);
    assert_eq!(detect(&mut cluster, &settings, "00007", 0), [detected(true), ejected(30, 1)]);
}

#[test]
fn the_maximum_ejection_percentage_is_inclusive() {
    let overflow = [detected(false), EffectKind::Overflow];
    for (percent, hosts, is_ejected) in
        [(10, 9, false), (10, 10, true), (33, 3, false), (34, 3, true), (50, 2, true)]
    {
        let settings = settings(&format!(r#"{{"maxEjectionPercent": {percent}}}"#));
        let effects = detect(&mut Cluster::new(at(0)), &settings, "a", hosts);
        let expected = if is_ejected { [detected(true), ejected(30, 1)] } else { overflow };
        assert_eq!(effects, expected, "{percent} % of {hosts}");
    }
    let always = settings(r#"{"alwaysEjectOneHost": true}"#);
    let mut cluster = Cluster::new(at(0));
    assert_eq!(detect(&mut cluster, &always, "a", 3), [detected(true), ejected(30, 1)]);
    assert_eq!(detect(&mut cluster, &always, "b", 3), overflow);
    assert_eq!(cluster.ejected(), 1);
}

#[test]
fn an_ejected_host_is_not_detected_again() {
    let settings = settings(r#"{"maxEjectionPercent": 100}"#);
    let mut cluster = Cluster::new(at(0));
    assert_eq!(detect(&mut cluster, &settings, "a", 2).len(), 2);
    assert_eq!(cluster.standing(b"a"), Standing { ejections: 1, is_ejected: true });
    assert_eq!(detect(&mut cluster, &settings, "a", 2), []);
}

#[test]
fn enforcement_is_drawn_only_below_the_maximum() {
    let half = settings(r#"{"enforcingConsecutive5xx": 50}"#);
    let detect = |draw, hosts| {
        let mut cluster = Cluster::new(at(0));
        let draws = &mut FixedDraw(draw);
        let effects = cluster.detect(&half, b"a", Reason::Consecutive5xx, hosts, at(1), draws);
        effects.into_iter().map(|effect| effect.kind).collect::<Vec<_>>()
    };
    assert_eq!(detect(49, 10), [detected(true), ejected(30, 1)]);
    assert_eq!(detect(50, 10), [detected(false)]);
    assert_eq!(detect(50, 9), [detected(false), EffectKind::Overflow]);
}

#[test]
fn shadow_mode_withholds_what_would_be_ejected() {
    let text = r#"{"enforcingConsecutive5xx": 50}"#;
    let shadow = Settings { mode: Mode::Shadow, ..settings(text) };
    let mut cluster = Cluster::new(at(0));
    let mut detect = |draw, hosts| {
        let draws = &mut FixedDraw(draw);
        let effects = cluster.detect(&shadow, b"a", Reason::Consecutive5xx, hosts, at(1), draws);
        effects.into_iter().map(|effect| effect.kind).collect::<Vec<_>>()
    };
    let withheld = EffectKind::Withheld { reason: Reason::Consecutive5xx };
    assert_eq!(detect(49, 10), [detected(false), withheld]);
    assert_eq!(detect(49, 10), [detected(false), withheld], "it is still in the cluster");
    assert_eq!(detect(50, 10), [detected(false)]);
    assert_eq!(detect(49, 9), [detected(false), EffectKind::Overflow]);
    assert_eq!((cluster.ejected(), cluster.standing(b"a")), (0, Standing::default()));
}

#[test]
fn jitter_is_drawn_up_to_its_maximum() {
    let settings = settings(r#"{"maxEjectionPercent": 100, "maxEjectionTimeJitter": "5s"}"#);
    let time = |draw| {
        let mut cluster = Cluster::new(at(0));
        let reason = Reason::Consecutive5xx;
        let effects = cluster.detect(&settings, b"a", reason, 1, at(1), &mut FixedDraw(draw));
        let Some(EffectKind::Ejected { time, .. }) = effects.last().map(|last| last.kind) else {
            panic!("not ejected: {effects:?}");
        };
        time.as_millis()
    };
    assert_eq!([time(0), time(5_000), time(5_001), time(4)], [30_000, 35_000, 30_000, 30_004]);
}

fn half_open(more: &str) -> Settings {
    settings(&format!(r#"{{"maxEjectionPercent": 100, "halfOpen": {{{more}}}}}"#))
}

fn end(
    cluster: &mut Cluster,
    settings: &Settings,
    began: u64,
    is_failure: Option<bool>,
    now: u64,
) -> Option<EffectKind> {
    let draws = &mut FixedDraw(0);
    cluster.end_probe(settings, b"a", at(began), is_failure, at(now), draws).map(|e| e.kind)
}

#[test]
fn a_host_is_probed_after_its_ejection_time() {
    let settings = half_open("");
    let mut cluster = Cluster::new(at(0));
    assert_eq!(cluster.next_probe(&settings), None);
    detect(&mut cluster, &settings, "a", 1);
    assert_eq!(cluster.next_probe(&settings), Some(at(31)));
    assert_eq!(cluster.take_probe(&settings, at(30)), None);
    assert_eq!(cluster.take_probe(&settings, at(31)), Some(&b"a"[..]));
    assert_eq!(cluster.take_probe(&settings, at(32)), None, "one at a time");
    assert_eq!(end(&mut cluster, &settings, 30, Some(false), 33), None, "began before the probe");
    let returned = EffectKind::Returned { after: at(32) };
    assert_eq!(end(&mut cluster, &settings, 31, Some(false), 33), Some(returned));
    assert_eq!(cluster.standing(b"a"), Standing { ejections: 1, is_ejected: false });
    assert_eq!(end(&mut cluster, &settings, 31, Some(false), 34), None);
}

#[test]
fn a_failed_probe_ejects_the_host_again() {
    let settings = half_open("");
    let mut cluster = Cluster::new(at(0));
    detect(&mut cluster, &settings, "a", 1);
    cluster.take_probe(&settings, at(31));
    let again = EffectKind::Ejected { reason: Reason::Probe, time: at(60), ejections: 2 };
    assert_eq!(end(&mut cluster, &settings, 31, Some(true), 40), Some(again));
    assert_eq!(cluster.next_probe(&settings), Some(at(100)));
    assert_eq!(cluster.ejected(), 1);
}

#[test]
fn a_probe_without_a_result_is_sent_again() {
    let settings = half_open(r#""probeTimeout": "5s""#);
    let mut cluster = Cluster::new(at(0));
    detect(&mut cluster, &settings, "a", 1);
    cluster.take_probe(&settings, at(31));
    assert_eq!(cluster.take_probe(&settings, at(35)), None);
    assert_eq!(cluster.take_probe(&settings, at(36)), Some(&b"a"[..]));
    assert_eq!(end(&mut cluster, &settings, 31, Some(true), 37), None, "result of the first probe");
    assert_eq!(end(&mut cluster, &settings, 36, None, 38), None);
    assert_eq!(cluster.take_probe(&settings, at(38)), Some(&b"a"[..]), "without a wait");
}

#[test]
fn several_probes_in_a_row_may_be_needed() {
    let settings = half_open(r#""successes": 2"#);
    let mut cluster = Cluster::new(at(0));
    detect(&mut cluster, &settings, "a", 1);
    let mut probe = |now, is_failure| {
        assert!(cluster.take_probe(&settings, at(now)).is_some());
        end(&mut cluster, &settings, now, Some(is_failure), now)
    };
    assert_eq!(probe(31, false), None);
    assert!(matches!(probe(32, true), Some(EffectKind::Ejected { ejections: 2, .. })));
    assert_eq!(probe(92, false), None);
    assert_eq!(probe(93, false), Some(EffectKind::Returned { after: at(61) }));
}

#[test]
fn the_host_that_waited_longest_is_probed_first() {
    let settings = half_open("");
    let mut cluster = Cluster::new(at(0));
    for (host, time) in [("b", 1), ("a", 2)] {
        let (reason, draws) = (Reason::Consecutive5xx, &mut FixedDraw(0));
        cluster.detect(&settings, host.as_bytes(), reason, 2, at(time), draws);
    }
    assert_eq!(cluster.take_probe(&settings, at(40)), Some(&b"b"[..]));
    assert_eq!(cluster.take_probe(&settings, at(40)), Some(&b"a"[..]));
    assert_eq!(cluster.take_probe(&settings, at(40)), None);
}
