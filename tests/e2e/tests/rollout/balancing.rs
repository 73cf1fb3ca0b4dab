//! Ejections together with features of Envoy's load balancing.

use serde_json::json;
use sluice_e2e::{Bootstrap, Endpoints, Locality};

use crate::detection::Detection;
use crate::fleet::Fleet;
use crate::hosts::{Addresses, CHECKS, Health};
use crate::releases::equal;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    let two_workers = Detection { workers: 2, ..Detection::default() };
    vec![
        Scenario::new("priorities", 4, two_priorities, |fleet| Box::pin(priorities(fleet))),
        Scenario::new("health_checks", 4, |a| a.first(4), |fleet| Box::pin(health_checks(fleet)))
            .settings(checked),
        Scenario::new(
            "weights",
            3,
            |a| a.weighted(&[(0, 8), (1, 1), (2, 1)]),
            |fleet| Box::pin(weights(fleet)),
        ),
        Scenario::new("localities", 4, two_localities, |fleet| Box::pin(localities(fleet)))
            .settings(locality_weighted),
        Scenario::new("two_workers", 6, |a| a.first(4), |fleet| Box::pin(workers(fleet)))
            .detection(two_workers),
    ]
}

fn two_priorities(addresses: &Addresses) -> Endpoints {
    let first = addresses.locality("a", &[0, 1]);
    let second = Locality { priority: 1, ..addresses.locality("b", &[2, 3]) };
    Endpoints::localities(vec![first, second])
}

/// With one of two hosts, a priority keeps 70 % of the requests, because of Envoy's
/// overprovisioning factor of 1.4. Without hosts, it keeps none.
async fn priorities(fleet: &Fleet) {
    fleet.expect("the first priority", 150, &equal([0, 1])).await;
    fleet.eject(&[0], Health::Marked).await;
    fleet.expect("half of it", 600, &[(1, 70.0), (2, 15.0), (3, 15.0)]).await;
    fleet.eject(&[0, 1], Health::Marked).await;
    fleet.expect("none of it", 150, &equal([2, 3])).await;
}

fn checked(bootstrap: Bootstrap) -> Bootstrap {
    let check = json!({
        "timeout": "5s", "interval": "0.1s", "no_traffic_interval": "0.1s",
        "healthy_threshold": 1, "unhealthy_threshold": 1,
        "http_health_check": { "path": CHECKS },
    });
    bootstrap.cluster_setting("health_checks", json!([check]))
}

/// Hosts that fail active health checks and ejected hosts add up.
async fn health_checks(fleet: &Fleet) {
    fleet.expect("all pass", 150, &equal(0..4)).await;
    fleet.set_checks(&[0, 1], false).await;
    fleet.expect("two fail", 150, &equal([2, 3])).await;
    fleet.eject(&[2], Health::Marked).await;
    fleet.expect("another one is ejected", 150, &equal([3])).await;
    fleet.set_checks(&[0, 1], true).await;
    fleet.expect("the two pass", 300, &equal([0, 1, 3])).await;
    fleet.set_checks(&[0, 1, 3], false).await;
    fleet.expect("only the ejected one passes", 30, &[]).await;
}

/// The remaining hosts keep the ratio of their weights.
async fn weights(fleet: &Fleet) {
    fleet.expect("at first", 300, &[(0, 8.0), (1, 1.0), (2, 1.0)]).await;
    fleet.eject(&[2], Health::Marked).await;
    fleet.expect("the last one is ejected", 450, &[(0, 8.0), (1, 1.0)]).await;
}

fn two_localities(addresses: &Addresses) -> Endpoints {
    let first = Locality { weight: Some(3), ..addresses.locality("a", &[0, 1]) };
    let second = Locality { weight: Some(1), ..addresses.locality("b", &[2, 3]) };
    Endpoints::localities(vec![first, second])
}

fn locality_weighted(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap.round_robin(json!({ "locality_lb_config": { "locality_weighted_lb_config": {} } }))
}

/// Localities get requests by weight. The weight of a locality with half of its hosts is multiplied
/// by 0.7, as with priorities.
async fn localities(fleet: &Fleet) {
    fleet.expect("at first", 300, &[(0, 3.0), (1, 3.0), (2, 1.0), (3, 1.0)]).await;
    fleet.eject(&[0], Health::Marked).await;
    fleet.expect("half of the first one", 450, &[(1, 2.1), (2, 0.5), (3, 0.5)]).await;
    fleet.eject(&[0, 1], Health::Marked).await;
    fleet.expect("none of the first one", 150, &equal([2, 3])).await;
}

/// All workers know of ejections and of new hosts.
async fn workers(fleet: &Fleet) {
    fleet.expect("at first", 240, &equal(0..4)).await;
    fleet.eject(&[0], Health::Marked).await;
    fleet.expect("one is ejected", 240, &equal(1..4)).await;
    fleet.deploy(&[0, 1, 4, 5]).await;
    fleet.expect("two others are replaced", 240, &equal([1, 4, 5])).await;
    fleet.deploy(&[1, 3, 4, 5]).await;
    fleet.expect("the ejected one is replaced", 240, &equal([1, 3, 4, 5])).await;
}
