//! The scenarios under `envoy/scenarios`, each as it stands there, with the results that its README shows.

use std::time::Duration;

use sluice_e2e::{Client, Envoy, Response, until};

const PATH: &str = "/payment/balance/query";

async fn scenario(name: &str) -> (Envoy, Client) {
    let envoy = Envoy::of_file(&format!("envoy/scenarios/{name}/envoy.yaml")).await;
    let edge = envoy.listener("edge");
    (envoy, edge)
}

async fn ask(edge: &Client, user: &str) -> Response {
    edge.get(PATH).header("end-user", user).send().await
}

fn assert_payment(response: &Response, user: &str) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["data"], format!("Hello v1, {user}!, id: 1"));
}

/// Delays, aborts and active faults.
async fn counts(envoy: &Envoy) -> [u64; 3] {
    let mut counts = [0; 3];
    let names = ["delays_injected", "aborts_injected", "active_faults"];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = envoy.stat(&format!("wasmcustom.sluice.fault.{name}")).await;
    }
    counts
}

#[tokio::test]
async fn f1_fault_delay() {
    let (envoy, edge) = scenario("fault-delay").await;
    let (delayed, other) = tokio::join!(ask(&edge, "cheng"), ask(&edge, "jim"));
    assert_payment(&delayed, "cheng");
    delayed.assert_took(Duration::from_secs(7)..Duration::from_secs(12));
    assert_payment(&other, "jim");
    assert!(other.elapsed < Duration::from_secs(5), "{:?}", other.elapsed);
    assert_eq!(counts(&envoy).await, [1, 0, 0]);
}

#[tokio::test]
async fn f2_fault_delay_timeout() {
    let (envoy, edge) = scenario("fault-delay-timeout").await;
    let limit = Duration::from_secs(1);
    let answer = tokio::time::timeout(limit, ask(&edge, "cheng")).await;
    assert!(answer.is_err(), "an answer before the delay was over: {answer:?}");
    until("the stream is cleaned up", async || (counts(&envoy).await[2] == 0).then_some(())).await;
    assert_eq!(counts(&envoy).await, [1, 0, 0]);
    assert_payment(&ask(&edge, "jim").await, "jim");
}

#[tokio::test]
async fn f3_fault_abort() {
    let (envoy, edge) = scenario("fault-abort").await;
    let aborted = ask(&edge, "cheng").await;
    assert_eq!((aborted.status, aborted.text().as_str()), (500, "fault filter abort"));
    assert_payment(&ask(&edge, "jim").await, "jim");
    assert_eq!(counts(&envoy).await, [0, 1, 0]);
}

#[tokio::test]
async fn m1_mirror() {
    let (envoy, edge) = scenario("mirror").await;
    let request =
        edge.get(PATH).header("end-user", "cheng").header("authorization", "Bearer secret");
    assert_payment(&request.send().await, "cheng");
    let envoy = &envoy;
    let logged = |version: &'static str| async move {
        until(&format!("{version} logs the request"), async || {
            let log = envoy.access_log_text();
            log.lines().find(|line| line.starts_with(version)).map(str::to_owned)
        })
        .await
    };
    let original =
        "v1: GET /payment/balance/query host example.com user cheng authorization Bearer secret";
    assert_eq!(logged("v1").await, original);
    let copy = "v2: GET /payment/balance/query host example.com user cheng authorization -";
    assert_eq!(logged("v2").await, copy);
    assert_eq!(envoy.access_log_text().lines().filter(|line| line.starts_with('v')).count(), 2);
    assert_eq!(envoy.stat("wasmcustom.sluice.mirror.mirrored").await, 1);
}

#[tokio::test]
async fn c2_outlier() {
    let (envoy, edge) = scenario("outlier").await;
    assert_payment(&ask(&edge, "cheng").await, "cheng");
    let sick = edge.get(PATH).header("fail", "yes").send().await;
    assert_eq!((sick.status, sick.text().as_str()), (503, "v1 is sick\n"));
    for _ in 0..4 {
        let out = ask(&edge, "cheng").await;
        assert_eq!((out.status, out.text().as_str()), (503, "no healthy upstream"));
    }
    let stats = envoy.admin("/stats?filter=outlier.ejections_active").await.text();
    assert!(stats.trim_end().ends_with("wasmcustom.sluice.outlier.ejections_active: 1"), "{stats}");
    let log = envoy.log();
    let event = log.lines().find(|line| line.contains("outlier event=")).expect("an event");
    assert!(event.contains("reason=consecutive_gateway_failure ejections=1 for=180s"), "{event}");
    let notice =
        "outlierDetection.consecutiveErrors: has been replaced by consecutiveGatewayErrors";
    assert!(log.contains(notice), "{log}");
}
