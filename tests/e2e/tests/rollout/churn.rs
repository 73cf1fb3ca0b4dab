//! Hosts come, go and fail at random.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use sluice_e2e::statistics::{SIGNIFICANCE, binomial_test, two_sample_test};

use crate::detection::{CLUSTERS, Cluster, Detection};
use crate::fleet::{Ejections, Fleet, Share};
use crate::hosts::Health;
use crate::scenario::Scenario;

const HOSTS: usize = 12;
const SEED: u64 = 20;
/// Requests for each cluster between two changes, twice.
const REQUESTS: usize = 24;

pub fn scenarios() -> Vec<Scenario> {
    let detection = || Detection { base: 700, ..Detection::default() };
    vec![
        Scenario::new("churn", HOSTS, |a| a.first(4), |fleet| Box::pin(churn(fleet, 45)))
            .detection(detection()),
        Scenario::new("long_churn", HOSTS, |a| a.first(4), |fleet| Box::pin(churn(fleet, 480)))
            .detection(detection())
            .long(),
    ]
}

/// Sums over all batches of a cluster.
#[derive(Clone, Debug, Default)]
struct Totals {
    requests: u64,
    refused: u64,
    /// Refused requests while a host was healthy
    wrongly_refused: u64,
    /// Requests to ejected hosts
    strays: u64,
    /// Ejected hosts, summed over the batches
    ejected: u64,
    /// Requests to hosts that fail
    failed: u64,
    /// Batches with refused requests while the reference refused none
    refused_alone: u64,
    /// Batches without refused requests while the reference refused some
    served_alone: u64,
}

/// Changes members and health of hosts four times a second. After each change, hosts that fail are
/// ejected by the first batch of requests, and the second one is examined.
async fn churn(fleet: &Fleet, steps: u32) {
    let mut rng = Rng::with_seed(SEED);
    let mut members: Vec<usize> = (0..4).collect();
    let mut totals = BTreeMap::<Cluster, Totals>::new();
    let start = Instant::now();
    for step in 1..=steps {
        change_members(&mut rng, &mut members);
        let health: Vec<_> = (0..HOSTS).map(|_| random_health(&mut rng)).collect();
        (0..HOSTS).for_each(|host| fleet.set(&[host], health[host]));
        fleet.deploy(&members).await;
        let first = fleet.send(REQUESTS).await;
        let before = ejections(fleet).await;
        let second = fleet.send(REQUESTS).await;
        let after = ejections(fleet).await;
        for cluster in CLUSTERS {
            let totals = totals.entry(cluster).or_default();
            totals.add(&second[&cluster], &before[&cluster], &after[&cluster], &members);
            for batch in [&first, &second] {
                totals.compare(&batch[&cluster], &batch[&Cluster::Native]);
                let failing = (0..HOSTS).filter(|host| !matches!(health[*host], Health::Good));
                totals.failed += failing.map(|host| batch[&cluster].hosts[host]).sum::<u64>();
            }
        }
        let next = start + Duration::from_millis(250) * step;
        tokio::time::sleep(next.saturating_duration_since(Instant::now())).await;
    }
    judge(fleet, &totals);
}

/// Adds hosts, removes hosts, or does both.
fn change_members(rng: &mut Rng, members: &mut Vec<usize>) {
    let new: Vec<_> = (0..HOSTS).filter(|host| !members.contains(host)).collect();
    let (adds, removes) = match members.len() {
        ..=2 => (true, false),
        8.. => (false, true),
        _ => (rng.bool(), rng.bool()),
    };
    if removes {
        members.swap_remove(rng.usize(..members.len()));
    }
    if adds {
        members.push(new[rng.usize(..new.len())]);
    }
}

fn random_health(rng: &mut Rng) -> Health {
    match rng.u8(..10) {
        0..3 => Health::Marked,
        3 => Health::Status(500),
        _ => Health::Good,
    }
}

async fn ejections(fleet: &Fleet) -> BTreeMap<Cluster, Ejections> {
    let mut ejections = BTreeMap::new();
    for cluster in CLUSTERS {
        ejections.insert(cluster, fleet.ejections(cluster).await);
    }
    ejections
}

impl Totals {
    /// Adds a batch. Only hosts that were ejected from its start to its end count as ejected, and
    /// only hosts that were never ejected count as healthy.
    fn add(&mut self, share: &Share, before: &Ejections, after: &Ejections, members: &[usize]) {
        let refused = share.count(503);
        self.requests += share.statuses.values().sum::<u64>();
        self.refused += refused;
        if before.total != after.total {
            return;
        }
        let mut members = members.iter();
        if members.any(|host| !before.active.contains(host)) {
            self.wrongly_refused += refused;
        }
        let ejected = before.active.intersection(&after.active);
        self.strays += ejected.map(|host| share.hosts[*host]).sum::<u64>();
        self.ejected += before.active.len() as u64;
    }

    /// Compares whether the cluster and the reference refused requests of the same batch.
    fn compare(&mut self, share: &Share, native: &Share) {
        match (share.count(503) > 0, native.count(503) > 0) {
            (true, false) => self.refused_alone += 1,
            (false, true) => self.served_alone += 1,
            _ => {}
        }
    }
}

fn judge(fleet: &Fleet, totals: &BTreeMap<Cluster, Totals>) {
    println!("{}: {totals:?}", fleet.scenario().name);
    let tolerance = fleet.tolerance();
    let native = totals[&Cluster::Native].clone();
    for (cluster, totals) in totals {
        let percentage = |count: u64| count as f64 * 100.0 / totals.requests as f64;
        let (refused, strays) = (percentage(totals.wrongly_refused), percentage(totals.strays));
        let is_within = match cluster {
            Cluster::Native | Cluster::Envoy => refused == 0.0 && strays == 0.0,
            Cluster::Filter => refused <= tolerance.refused && strays <= tolerance.strays,
        };
        if !is_within {
            fleet.report(*cluster, format!("refused or sent to ejected hosts: {totals:?}"));
        }
        if *cluster == Cluster::Envoy {
            // With more failures than in the reference, hosts that fail are not ejected.
            let sums = |totals: &Totals| (totals.failed, 2 * totals.requests);
            let failures = two_sample_test(sums(totals), sums(&native));
            // Hosts return at ticks, and two clusters tick at different times, so sometimes one
            // refuses a batch and the other one does not. Each is as probable to be the first.
            let differences = totals.refused_alone + totals.served_alone;
            let refusals = binomial_test(totals.refused_alone, differences, 0.5);
            if failures.min(refusals) < SIGNIFICANCE {
                fleet.report(*cluster, format!("{totals:?} are not as in {native:?}"));
            }
        }
        // Otherwise, the requests prove nothing.
        if totals.ejected < 10 {
            fleet.report(*cluster, format!("too few ejections: {totals:?}"));
        }
    }
}
