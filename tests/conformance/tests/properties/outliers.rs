//! Outlier detection compared with a model of Envoy's, and its invariants.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_conformance::Node;
use sluice_policy::outlier::classify::{Outcome, Verdict};
use sluice_policy::outlier::count::Counts;
use sluice_policy::outlier::rates::Rates;
use sluice_policy::outlier::{Choice, Cluster, Effect, EffectKind, Outliers, Reason, View};
use sluice_policy::request::Draws;
use sluice_policy::spec::outlier_detection::Settings;
use sluice_policy::spec::policy::Policy as _;

use crate::envoy_model::{Detector, Report};
use crate::outlier_config::{self, detection};

/// Number of hosts. All names have one digit, so that their order is numeric.
const HOSTS: usize = 5;

/// Event of a host: time since the previous event, number of repetitions, and kind.
#[derive(Clone, Debug)]
struct Step {
    after: u64,
    host: usize,
    times: u32,
    outcome: Outcome,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Response(Verdict::Success)),
        4 => Just(Outcome::Response(Verdict::ServerError)),
        4 => Just(Outcome::Response(Verdict::GatewayError)),
        2 => Just(Outcome::NoConnection),
        1 => Just(Outcome::NoResponse),
        1 => Just(Outcome::Broken),
    ];
    let after = prop_oneof![3 => Just(0u64), 2 => 0..3_000u64, 1 => 0..40_000u64];
    (after, 0..HOSTS, 1..8u32, outcome).prop_map(|(after, host, times, outcome)| Step {
        after,
        host,
        times,
        outcome,
    })
}

/// The settings of an `outlierDetection`.
pub fn settings(detection: &str) -> Settings {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "outlier": {{"enforcement": "filter"}},
            "destinationRules": [{{"host": "a",
            "trafficPolicy": {{"outlierDetection": {detection}}}}}]}}"#
    );
    let (outliers, _) = Outliers::compile(document.as_bytes(), &Node::default()).unwrap();
    Settings::clone(&outliers.target("a").unwrap().settings)
}

/// Draws that all have the same value.
pub struct Draw(pub u64);

impl Draws for Draw {
    fn draw(&mut self) -> u64 {
        self.0
    }
}

/// The policy with the serialized state that workers share.
struct Policy {
    settings: Settings,
    cluster: Vec<u8>,
    counts: [Vec<u8>; HOSTS],
    draw: u64,
    timeline: Vec<String>,
}

impl Policy {
    fn new(settings: Settings, draw: u64) -> Self {
        let mut cluster = Cluster::new(Duration::ZERO);
        for host in 0..HOSTS {
            cluster.observe(host.to_string().as_bytes(), Duration::ZERO);
        }
        Self {
            settings,
            cluster: cluster.encode(),
            counts: Default::default(),
            draw,
            timeline: Vec::new(),
        }
    }

    fn cluster(&self) -> Cluster {
        Cluster::decode(&self.cluster).unwrap()
    }

    fn counts(&self, host: usize) -> Counts {
        Counts::decode(&self.counts[host]).unwrap_or_default()
    }

    fn attempt(&mut self, now: u64, host: usize, outcome: Outcome) {
        let (mut cluster, time) = (self.cluster(), Duration::from_millis(now));
        let address = host.to_string().into_bytes();
        let standing = cluster.standing(&address);
        let (counts, found) = self.counts(host).record(&self.settings, standing, outcome);
        self.counts[host] = counts.encode().to_vec();
        let mut rates = Rates::default();
        rates.record(&self.settings, outcome);
        cluster.add_rates(&address, rates);
        for reason in found.iter() {
            let effects = cluster.detect(
                &self.settings,
                &address,
                reason,
                HOSTS as u64,
                time,
                &mut Draw(self.draw),
            );
            self.timeline.extend(effects.iter().map(|effect| line(now, effect)));
        }
        self.cluster = cluster.encode();
    }

    fn tick(&mut self, now: u64) {
        let (mut cluster, time) = (self.cluster(), Duration::from_millis(now));
        // Observes all hosts in each tick, so that none is dropped from the state; Envoy never
        // drops one.
        for host in 0..HOSTS {
            cluster.observe(host.to_string().as_bytes(), time);
        }
        let draws = &mut Draw(self.draw);
        let effects = cluster.on_interval(&self.settings, HOSTS as u64, time, draws);
        self.timeline.extend(effects.iter().map(|effect| line(now, effect)));
        self.cluster = cluster.encode();
    }
}

