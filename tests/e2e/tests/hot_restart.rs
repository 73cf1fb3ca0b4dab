//! Hot restarts: a new Envoy takes the sockets of the old one while a thousand requests wait in a
//! filter and clients send others.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, HotRestart, Listener, Upstream, any_host, until};
use tokio::task::JoinSet;

const WAITING: usize = 1000;
const ON_A_CONNECTION: usize = 100;
/// Longer than the new Envoy takes to start, and shorter than the old one goes on.
const DELAY: &str = "4s";
const ACTIVE: &str = "wasmcustom.sluice.fault.active_faults";

/// Rules that delay requests with `x-wait`, and answer with their version.
fn document(version: &str) -> Value {
    let route = json!([{ "destination": { "host": "service" } }]);
    let delay = json!({ "delay": { "fixedDelay": DELAY, "percentage": { "value": 100 } } });
    let set = json!({ "response": { "set": { "x-version": version } } });
    let late = json!([{ "headers": { "x-wait": {} } }]);
    any_host(json!([
        { "match": late, "fault": delay, "route": route, "headers": set },
        { "route": route, "headers": set },
    ]))
}

fn bootstrap(upstream: &Upstream, port: u16, version: &str, is_native: bool) -> Bootstrap {
    let edge = Listener::new("edge").port(port).concurrent_streams(ON_A_CONNECTION as u32);
    let edge = edge.bundle(&document(version));
    let edge = if is_native { edge.native() } else { edge };
    Bootstrap::new()
        .cluster("service", &[upstream.address()])
        .workers(2)
        .drain_time(Duration::from_secs(3))
        .listener(edge)
}

/// Sends requests on connections that stay open, until it is over. Returns the versions that have
/// answered, and what went wrong.
async fn client(
    client: Client,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> (Vec<String>, Vec<String>) {
    let (mut versions, mut wrong) = (Vec::new(), Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        let mut connection = client.connect().await;
        while !is_over.load(Ordering::Relaxed) {
            match connection.try_send(client.get("/")).await {
                Ok(response) if response.status == 200 => {
                    versions.extend(response.header("x-version"));
                    versions.dedup();
                    answered.fetch_add(1, Ordering::Relaxed);
                    // The old Envoy closes its connections after an answer.
                    if response.header("connection").is_some_and(|value| value == "close") {
                        break;
                    }
                }
                Ok(response) => wrong.push(format!("{}: {}", response.status, response.text())),
                Err(error) => {
                    wrong.push(error);
                    break;
                }
            }
        }
    }
    (versions, wrong)
}

async fn nothing_is_lost(is_native: bool) {
    // The port is free again, and stays so unless another program takes it now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let upstream = Upstream::echo("service");
    let first = bootstrap(&upstream, port, "old", is_native).hot_restart(HotRestart::First);
    let first = Envoy::start(&first).await;
    let edge = first.listener("edge");

    let (is_over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(client(edge.clone(), Arc::clone(&is_over), Arc::clone(&answered)));
    }
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING / ON_A_CONNECTION {
        let client = edge.clone().http2();
        let connection = client.connect().await;
        for _ in 0..ON_A_CONNECTION {
            let (mut connection, request) =
                (connection.share(), client.get("/").header("x-wait", "1"));
            waiting.spawn(async move {
                let response = connection.try_send(request).await?;
                Ok::<_, String>((response.status, response.header("x-version")))
            });
        }
    }
    let all_wait = async || (first.stat(ACTIVE).await == WAITING as u64).then_some(());
    until("all requests wait", all_wait).await;

    let next = bootstrap(&upstream, port, "new", is_native);
    let next = Envoy::start(&next.hot_restart(HotRestart::Next(first.base_id()))).await;
    for outcome in waiting.join_all().await {
        assert_eq!(outcome, Ok((200, Some("old".to_owned()))), "it ends where it has waited");
    }
    let (status, log) = first.ended().await;
    assert!(status.success(), "{status}: {log}");
    let before = answered.load(Ordering::Relaxed);
    let go_on = async || (answered.load(Ordering::Relaxed) > before + 100).then_some(());
    until("requests go on", go_on).await;
    is_over.store(true, Ordering::Relaxed);
    for (versions, wrong) in clients.join_all().await {
        assert_eq!(versions, ["old", "new"]);
        assert_eq!(wrong, [""; 0]);
    }
    assert_eq!(next.traps(), [""; 0]);
    assert_eq!(
        next.stat(ACTIVE).await,
        0,
        "the new Envoy does not count what has waited in the old"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_with_wasm_modules() {
    nothing_is_lost(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_with_the_dynamic_module() {
    nothing_is_lost(true).await;
}
