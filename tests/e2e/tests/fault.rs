//! Delays and aborts of the fault filter before the router.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream};

/// One virtual service for every host with this fault for one user, and the route for both filters.
fn document(fault: Value) -> Value {
    let route = json!([{ "destination": { "host": "service" } }]);
    json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": [
            { "fault": fault, "route": route,
              "match": [{ "headers": { "end-user": { "exact": "cheng" } } }] },
            { "route": route },
        ] }],
    })
}

async fn start(document: Value) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("service");
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").fault(&document).plugin(&document))
            .cluster("service", &[upstream.address()]),
    )
    .await;
    (envoy, upstream)
}

const COUNTERS: [&str; 5] =
    ["delays_injected", "aborts_injected", "faults_overflow", "budget_exhausted", "active_faults"];

async fn counts(envoy: &Envoy) -> [u64; 5] {
    let mut counts = [0; 5];
    for (count, name) in counts.iter_mut().zip(COUNTERS) {
        *count = envoy.stat(&format!("wasmcustom.sluice.fault.{name}")).await;
    }
    counts
}

#[tokio::test]
async fn one_user_waits_and_the_others_do_not() {
    let all = json!({ "value": 100 });
    let (envoy, _upstream) =
        start(document(json!({ "delay": { "fixedDelay": "0.5s", "percentage": all } }))).await;
    let edge = envoy.listener("edge");
    let slow = edge.get("/slow").header("end-user", "cheng").send().await;
    assert_eq!((slow.status, slow.upstream().as_str()), (200, "service"));
    slow.assert_took(Duration::from_millis(500)..Duration::from_secs(3));
    assert_eq!(slow.header("x-sluice-fault").as_deref(), Some("delay"));
    let fast = edge.get("/").header("end-user", "jim").send().await;
    assert_eq!((fast.status, fast.header("x-sluice-fault")), (200, None));
    assert_eq!(counts(&envoy).await, [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn one_user_is_aborted_and_the_others_are_not() {
    let all = json!({ "value": 100 });
    let (envoy, upstream) =
        start(document(json!({ "abort": { "httpStatus": 500, "percentage": all } }))).await;
    let edge = envoy.listener("edge");
    let aborted = edge.get("/aborted").header("end-user", "cheng").send().await;
    assert_eq!((aborted.status, aborted.text().as_str()), (500, "fault filter abort"));
    assert_eq!(aborted.header("x-sluice-fault").as_deref(), Some("abort"));
    assert_eq!(upstream.received("/aborted").len(), 0);
    assert_eq!(envoy.access_log("/aborted").await["details"], "fault_filter_abort");
    assert_eq!(edge.get("/").header("end-user", "jim").send().await.status, 200);
    assert_eq!(counts(&envoy).await, [0, 1, 0, 0, 0]);
}