fn line(now: u64, effect: &Effect) -> String {
    let what = match effect.kind {
        EffectKind::Detected { reason, enforced } => {
            format!("detected {reason}{}", if enforced { "" } else { ", not enforced" })
        }
        EffectKind::Ejected { reason, time, ejections } => {
            format!("ejected for {} ms by {reason}, number {ejections}", time.as_millis())
        }
        EffectKind::Departed => "departed".to_owned(),
        EffectKind::Forgotten => "forgotten".to_owned(),
        EffectKind::Overflow => "overflow".to_owned(),
        EffectKind::Withheld { reason } => format!("withheld {reason}"),
        EffectKind::Returned { after } => format!("returned after {} ms", after.as_millis()),
    };
    format!("{now} {} {what}", String::from_utf8_lossy(&effect.host))
}

/// The result of an attempt that Envoy's router reports.
fn reports(outcome: Outcome) -> Vec<Report> {
    match outcome {
        Outcome::Response(verdict) => {
            let code = match verdict {
                Verdict::GatewayError => 503,
                Verdict::ServerError => 500,
                Verdict::Success => 200,
            };
            vec![Report::ConnectSuccess, Report::Code(code)]
        }
        Outcome::Broken | Outcome::NoConnection => vec![Report::ConnectFailed],
        Outcome::NoResponse => vec![Report::ConnectSuccess, Report::Timeout],
    }
}

