//! Cost of the modules before the first request: start time of Envoy, its memory, and the time to
//! accept rules.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, any_host, native, wasm};
use sluice_progress::steps;

use crate::listener::{any, edge};
use crate::results::Table;
use crate::samples::median;

const ROUNDS: usize = 7;
/// The single filters. The outlier filter is in the same chain as the others.
const FILTERS: [&str; 6] = ["egress", "fault", "mirror", "outlier", "router", "sni"];
/// One VM for each worker, one for the main thread and one to validate the configuration. Here
/// there is one worker.
const VMS: f64 = 3.0;

/// A document that every filter accepts.
fn document(rules: usize) -> Value {
    let rule = |number: usize| {
        json!({
            "match": [{ "headers": { "x-rule": { "exact": number.to_string() } } }],
            "route": [{ "destination": { "host": "service" } }],
        })
    };
    let mut document = any_host((0..rules).map(rule).collect());
    document["outboundTrafficPolicy"] = json!({ "mode": "ALLOW_ANY" });
    document
}

fn bootstrap(filters: &[&str], rules: usize, workers: u32) -> Bootstrap {
    let document = document(rules).to_string();
    let filters = filters.iter().map(|filter| wasm(filter, "edge", &document)).collect();
    Bootstrap::new().workers(workers).raw_listener(edge(filters, any()))
}

/// The same with the dynamic module.
fn module(rules: usize, workers: u32) -> Bootstrap {
    let filter = native("sluice", &document(rules).to_string());
    Bootstrap::new().workers(workers).raw_listener(edge(vec![filter], any()))
}

/// Time until Envoy serves, in milliseconds, and its memory in MiB.
async fn start(bootstrap: &Bootstrap) -> (f64, f64) {
    let begin = Instant::now();
    let envoy = Envoy::start(bootstrap).await;
    let elapsed = begin.elapsed();
    // Envoy deletes the canary's VM a little later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    (elapsed.as_secs_f64() * 1e3, envoy.resident_memory() as f64 / f64::from(1 << 20))
}

/// Returns the medians of rounds with one turn for each.
async fn starts(bootstraps: &[Bootstrap], rounds: usize) -> Vec<(f64, f64)> {
    let mut samples = vec![(Vec::new(), Vec::new()); bootstraps.len()];
    for _ in steps("starting Envoys", "rounds", 0..rounds) {
        for (bootstrap, (times, memory)) in bootstraps.iter().zip(&mut samples) {
            let (time, resident) = start(bootstrap).await;
            times.push(time);
            memory.push(resident);
        }
    }
    samples.iter_mut().map(|(times, memory)| (median(times), median(memory))).collect()
}

/// Measures and returns the tables.
pub async fn run() -> Vec<Table> {
    vec![modules().await, rules().await]
}

async fn modules() -> Table {
    let one = |filter| vec![filter];
    let mut ways: Vec<(&str, Vec<&str>)> = vec![("no module", vec![])];
    ways.extend(FILTERS.map(|filter| (filter, one(filter))));
    ways.push(("sluice, which replaces four of them", one("sluice")));
    ways.push(("egress, fault, mirror and router", vec!["egress", "fault", "mirror", "router"]));
    ways.push(("sluice, outlier and sni", vec!["sluice", "outlier", "sni"]));
    ways.push(("all six", FILTERS.to_vec()));
    let bootstraps: Vec<_> = ways
        .iter()
        .flat_map(|(_, filters)| [bootstrap(filters, 1, 1), bootstrap(filters, 1, 5)])
        .collect();
    let module = [module(1, 1), module(1, 5)];
    let names = ways.iter().map(|(name, _)| *name).chain(["sluice of libsluice.so"]);
    let bootstraps: Vec<_> = bootstraps.into_iter().chain(module).collect();
    let results = starts(&bootstraps, ROUNDS).await;
    let mut table = Table::new(
        "The start of an Envoy with one worker, in ms; its memory, and that of each worker more, in MiB",
        &["start", "memory", "each worker"],
    );
    for (name, pair) in names.zip(results.chunks_exact(2)) {
        let [(time, memory), (_, memory_of_five)] = pair else { continue };
        table.row(name, &[*time, *memory, (memory_of_five - memory) / 4.0], None);
    }
    table
}

async fn rules() -> Table {
    const COUNTS: [usize; 4] = [1, 1_000, 10_000, 100_000];
    let bootstraps = COUNTS.map(|count| bootstrap(&["router"], count, 1));
    let results = starts(&bootstraps, ROUNDS).await;
    let mut table = Table::new(
        "Rules that router.wasm accepts, for each of its VMs: milliseconds more, and MiB more, than with one rule",
        &["ms", "MiB"],
    );
    for (count, (time, memory)) in COUNTS.iter().zip(&results).skip(1) {
        let (base_time, base_memory) = results[0];
        let values = [(time - base_time) / VMS, (memory - base_memory) / VMS];
        table.row(&count.to_string(), &values, None);
    }
    table
}
