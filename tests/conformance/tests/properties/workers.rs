//! Workers that share the state of outlier detection by compare-and-set, with their steps in any
//! order: no failure is lost, and the limit of ejected hosts holds.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_policy::outlier::classify::{Outcome, Verdict};
use sluice_policy::outlier::count::Counts;
use sluice_policy::outlier::{Cluster, EffectKind, Reason};
use sluice_policy::spec::outlier_detection::Settings;

use crate::outliers::{Draw, settings};

const HOSTS: u64 = 4;
const CLUSTER: &str = "cluster";

/// A value of the store with its number, which changes with each write.
type Read = (Vec<u8>, u32);

/// Model of Envoy's shared data: a write must pass the number of the last read.
#[derive(Default)]
struct Store(BTreeMap<String, Read>);

impl Store {
    fn get(&self, key: &str) -> Read {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn set(&mut self, key: &str, value: Vec<u8>, number: u32) -> bool {
        let place = self.0.entry(key.to_owned()).or_default();
        let is_current = place.1 == number;
        if is_current {
            *place = (value, number + 1);
        }
        is_current
    }
}

/// Next step of a worker; each variant is one read or one write.
enum Task {
    ReadCounts,
    WriteCounts(Read),
    ReadCluster(Vec<Reason>),
    WriteCluster(Vec<Reason>, Read),
}

struct Worker {
    /// Hosts that will fail; the last one is the next
    attempts: Vec<u64>,
    task: Task,
}

impl Worker {
    /// Executes one step and returns the effects of its write.
    fn step(&mut self, settings: &Settings, store: &mut Store) -> Vec<EffectKind> {
        let Some(host) = self.attempts.last().map(u64::to_string) else { return Vec::new() };
        let cluster = |read: &Read| Cluster::decode(&read.0).unwrap_or_default();
        match std::mem::replace(&mut self.task, Task::ReadCounts) {
            Task::ReadCounts => self.task = Task::WriteCounts(store.get(&host)),
            Task::WriteCounts(read) => {
                let before = Counts::decode(&read.0).unwrap_or_default();
                let standing = cluster(&store.get(CLUSTER)).standing(host.as_bytes());
                let outcome = Outcome::Response(Verdict::ServerError);
                let (after, found) = before.record(settings, standing, outcome);
                let is_written =
                    after == before || store.set(&host, after.encode().to_vec(), read.1);
                if is_written && found.is_empty() {
                    self.attempts.pop();
                } else if is_written {
                    self.task = Task::ReadCluster(found.iter().collect());
                }
            }
            Task::ReadCluster(found) => {
                self.task = Task::WriteCluster(found, store.get(CLUSTER));
            }
            Task::WriteCluster(found, read) => {
                let mut after = cluster(&read);
                let effects: Vec<_> = found
                    .iter()
                    .flat_map(|reason| {
                        let (now, draws) = (Duration::ZERO, &mut Draw(0));
                        after.detect(settings, host.as_bytes(), *reason, HOSTS, now, draws)
                    })
                    .map(|effect| effect.kind)
                    .collect();
                if store.set(CLUSTER, after.encode(), read.1) {
                    self.attempts.pop();
                    return effects;
                }
                self.task = Task::ReadCluster(found);
            }
        }
        Vec::new()
    }
}

/// Executes the steps of the workers in this order, then the remaining ones. Returns all effects.
fn run(
    settings: &Settings,
    attempts: Vec<Vec<u64>>,
    order: &[usize],
    store: &mut Store,
) -> Vec<EffectKind> {
    let worker = |attempts| Worker { attempts, task: Task::ReadCounts };
    let mut workers: Vec<Worker> = attempts.into_iter().map(worker).collect();
    let mut effects = Vec::new();
    for index in order {
        let index = index % workers.len();
        effects.extend(workers[index].step(settings, store));
    }
    for worker in &mut workers {
        while !worker.attempts.is_empty() {
            effects.extend(worker.step(settings, store));
        }
    }
    effects
}

proptest! {
    #[test]
    fn no_failure_is_lost(
        attempts in vec(vec(0..HOSTS, 0..40), 1..4),
        order in vec(any::<usize>(), 0..300),
        threshold in 1..6u32,
    ) {
        let settings = settings(&format!(
            r#"{{"consecutive5xxErrors": {threshold}, "enforcingConsecutive5xx": 0}}"#
        ));
        let mut failures = BTreeMap::<u64, u32>::new();
        attempts.iter().flatten().for_each(|host| *failures.entry(*host).or_default() += 1);
        let mut store = Store::default();
        let effects = run(&settings, attempts, &order, &mut store);
        let is_detected = |effect: &&EffectKind| matches!(effect, EffectKind::Detected { .. });
        let detected = effects.iter().filter(is_detected).count();
        let expected: u32 = failures.values().map(|count| count / threshold).sum();
        prop_assert_eq!(detected, expected as usize);
        for (host, count) in failures {
            let counts = Counts::decode(&store.get(&host.to_string()).0).unwrap_or_default();
            prop_assert_eq!(counts.consecutive_5xx, count % threshold);
        }
    }

    #[test]
    fn workers_together_keep_the_limit_of_ejected_hosts(
        attempts in vec(vec(0..HOSTS, 0..40), 1..4),
        order in vec(any::<usize>(), 0..300),
        percent in 25..=100u64,
    ) {
        let settings = settings(&format!(
            r#"{{"consecutive5xxErrors": 2, "maxEjectionPercent": {percent}}}"#
        ));
        let mut failures = BTreeMap::<u64, u32>::new();
        attempts.iter().flatten().for_each(|host| *failures.entry(*host).or_default() += 1);
        let mut store = Store::default();
        let effects = run(&settings, attempts, &order, &mut store);
        let bad = failures.values().filter(|count| **count >= 2).count() as u64;
        let out = Cluster::decode(&store.get(CLUSTER).0).unwrap_or_default().ejected() as u64;
        // Each failing host is ejected once, up to the limit.
        prop_assert_eq!(out, bad.min(HOSTS * percent / 100));
        let is_ejected = |effect: &&EffectKind| matches!(effect, EffectKind::Ejected { .. });
        prop_assert_eq!(effects.iter().filter(is_ejected).count() as u64, out);
    }
}
