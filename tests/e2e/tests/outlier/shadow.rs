//! Shadow mode: hosts that fail are counted and logged, and keep their traffic.

use super::*;

#[tokio::test]
async fn a_host_that_would_be_ejected_keeps_its_traffic() {
    let detection = json!({
        "consecutive5xxErrors": 1, "maxEjectionPercent": 100, "interval": "0.1s",
    });
    let (mut document, router) = routed(&detection);
    document["outlier"]["mode"] = "shadow".into();
    let hosts = vec![Upstream::echo("good"), Upstream::status("bad", 500)];
    let addresses: Vec<_> = hosts.iter().map(Upstream::address).collect();
    let bootstrap = Bootstrap::new()
        .cluster("pool", &addresses)
        .outlier_plugin(&document)
        .listener(Listener::new("edge").plugin(&router).outlier(&document));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts };
    edge.send("first", 10).await;
    let responses = edge.send("later", 20).await;
    assert_eq!(edge.shares("later"), [10, 10], "round robin");
    assert_eq!(statuses(&responses).iter().filter(|status| **status == 500).count(), 10);
    let failures = edge.shares("first")[1] + 10;
    assert_eq!(edge.stat("shadow_ejections").await, failures as u64);
    assert_eq!(edge.stat("ejections_enforced_total").await, 0);
    assert_eq!(edge.stat("ejections_active").await, 0);
    let events = edge.events();
    assert!(
        events.iter().all(|event| event.starts_with("withheld cluster=\"pool\"")),
        "{events:?}"
    );
    assert!((1..=failures).contains(&events.len()), "{events:?}");
    assert_eq!(edge.envoy.traps(), [""; 0]);
}
