//! Listeners that drain and Envoys that end while a thousand requests wait in a filter, with one to
//! four workers.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, any_host, until};
use tokio::task::JoinSet;

const STREAMS: usize = 1000;
const ON_A_CONNECTION: usize = 100;
const ACTIVE: &str = "wasmcustom.sluice.fault.active_faults";

/// Delays each request by this time.
fn delayed(delay: &str) -> Value {
    any_host(json!([{
        "fault": { "delay": { "fixedDelay": delay, "percentage": { "value": 100 } } },
        "route": [{ "destination": { "host": "service" } }],
    }]))
}

/// The outcome of each request: its status, or why there is none.
type Waiting = JoinSet<Result<u16, String>>;

/// An Envoy in which requests wait.
async fn start(workers: u32, delay: &str) -> (Envoy, Waiting) {
    let listener = Listener::new("edge").fault(&delayed(delay)).direct_response();
    let bootstrap = Bootstrap::new()
        .workers(workers)
        .drain_time(Duration::from_secs(2))
        .listener(listener.concurrent_streams(ON_A_CONNECTION as u32));
    let envoy = Envoy::start(&bootstrap).await;
    let client = envoy.listener("edge").http2();
    let mut waiting = Waiting::new();
    for _ in 0..STREAMS / ON_A_CONNECTION {
        let connection = client.connect().await;
        for _ in 0..ON_A_CONNECTION {
            let (mut connection, request) = (connection.share(), client.get("/"));
            waiting.spawn(async move { Ok(connection.try_send(request).await?.status) });
        }
    }
    let all_wait = async || (envoy.stat(ACTIVE).await == STREAMS as u64).then_some(());
    until("all requests wait", all_wait).await;
    (envoy, waiting)
}

#[tokio::test]
async fn waiting_requests_are_answered_while_a_listener_drains() {
    for workers in 1..=4 {
        let (envoy, waiting) = start(workers, "2s").await;
        let drain = envoy.admin_client().request(Method::POST, "/drain_listeners?graceful");
        let drain = drain.send().await;
        assert_eq!(drain.status, 200);
        for outcome in waiting.join_all().await {
            assert_eq!(outcome, Ok(200), "{workers} workers");
        }
        until("no fault is active", async || (envoy.stat(ACTIVE).await == 0).then_some(())).await;
        let (status, log) = envoy.terminate().await;
        assert!(status.success(), "{workers} workers: {status}, {log}");
    }
}

#[tokio::test]
async fn an_envoy_ends_while_requests_wait() {
    for workers in 1..=4 {
        let (envoy, waiting) = start(workers, "60s").await;
        let (status, log) = envoy.terminate().await;
        assert!(status.success(), "{workers} workers: {status}, {log}");
        for trace in ["Caught", "panic", "trap", "assert"] {
            assert!(!log.contains(trace), "{workers} workers: {log}");
        }
        for outcome in waiting.join_all().await {
            assert!(outcome.is_err(), "{workers} workers: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_thousand_clients_that_leave_at_once_are_forgotten() {
    for workers in [1, 4] {
        let (envoy, mut waiting) = start(workers, "60s").await;
        waiting.shutdown().await;
        until("no fault is active", async || (envoy.stat(ACTIVE).await == 0).then_some(())).await;
        assert_eq!(envoy.traps(), [""; 0]);
        let (status, log) = envoy.terminate().await;
        assert!(status.success(), "{workers} workers: {status}, {log}");
    }
}