/// Runs a script, with a tick each interval; `each` is called after each step.
fn run(
    script: &[Step],
    interval: u64,
    mut tick: impl FnMut(u64),
    mut each: impl FnMut(u64, &Step),
) {
    let (mut now, mut next_tick) = (0, interval);
    for step in script {
        now += step.after;
        while next_tick <= now {
            tick(next_tick);
            next_tick += interval;
        }
        each(now, step);
    }
    (0..30).for_each(|n| tick(next_tick + n * interval));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn ejections_and_returns_equal_those_of_envoy(
        config in outlier_config::config(),
        script in vec(step(), 1..60),
        draw in any::<u64>(),
    ) {
        let mut envoy = Detector::new(config.clone(), HOSTS, draw);
        let mut policy = Policy::new(settings(&detection(&config)), draw);
        let interval = u64::try_from(config.interval).unwrap();
        let both = std::cell::RefCell::new((&mut envoy, &mut policy));
        run(
            &script,
            interval,
            |now| {
                let (envoy, policy) = &mut *both.borrow_mut();
                envoy.on_interval_timer(i64::try_from(now).unwrap());
                policy.tick(now);
            },
            |now, step| {
                let (envoy, policy) = &mut *both.borrow_mut();
                for _ in 0..step.times {
                    for report in reports(step.outcome) {
                        envoy.put_result(i64::try_from(now).unwrap(), step.host, report);
                    }
                    policy.attempt(now, step.host, step.outcome);
                }
                let cluster = policy.cluster();
                for (host, monitor) in envoy.monitors.iter().enumerate() {
                    let multiplier = i64::from(cluster.hosts()[host].multiplier);
                    assert_eq!(multiplier, monitor.eject_time_backoff, "host {host} at {now}");
                    let standing = cluster.standing(host.to_string().as_bytes());
                    assert_eq!(standing.is_ejected, monitor.failed_outlier_check);
                    // The counts of an ejected host are dropped at its return.
                    if !standing.is_ejected {
                        let counts = policy.counts(host).since_ejection(standing);
                        assert_eq!(
                            (
                                counts.consecutive_5xx,
                                counts.consecutive_gateway_failure,
                                counts.consecutive_local_origin_failure,
                            ),
                            (
                                monitor.consecutive_5xx,
                                monitor.consecutive_gateway_failure,
                                monitor.consecutive_local_origin_failure,
                            ),
                            "host {} at {}", host, now
                        );
                    }
                }
            },
        );
        prop_assert_eq!(&policy.timeline, &envoy.timeline);
    }

    #[test]
    fn the_limit_of_ejected_hosts_holds(
        percent in 1..=100u32,
        endpoints in 1..200u64,
        always in any::<bool>(),
        detected in vec(0..250u32, 0..300),
    ) {
        let settings = settings(&format!(
            r#"{{"maxEjectionPercent": {percent}, "alwaysEjectOneHost": {always}}}"#
        ));
        let mut cluster = Cluster::new(Duration::ZERO);
        for host in detected {
            // More hosts than the cluster has would mean that some have left it.
            let address = (u64::from(host) % endpoints).to_string().into_bytes();
            let reason = Reason::Consecutive5xx;
            cluster.detect(&settings, &address, reason, endpoints, Duration::ZERO, &mut Draw(0));
            let out = cluster.ejected() as u64;
            let most = endpoints * u64::from(percent) / 100;
            prop_assert!(out <= most.max(u64::from(always)), "{} of {}", out, endpoints);
        }
    }

    #[test]
    fn ejections_last_from_the_base_to_the_maximum_time(
        base in 1..100_000u64,
        more in 0..1_000_000u64,
        jitter in 1..10_000u64,
        draw in any::<u64>(),
        pauses in vec(0..200_000u64, 1..40),
    ) {
        let settings = settings(&format!(
            r#"{{"baseEjectionTime": "{base}ms", "maxEjectionTime": "{}ms", "interval": "1s",
                "maxEjectionPercent": 100, "maxEjectionTimeJitter": "{jitter}ms"}}"#, base + more
        ));
        let mut cluster = Cluster::new(Duration::ZERO);
        let (mut now, draws) = (Duration::ZERO, &mut Draw(draw));
        for pause in pauses {
            let reason = Reason::Consecutive5xx;
            let effects = cluster.detect(&settings, b"a", reason, 1, now, draws);
            let Some(EffectKind::Ejected { time, .. }) = effects.last().map(|last| last.kind) else {
                panic!("not ejected: {effects:?}");
            };
            let milliseconds = u64::try_from(time.as_millis()).unwrap();
            prop_assert!((base..=base + more + jitter).contains(&milliseconds));
            let multiplier = u64::from(cluster.hosts()[0].multiplier);
            prop_assert!((multiplier - 1) * base < base + more + base, "{}", multiplier);
            let early = time.saturating_sub(Duration::from_nanos(1));
            cluster.on_interval(&settings, 1, now + early, draws);
            prop_assert_eq!(cluster.ejected(), 1);
            now += time;
            cluster.on_interval(&settings, 1, now, draws);
            prop_assert_eq!(cluster.ejected(), 0);
            now += Duration::from_millis(pause);
        }
    }

    #[test]
    fn a_request_is_never_sent_to_an_ejected_host(
        hosts in vec(any::<bool>(), 1..60),
        more in 0..10u64,
        rotation in any::<usize>(),
    ) {
        let settings = settings(r#"{"maxEjectionPercent": 100}"#);
        let mut cluster = Cluster::new(Duration::ZERO);
        for (host, is_ejected) in hosts.iter().enumerate() {
            let address = host.to_string().into_bytes();
            cluster.observe(&address, Duration::ZERO);
            if *is_ejected {
                let (reason, zero) = (Reason::Consecutive5xx, Duration::ZERO);
                cluster.detect(&settings, &address, reason, 1000, zero, &mut Draw(0));
            }
        }
        let out = hosts.iter().filter(|is_ejected| **is_ejected).count();
        prop_assert_eq!(cluster.ejected(), out);
        let view = View::new(&cluster, &settings, false);
        let endpoints = hosts.len() as u64 + more;
        match view.choose(endpoints, rotation, false) {
            Choice::Any => {
                prop_assert!(out == 0 || out == hosts.len());
                prop_assert_eq!(view.refuses(endpoints), out > 0 && more == 0);
            }
            Choice::Fallback => prop_assert!(false, "there is none"),
            Choice::Hosts(listed) => {
                let listed: Vec<&[u8]> = listed.split(|byte| *byte == b',').collect();
                for (index, host) in listed.iter().enumerate() {
                    let number: usize = std::str::from_utf8(host).unwrap().parse().unwrap();
                    prop_assert!(!hosts[number] && !listed[..index].contains(host));
                }
                prop_assert_eq!(listed.len(), (hosts.len() - out).min(16));
            }
        }
    }

    #[test]
    fn any_state_that_parses_serializes_to_the_same_bytes(bytes in vec(any::<u8>(), 0..200)) {
        if let Some(counts) = Counts::decode(&bytes) {
            prop_assert_eq!(counts.encode().to_vec(), bytes.clone());
        }
        // Starts with a valid version and the beginning of a host, so that the reader accepts more
        // bytes.
        for bytes in [bytes.clone(), [&[2][..], &[1; 17], &[0, 4], &bytes].concat()] {
            if let Some(cluster) = Cluster::decode(&bytes) {
                prop_assert_eq!(Cluster::decode(&cluster.encode()), Some(cluster));
            }
        }
    }
}
