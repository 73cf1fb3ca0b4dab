//! Hosts leave a cluster and come back.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::detection::{CLUSTERS, Cluster, Detection};
use crate::fleet::Fleet;
use crate::hosts::Health;
use crate::releases::equal;
use crate::scenario::Scenario;
use crate::tolerances::SETTLED;

pub fn scenarios() -> Vec<Scenario> {
    let percentage = Detection { max_percent: 50, ..Detection::default() };
    vec![
        Scenario::new("scale_to_zero", 3, |a| a.first(3), |fleet| Box::pin(scale_to_zero(fleet))),
        Scenario::new("restart", 2, |a| a.first(1), |fleet| Box::pin(restart(fleet))),
        Scenario::new("address_reuse", 4, |a| a.first(4), |fleet| Box::pin(address_reuse(fleet))),
        Scenario::new("percentage", 6, |a| a.first(4), |fleet| Box::pin(percentage_of(fleet)))
            .detection(percentage),
    ]
}

/// A cluster without hosts refuses requests. Envoy takes hosts that come back for new ones, also
/// the one that was ejected. The filter may take it for the same one.
async fn scale_to_zero(fleet: &Fleet) {
    fleet.eject(&[0], Health::Status(500)).await;
    fleet.expect("one is ejected", 100, &equal([1, 2])).await;
    fleet.deploy(&[]).await;
    fleet.expect("no host", 30, &[]).await;
    fleet.set(&[0], Health::Good);
    fleet.deploy(&[0, 1, 2]).await;
    fleet.expect("all are back", 300, &equal(0..3)).await;
}

/// The only host ends, and restarts under another address.
async fn restart(fleet: &Fleet) {
    fleet.expect("at first", 30, &equal([0])).await;
    fleet.stop(&[0]).await;
    fleet.expect("the only host has ended", 30, &[]).await;
    fleet.deploy(&[1]).await;
    fleet.expect("it has restarted", 100, &equal([1])).await;
}

/// A host that is ejected leaves, and another host gets its address.
async fn address_reuse(fleet: &Fleet) {
    fleet.eject(&[3], Health::Marked).await;
    fleet.deploy(&[0, 1, 2]).await;
    fleet.expect("it has left", 150, &equal(0..3)).await;
    fleet.set(&[3], Health::Good);
    fleet.deploy(&[0, 1, 2, 3]).await;
    fleet.expect("its address is back", 400, &equal(0..4)).await;
    fleet.eject(&[3], Health::Marked).await;
    fleet.expect("and is ejected again", 150, &equal(0..3)).await;
}

/// Hosts that have left do not count for `maxEjectionPercent`.
async fn percentage_of(fleet: &Fleet) {
    fleet.eject(&[0, 1], Health::Marked).await;
    fleet.expect("half of the hosts are ejected", 150, &equal([2, 3])).await;
    fleet.deploy(&[2, 3, 4, 5]).await;
    fleet.expect("they have left", 300, &equal(2..6)).await;
    fleet.eject(&[2, 3], Health::Marked).await;
    fleet.expect("again half of them are ejected", 150, &equal([4, 5])).await;
    // No third one: its failures reach the clients.
    fleet.set(&[4], Health::Status(500));
    // The filter may not list the host for some intervals, so that it gets few requests.
    let began = Instant::now();
    let mut failures = BTreeMap::new();
    while failures.values().min().is_none_or(|least| *least < 20) && began.elapsed() < SETTLED {
        for (cluster, share) in fleet.send(100).await {
            *failures.entry(cluster).or_insert(0) += share.count(500);
        }
    }
    for cluster in CLUSTERS {
        let failures = failures[&cluster];
        if failures < 20 {
            fleet.report(cluster, format!("{failures} requests reach the third host"));
        }
        let active = fleet.ejections(cluster).await.active;
        if active.len() > 2 || (cluster == Cluster::Native && active.len() != 2) {
            fleet.report(cluster, format!("{active:?} are ejected, more than half"));
        }
    }
}
