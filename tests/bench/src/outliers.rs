//! Cost of the outlier filter with healthy hosts, lost counts between workers, and failed requests
//! when one of five hosts fails.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Request, any_host};
use sluice_progress::steps;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::load::{Variant, costs, print};
use crate::samples::{median, quartiles};

const POOL: &str = "pool";

fn document(detection: &Value) -> Value {
    json!({
        "clusterName": "{host}",
        "outlier": { "enforcement": "filter" },
        "destinationRules": [{ "host": POOL, "trafficPolicy": { "outlierDetection": detection } }],
    })
}

/// A listener with the router filter, which chooses the cluster. The outlier filter steers only
/// what that filter has decided.
fn edge() -> Listener {
    let rule = json!({ "route": [{ "destination": { "host": POOL } }] });
    let mut router = any_host(json!([rule]));
    router["destinationRules"] = json!([{ "host": POOL }]);
    Listener::new("edge").plugin(&router)
}

fn request(client: &Client) -> Request {
    client.get("/")
}

/// An Envoy that serves this number of hosts; the first `failing` hosts answer 500.
async fn hosts(count: usize, failing: usize) -> (Envoy, Vec<SocketAddr>) {
    let abort = json!({ "abort": { "http_status": 500, "percentage": { "numerator": 100 } } });
    let mut bootstrap = Bootstrap::new();
    for number in 0..count {
        let listener = Listener::new(&number.to_string()).direct_response();
        let is_failing = number < failing;
        let listener = if is_failing { listener.envoy_fault(abort.clone()) } else { listener };
        bootstrap = bootstrap.listener(listener);
    }
    let envoy = Envoy::start(&bootstrap).await;
    let addresses = (0..count).map(|number| envoy.listener(&number.to_string()).address());
    let addresses = addresses.collect();
    (envoy, addresses)
}

/// Measures and prints the tables.
pub async fn run() {
    cost().await;
    counts().await;
    failures().await;
}

/// The hosts are another Envoy, whose time does not count.
async fn cost() {
    let (_hosts, addresses) = hosts(5, 0).await;
    let directory = TempDir::new().unwrap();
    let status = directory.path().join("status.wasm");
    std::fs::write(&status, wat::parse_str(include_str!("status.wat")).unwrap()).unwrap();
    let status = status.to_str().expect("a path in UTF-8");
    let detection = json!({ "consecutive5xxErrors": 5, "maxEjectionPercent": 50 });
    let document = document(&detection);
    let native = json!({ "consecutive_5xx": 5, "max_ejection_percent": 50 });
    let pool = || Bootstrap::new().cluster(POOL, &addresses);
    let variants = [
        ("no filter", pool(), edge()),
        ("reads the status", pool().upstream_plugin(status, &json!({})), edge()),
        ("outlier.wasm", pool().outlier_plugin(&document), edge().outlier(&document)),
        ("outlier.wasm, only in the cluster", pool().outlier_plugin(&document), edge()),
        ("Envoy's own", pool().outlier_detection(native), edge()),
    ];
    let mut started = Vec::new();
    for (name, bootstrap, listener) in variants {
        let envoy = Envoy::start(&bootstrap.listener(listener)).await;
        let client = envoy.listener("edge");
        started.push(Variant { name: name.to_owned(), envoy, client, request });
    }
    println!("Processor time of Envoy for a request to one of five healthy hosts:\n");
    let costs = costs(&started).await;
    print(&started, &costs, 0);
    let mut ratios: Vec<f64> =
        costs[2].iter().zip(&costs[1]).map(|(own, status)| own / status).collect();
    let ratio = median(&mut ratios);
    let (lower, upper) = quartiles(&mut ratios);
    println!("outlier.wasm to reading the status: {ratio:.2} (quartiles {lower:.2} .. {upper:.2})");
}

