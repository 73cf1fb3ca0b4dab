//! Memory of an Envoy with all filters at full load for a long time, with an update every few
//! seconds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Mirroring, Request, any_host};
use sluice_progress::Progress;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use crate::plot;
use crate::samples::median;

/// Largest growth of the memory after the warm-up, as a part of it.
const TOLERANCE: f64 = 0.02;
/// Time between two updates, which change the documents of all filters.
const UPDATE: Duration = Duration::from_secs(10);
const SAMPLE: Duration = Duration::from_secs(2);
/// Time in which Envoy ends the connections of an old listener.
const DRAIN: Duration = Duration::from_secs(5);
/// Listeners: the single modules, `sluice.wasm`, and the dynamic module.
const WAYS: [&str; 3] = ["single", "bundle", "module"];
/// Connections to each listener.
const CONNECTIONS: usize = 6;
/// Requests on one connection.
const REQUESTS: usize = 500;
const RULES: usize = 200;
const HOST: &str = "service.example.com";

/// A kind of request: its headers and the status of its answer.
struct Kind {
    headers: &'static [(&'static str, &'static str)],
    host: &'static str,
    status: u16,
}

const KINDS: [Kind; 6] = [
    Kind { headers: &[("x-rule", "199")], host: HOST, status: 200 },
    Kind { headers: &[("x-rule", "none")], host: HOST, status: 200 },
    Kind { headers: &[("x-rule", "0"), ("x-copy", "1")], host: HOST, status: 200 },
    Kind { headers: &[("x-fault", "abort")], host: HOST, status: 503 },
    Kind { headers: &[("x-fault", "delay")], host: HOST, status: 200 },
    Kind { headers: &[], host: "unknown.example.org", status: 502 },
];

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    requests: Cell<u64>,
    /// The answers that were wrong
    wrong: RefCell<BTreeSet<String>>,
    /// Requests without an answer
    lost: Cell<u64>,
    /// The versions of the documents that answered, for each listener
    versions: RefCell<BTreeSet<(&'static str, String)>>,
}

/// Runs for so many minutes, prints the memory, and plots it in `target/bench/soak.svg`. Fails if
/// the memory grows, or if an answer was wrong.
pub async fn run(minutes: f64) -> ExitCode {
    let upstream =
        Envoy::start(&Bootstrap::new().listener(Listener::new("service").direct_response())).await;
    let service = upstream.listener("service").address();
    let first = listeners(0);
    let bootstrap = Bootstrap::new()
        .cluster("service", &[service])
        .marked_outlier_detection(&outliers(), json!({ "consecutive_5xx": 1000 }))
        .workers(2)
        .drain_time(DRAIN)
        .dynamic_listeners();
    let envoy = Envoy::start(&first.into_iter().fold(bootstrap, Bootstrap::listener)).await;
    let envoy = Rc::new(envoy);
    LocalSet::new().run_until(soak(Rc::clone(&envoy), minutes)).await
}

async fn soak(envoy: Rc<Envoy>, minutes: f64) -> ExitCode {
    let seen = Rc::new(Seen::default());
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut clients = JoinSet::new();
    for way in WAYS {
        for _ in 0..CONNECTIONS {
            clients.spawn_local(client(envoy.listener(way), way, Rc::clone(&seen), end));
        }
    }
    let begin = Instant::now();
    let mut next_update = begin + UPDATE;
    let mut updates = 0;
    let mut memory = Vec::new();
    let mut progress = Progress::new("soak", (minutes * 60.0) as u64, "s");
    while Instant::now() < end {
        sleep(SAMPLE).await;
        progress.set(begin.elapsed().as_secs());
        let time = begin.elapsed().as_secs_f64() / 60.0;
        memory.push((time, envoy.resident_memory() as f64 / f64::from(1 << 20)));
        if Instant::now() >= next_update && Instant::now() + UPDATE < end {
            updates += 1;
            next_update += UPDATE;
            assert!(envoy.update(&listeners(updates)).await, "{}", envoy.log());
        }
    }
    clients.join_all().await;
    drop(progress);
    judge(&envoy, &seen, updates, &memory)
}

