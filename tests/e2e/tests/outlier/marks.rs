//! Failures that the filter marks and Envoy's own outlier detection counts.

use serde_json::{Value, json};
use sluice_e2e::{Answer, Bootstrap, Envoy, Listener, Response, Upstream};

use crate::statuses;

/// A host that answers each request with 200 and this header.
fn with_header(name: &str, header: (&'static str, &'static str)) -> Upstream {
    Upstream::answering(name, move |_| Answer { headers: vec![header], ..Answer::default() })
}

fn native() -> Value {
    json!({ "consecutive_5xx": 3, "base_ejection_time": "60s", "max_ejection_percent": 100 })
}

/// Sends 30 requests to these hosts, whose failures are marked, and returns the responses.
async fn send(failure: Value, hosts: &[&Upstream], retries: Value) -> (Envoy, Vec<Response>) {
    let document = json!({ "clusterName": "{host}", "destinationRules": [{
        "host": "pool",
        "trafficPolicy": { "outlierDetection": { "consecutive5xxErrors": 3, "failure": failure } },
    }] });
    let addresses: Vec<_> = hosts.iter().map(|host| host.address()).collect();
    let bootstrap = Bootstrap::new()
        .cluster("pool", &addresses)
        .marked_outlier_detection(&document, native())
        .listener(Listener::new("edge").retry_policy(retries));
    let envoy = Envoy::start(&bootstrap).await;
    let client = envoy.listener("edge");
    let mut connection = client.connect().await;
    let mut responses = Vec::new();
    for number in 0..30 {
        let request = client.get(&format!("/{number}")).header("x-sluice-cluster", "pool");
        responses.push(connection.send(request).await);
    }
    assert_eq!(envoy.traps(), [""; 0]);
    (envoy, responses)
}

#[tokio::test]
async fn envoy_ejects_a_host_whose_successes_are_marked() {
    let (bad, good) = (with_header("bad", ("x-health", "bad")), Upstream::echo("good"));
    let failure = json!({ "headers": { "x-health": { "exact": "bad" } } });
    let (envoy, responses) = send(failure, &[&bad, &good], json!({})).await;
    assert_eq!(statuses(&responses), [200; 30]);
    assert_eq!((bad.received("/").len(), good.received("/").len()), (3, 27));
    assert_eq!(envoy.stat("cluster.pool.outlier_detection.ejections_active").await, 1);
    assert_eq!(
        envoy.stat("cluster.pool.outlier_detection.ejections_enforced_consecutive_5xx").await,
        1
    );
}

#[tokio::test]
async fn a_slow_host_is_ejected_and_a_fast_one_is_not() {
    let slow = Upstream::slow("slow", std::time::Duration::from_millis(300));
    let fast = Upstream::echo("fast");
    let (envoy, _) = send(json!({ "slowerThan": "150ms" }), &[&slow, &fast], json!({})).await;
    assert_eq!((slow.received("/").len(), fast.received("/").len()), (3, 27));
    assert_eq!(envoy.stat("cluster.pool.outlier_detection.ejections_active").await, 1);
}

/// Envoy's router reads the mark before it decides about a retry, and removes no header itself.
#[tokio::test]
async fn a_marked_attempt_can_be_retried_and_every_attempt_counts() {
    let (bad, good) = (with_header("bad", ("x-health", "bad")), Upstream::echo("good"));
    let failure = json!({ "headers": { "x-health": {} } });
    let retries = json!({
        "retry_on": "retriable-headers", "num_retries": 2,
        "retriable_headers": [{ "name": "x-sluice-failure", "present_match": true }],
    });
    let (envoy, responses) = send(failure, &[&bad, &good], retries).await;
    for response in &responses {
        assert_eq!(response.header("x-health"), None, "no client gets a failed attempt");
    }
    assert_eq!((bad.received("/").len(), good.received("/").len()), (3, 30));
    assert_eq!(envoy.stat("cluster.pool.outlier_detection.ejections_active").await, 1);
}

#[tokio::test]
async fn a_mark_that_the_upstream_sets_itself_ejects_nothing() {
    let (forger, good) =
        (with_header("forger", ("x-sluice-failure", "status")), Upstream::echo("good"));
    let (envoy, responses) = send(json!({}), &[&forger, &good], json!({})).await;
    assert_eq!((forger.received("/").len(), good.received("/").len()), (15, 15));
    assert_eq!(envoy.stat("cluster.pool.outlier_detection.ejections_active").await, 0);
    for response in &responses {
        assert_eq!(response.header("x-sluice-failure"), None);
    }
}
