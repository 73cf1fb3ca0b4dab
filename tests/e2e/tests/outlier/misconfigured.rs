//! Configurations of Envoy in which the filter cannot do its work, and clients that try to steer
//! it.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, until};

use crate::{Edge, document, stat};

/// Returns the warnings in the log that contain `text`.
fn warnings(envoy: &Envoy, text: &str) -> Vec<String> {
    let log = envoy.log();
    let lines = log.lines().filter(|line| line.contains("warning=") && line.contains(text));
    lines.map(str::to_owned).collect()
}

fn one_failure() -> Value {
    json!({ "consecutive5xxErrors": 1, "interval": "200ms", "baseEjectionTime": "3m",
        "maxEjectionPercent": 100 })
}

#[tokio::test]
async fn a_cluster_without_the_policy_is_one_warning_with_the_lines_to_add() {
    let document = document(&one_failure());
    let hosts = vec![Upstream::status("bad", 500), Upstream::echo("good")];
    let addresses: Vec<_> = hosts.iter().map(Upstream::address).collect();
    let bootstrap = Bootstrap::new()
        .workers(2)
        .cluster("pool", &addresses)
        .upstream_plugin("outlier", &document)
        .listener(Listener::new("edge").cluster("pool").outlier(&document));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts };
    let warned = until("it is noticed", async || {
        edge.send("some", 20).await;
        Some(warnings(&edge.envoy, "ejected hosts get requests")).filter(|found| !found.is_empty())
    })
    .await;
    assert!(warned[0].contains("cluster=\"pool\"") && warned[0].contains("override_host_sources"));
    for _ in 0..3 {
        edge.send("more", 20).await;
    }
    assert_eq!(warnings(&edge.envoy, "ejected hosts get requests").len(), 1);
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

/// Without the router filter, the cluster is that of the route.
#[tokio::test]
async fn a_client_cannot_choose_the_cluster_that_counts() {
    let document = document(&one_failure());
    let hosts = vec![Upstream::status("bad", 500), Upstream::echo("good")];
    let addresses: Vec<_> = hosts.iter().map(Upstream::address).collect();
    let bootstrap = Bootstrap::new()
        .cluster("pool", &addresses)
        .outlier_plugin(&document)
        .listener(Listener::new("edge").cluster("pool").outlier(&document));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts };
    edge.send("first", 6).await;
    assert_eq!(edge.stat("ejections_active").await, 1);
    let client = edge.client();
    let mut connection = client.connect().await;
    for number in 0..15 {
        let request = client.get(&format!("/chosen/{number}"));
        let name = if number % 2 == 0 { "x-sluice-cluster" } else { "x-sluice-host" };
        let sick = edge.hosts[0].address().to_string();
        connection.send(request.header(name, sick)).await;
    }
    let shares = edge.shares("chosen");
    assert!(shares[0] <= 1 && shares[1] >= 14, "at most one try: {shares:?}");
    for received in edge.hosts.iter().flat_map(|host| host.received("/chosen/")) {
        assert_eq!(received.header("x-sluice-cluster"), [""; 0]);
        assert_eq!(received.header("x-sluice-host"), [""; 0]);
    }
}

#[tokio::test]
async fn a_fallback_that_cannot_be_chosen_is_a_warning_and_not_counted() {
    let mut detection = one_failure();
    detection["fallback"] = json!({ "subset": "v1" });
    let document = json!({
        "clusterName": "{host}[-{subset}]",
        "destinationRules": [{ "host": "pool", "subsets": [
            { "name": "v1" },
            { "name": "v2", "trafficPolicy": { "outlierDetection": detection } },
        ] }],
    });
    let (v1, v2) = (Upstream::echo("v1"), Upstream::status("v2", 500));
    let bootstrap = Bootstrap::new()
        .cluster("pool-v1", &[v1.address()])
        .cluster("pool-v2", &[v2.address()])
        .outlier_plugin(&document)
        .listener(Listener::new("edge").cluster("pool-v2").outlier(&document));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts: vec![v1, v2] };
    edge.send("some", 6).await;
    assert_eq!(stat(&edge.envoy, "ejections_active").await, 1);
    assert_eq!(stat(&edge.envoy, "fallbacks").await, 0);
    let warned = warnings(&edge.envoy, "fallback is not used");
    assert!(warned.len() == 1 && warned[0].contains("cluster_header"), "{warned:?}");
}
