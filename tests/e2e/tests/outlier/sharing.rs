//! State that workers, configurations and clusters share.

use std::time::Duration;

use serde_json::json;
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, until};

use crate::{Edge, routed, stat, statuses};

#[tokio::test]
async fn workers_count_together() {
    let detection = json!({ "consecutive5xxErrors": 20, "interval": "10s",
        "maxEjectionPercent": 100, "baseEjectionTime": "3m" });
    let hosts = vec![Upstream::status("bad", 500)];
    let edge = Edge::start_with(detection, hosts, |b| b.workers(2), |l| l).await;
    // One connection per request, to spread them over the workers.
    let client = edge.client();
    for number in 0..20 {
        let response = client.get(&format!("/first/{number}")).send().await;
        assert_eq!(
            (response.status, edge.stat("ejections_active").await),
            (500, u64::from(number == 19))
        );
    }
    for number in 0..8 {
        let response = client.get(&format!("/then/{number}")).send().await;
        assert_eq!((response.status, response.text().as_str()), (503, "no healthy upstream"));
    }
    assert_eq!(edge.shares("then"), [0]);
    assert_eq!(edge.events().len(), 1);
}

#[tokio::test]
async fn ejections_survive_configuration_updates() {
    let detection = |seconds: u32| {
        json!({ "consecutive5xxErrors": 2, "interval": "200ms",
        "baseEjectionTime": format!("{seconds}s"), "maxEjectionPercent": 50 })
    };
    let listener = |seconds: u32, note: &str| {
        let (mut document, router) = routed(&detection(seconds));
        document["faults"] = json!({ "maxActive": note.len() });
        Listener::new("edge").plugin(&router).outlier(&document)
    };
    let (bad, good) = (Upstream::status("bad", 500), Upstream::echo("good"));
    let bootstrap = Bootstrap::new()
        .cluster("pool", &[bad.address(), good.address()])
        .outlier_plugin(&routed(&detection(60)).0)
        .listener(listener(60, "a"))
        .dynamic_listeners();
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts: vec![bad, good] };
    edge.send("first", 4).await;
    assert_eq!(edge.stat("ejections_active").await, 1);
    assert!(edge.envoy.update(&[listener(60, "another")]).await);
    let edge = Edge { hosts: edge.hosts, envoy: edge.envoy };
    let client = edge.client();
    let mut all = Vec::new();
    for number in 0..10 {
        all.push(client.get(&format!("/then/{number}")).send().await);
    }
    assert_eq!(statuses(&all), [200; 10]);
    assert_eq!(edge.shares("then"), [0, 10]);
    assert_eq!(edge.events().len(), 1);
}

#[tokio::test]
async fn the_requests_of_a_subset_go_to_another_while_it_is_out() {
    let policy = json!({ "outlierDetection": { "consecutive5xxErrors": 1, "interval": "100ms",
        "baseEjectionTime": "300ms", "maxEjectionPercent": 100, "fallback": { "subset": "v1" } } });
    let rules = json!([{ "route": [{ "destination": { "host": "pool", "subset": "v2" } }] }]);
    let mut document = sluice_e2e::any_host(rules);
    document["destinationRules"] = json!([{ "host": "pool", "subsets": [
        { "name": "v1" }, { "name": "v2", "trafficPolicy": policy }] }]);
    let is_sick = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let sick = is_sick.clone();
    let v1 = Upstream::echo("v1");
    let v2 = Upstream::answering("v2", move |_| sluice_e2e::Answer {
        status: if sick.load(std::sync::atomic::Ordering::Relaxed) { 500 } else { 200 },
        ..sluice_e2e::Answer::default()
    });
    let bootstrap = Bootstrap::new()
        .cluster("pool-v1", &[v1.address()])
        .cluster("pool-v2", &[v2.address()])
        .outlier_plugin(&document)
        .listener(Listener::new("edge").plugin(&document).outlier(&document));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts: vec![v1, v2] };
    assert_eq!(statuses(&edge.send("first", 1).await), [500]);
    let responses = edge.send("then", 5).await;
    assert!(responses.iter().all(|response| response.upstream() == "v1"), "{responses:?}");
    is_sick.store(false, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(350)).await;
    let responses = edge.send("again", 5).await;
    assert!(responses.iter().all(|response| response.upstream() == "v2"), "{responses:?}");
    assert_eq!(stat(&edge.envoy, "fallbacks").await, 5);
    assert_eq!(stat(&edge.envoy, "ejections_active").await, 0);
}

#[tokio::test]
async fn hosts_return_while_there_is_no_traffic() {
    let detection = json!({ "consecutive5xxErrors": 1, "interval": "100ms",
        "baseEjectionTime": "200ms", "maxEjectionPercent": 100 });
    let edge =
        Edge::start_with(detection, vec![Upstream::status("bad", 500)], |b| b.workers(2), |l| l)
            .await;
    edge.send("first", 1).await;
    assert_eq!(edge.stat("ejections_active").await, 1);
    until("it returns", async || (edge.stat("ejections_active").await == 0).then_some(())).await;
    assert_eq!(edge.events().len(), 2);
}
