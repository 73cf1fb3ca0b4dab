//! New versions replace the hosts of a cluster.

use crate::fleet::Fleet;
use crate::hosts::Health;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("rollback", 9, |a| a.first(3), |fleet| Box::pin(rollback(fleet))),
        Scenario::new(
            "rolling_update",
            20,
            |a| a.first(10),
            |fleet| Box::pin(rolling_update(fleet)),
        ),
        Scenario::new("replacement", 5, |a| a.first(4), |fleet| Box::pin(replacement(fleet))),
    ]
}

/// A release fails on all hosts. New hosts replace them, and at once all requests are served. It
/// happens twice: with failures that Envoy detects too, and with failures that only a mark shows.
async fn rollback(fleet: &Fleet) {
    fleet.expect("the first release", 150, &equal(0..3)).await;
    fleet.eject(&[0, 1, 2], Health::Status(503)).await;
    fleet.expect("it fails", 30, &[]).await;
    fleet.deploy(&[3, 4, 5]).await;
    fleet.expect("the second release", 300, &equal(3..6)).await;
    fleet.eject(&[3, 4, 5], Health::Marked).await;
    fleet.expect("it fails too", 30, &[]).await;
    fleet.deploy(&[6, 7, 8]).await;
    fleet.expect("the third release", 300, &equal(6..9)).await;
}

/// Ten hosts are replaced one after the other, while the last one is ejected.
async fn rolling_update(fleet: &Fleet) {
    fleet.eject(&[9], Health::Marked).await;
    for first in 0..=10 {
        let members: Vec<_> = (first..first + 10).collect();
        if first > 0 {
            fleet.deploy(&members).await;
        }
        let healthy = members.into_iter().filter(|host| *host != 9);
        fleet.expect(&format!("after {first} replacements"), 150, &equal(healthy)).await;
    }
}

/// A new host replaces the only one that fails.
async fn replacement(fleet: &Fleet) {
    fleet.eject(&[3], Health::Status(500)).await;
    fleet.expect("one is ejected", 150, &equal(0..3)).await;
    fleet.deploy(&[0, 1, 2, 4]).await;
    fleet.expect("it is replaced", 400, &equal([0, 1, 2, 4])).await;
}

/// Equal shares of these hosts.
pub fn equal(hosts: impl IntoIterator<Item = usize>) -> Vec<(usize, f64)> {
    hosts.into_iter().map(|host| (host, 1.0)).collect()
}