/// Asserts that the last of 100,000 failures ejects the host, and no earlier one.
async fn counts() {
    const FAILURES: usize = 100_000;
    const CONNECTIONS: usize = 16;
    let (_hosts, addresses) = hosts(1, 1).await;
    let document = document(&json!({
        "consecutive5xxErrors": FAILURES, "maxEjectionPercent": 100, "baseEjectionTime": "1h",
        "maxEjectionTime": "1h",
    }));
    let bootstrap = Bootstrap::new()
        .workers(2)
        .cluster(POOL, &addresses)
        .outlier_plugin(&document)
        .listener(edge().outlier(&document));
    let envoy = Envoy::start(&bootstrap).await;
    let client = envoy.listener("edge");
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        // All failures but one, including the remainder of the division.
        let count = FAILURES / CONNECTIONS - usize::from(number == 0);
        let (client, request) = (client.clone(), request(&client));
        connections.spawn(async move {
            let mut connection = client.connect().await;
            for _ in 0..count {
                assert_eq!(connection.send(request.clone()).await.status, 500);
            }
        });
    }
    connections.join_all().await;
    let elapsed = start.elapsed();
    let before = envoy.stat("wasmcustom.sluice.outlier.ejections_active").await;
    request(&client).send().await;
    let after = envoy.stat("wasmcustom.sluice.outlier.ejections_active").await;
    let mut connections = Vec::new();
    for worker in [0, 1] {
        let filter = format!("worker_{worker}.downstream_cx_total");
        let stats = envoy.admin(&format!("/stats?filter={filter}")).await.text();
        let counts = stats.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        connections.push(counts.sum::<u64>());
    }
    println!(
        "\n{FAILURES} failures, {CONNECTIONS} connections on two workers {connections:?}, in {elapsed:.1?}: ejected \
         before the last: {before}, after: {after}"
    );
}

/// Five hosts; one of them always fails.
async fn failures() {
    const TIME: Duration = Duration::from_secs(60);
    let (_hosts, addresses) = hosts(5, 1).await;
    println!("\nOne of five hosts fails for 60 s, 200 requests a second:\n");
    println!("{:<34} {:>9} {:>16} {:>22}", "", "requests", "failed until the", "failed afterwards");
    println!("{:<34} {:>9} {:>16} {:>22}", "", "", "first ejection", "");
    let mut running = JoinSet::new();
    for (name, base, half_open) in [
        ("Envoy's own, out for 3 min", 180, None),
        ("outlier.wasm, out for 3 min", 180, Some(false)),
        ("Envoy's own, out for 10 s", 10, None),
        ("outlier.wasm, out for 10 s", 10, Some(false)),
        ("outlier.wasm, 10 s and halfOpen", 10, Some(true)),
    ] {
        let base = format!("{base}s");
        let mut detection = json!({ "consecutive5xxErrors": 5, "interval": "1s",
            "baseEjectionTime": base, "maxEjectionPercent": 50 });
        if half_open == Some(true) {
            detection["halfOpen"] = json!({});
        }
        let document = document(&detection);
        let native = json!({ "consecutive_5xx": 5, "interval": "1s", "base_ejection_time": base,
            "max_ejection_percent": 50 });
        let pool = Bootstrap::new().cluster(POOL, &addresses);
        let edge = edge();
        let bootstrap = match half_open {
            Some(_) => pool.outlier_plugin(&document).listener(edge.outlier(&document)),
            None => pool.outlier_detection(native).listener(edge),
        };
        let envoy = Envoy::start(&bootstrap).await;
        running.spawn(async move {
            let client = envoy.listener("edge");
            let mut connection = client.connect().await;
            let (mut until_first, mut afterwards, mut requests) = (0, 0, 0);
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            let end = Instant::now() + TIME;
            let mut is_detected = false;
            while Instant::now() < end {
                ticks.tick().await;
                requests += 1;
                let is_failed = connection.send(request(&client)).await.status == 500;
                match (is_failed, is_detected) {
                    (true, false) => {
                        until_first += 1;
                        // This was the fifth failure; Envoy's main thread ejects the host a moment
                        // later.
                        is_detected = until_first == 5;
                        if is_detected {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                    (true, true) => afterwards += 1,
                    (false, _) => {}
                }
            }
            (name, requests, until_first, afterwards)
        });
    }
    for _ in steps("outliers", "s", 0..TIME.as_secs()) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for (name, requests, until_first, afterwards) in running.join_all().await {
        let share = 100.0 * f64::from(afterwards) / f64::from(requests - until_first);
        println!("{name:<34} {requests:>9} {until_first:>16} {afterwards:>12} ({share:.3} %)");
    }
}