/// Prints the results. The memory at the end is compared with that after the warm-up, which is the
/// first quarter of the time.
fn judge(envoy: &Envoy, seen: &Seen, updates: usize, memory: &[(f64, f64)]) -> ExitCode {
    let quarter = |number: usize| {
        let length = memory.len() / 4;
        let values = memory.iter().skip(number * length).take(length);
        median(&mut values.map(|(_, memory)| *memory).collect::<Vec<_>>())
    };
    let growth = quarter(3) / quarter(1) - 1.0;
    plot::memory("soak", memory);
    let versions = seen.versions.borrow();
    let wrong = seen.wrong.borrow();
    let traps = envoy.traps();
    println!(
        "{} requests, {updates} updates; without an answer {}, wrong {}, traps {}",
        seen.requests.get(),
        seen.lost.get(),
        wrong.len(),
        traps.len()
    );
    println!(
        "versions that answered, of {} in each of three listeners: {}",
        updates + 1,
        versions.len()
    );
    println!(
        "resident memory, medians of the quarters: {:.1}, {:.1}, {:.1}, {:.1} MiB; growth after the first {:+.2} %",
        quarter(0),
        quarter(1),
        quarter(2),
        quarter(3),
        growth * 100.0
    );
    wrong.iter().take(10).for_each(|answer| println!("wrong: {answer}"));
    let has_last = WAYS.iter().all(|way| versions.contains(&(*way, updates.to_string())));
    let is_good = growth <= TOLERANCE
        && has_last
        && seen.lost.get() == 0
        && wrong.is_empty()
        && traps.is_empty();
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends requests of all kinds, on one connection after another, so that old listeners end.
async fn client(client: Client, way: &'static str, seen: Rc<Seen>, end: Instant) {
    while Instant::now() < end {
        let mut connection = client.connect().await;
        for kind in KINDS.iter().cycle().take(REQUESTS) {
            seen.requests.set(seen.requests.get() + 1);
            let Ok(response) = connection.try_send(request(&client, kind)).await else {
                seen.lost.set(seen.lost.get() + 1);
                break;
            };
            if response.status != kind.status {
                let headers = kind.headers;
                let wrong = format!("{way} {headers:?} {}: {}", kind.host, response.status);
                seen.wrong.borrow_mut().insert(wrong);
            }
            if let Some(version) = response.header("x-version") {
                seen.versions.borrow_mut().insert((way, version));
            }
            // Envoy closes the connections of an old listener after an answer.
            if response.header("connection").is_some_and(|value| value == "close") {
                break;
            }
        }
    }
}

fn request(client: &Client, kind: &Kind) -> Request {
    let request = client.get("/item?id=1").host(kind.host).header("user-agent", "soak");
    kind.headers.iter().fold(request, |request, (name, value)| request.header(name, *value))
}

fn listeners(version: usize) -> Vec<Listener> {
    let document = document(version);
    let listener = |name| Listener::new(name).mirroring(Mirroring::ByHeader(1)).marker(&outliers());
    let [single, bundle, module] = WAYS;
    vec![
        listener(single).egress(&document).fault(&document).mirror(&document).plugin(&document),
        listener(bundle).bundle(&document),
        listener(module).bundle(&document).native(),
    ]
}

/// Rules that answer with the version in a header, faults and copies for some requests, and a
/// registry.
fn document(version: usize) -> Value {
    let route = json!([{ "destination": { "host": "service" } }]);
    let fault = |name: &str| json!([{ "headers": { "x-fault": { "exact": name } } }]);
    let mut rules = vec![
        json!({ "match": fault("abort"), "route": route,
            "fault": { "abort": { "httpStatus": 503, "percentage": { "value": 100 } } } }),
        json!({ "match": fault("delay"), "route": route,
            "fault": { "delay": { "fixedDelay": "2ms", "percentage": { "value": 100 } } } }),
        json!({ "match": [{ "headers": { "x-copy": {} } }], "route": route,
            "mirrors": [{ "destination": { "host": "service" } }] }),
    ];
    rules.extend((0..RULES).map(|number| {
        json!({ "match": [{ "headers": { "x-rule": { "exact": number.to_string() } } }],
            "route": route,
            "headers": { "response": { "set": { "x-version": version.to_string() } } } })
    }));
    rules.push(json!({ "route": route }));
    let mut document = any_host(rules.into());
    document["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
    document["egress"] = json!({ "port": "authority" });
    document["serviceEntries"] = json!([{ "hosts": [HOST], "ports": [
        { "number": 80, "name": "http", "protocol": "HTTP" }] }]);
    document
}

fn outliers() -> Value {
    json!({
        "clusterName": "{host}",
        "destinationRules": [{ "host": "service", "trafficPolicy": { "outlierDetection": {
            "consecutive5xxErrors": 1000, "failure": { "slowerThan": "30s" } } } }],
    })
}
