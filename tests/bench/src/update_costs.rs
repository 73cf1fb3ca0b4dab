//! What an update costs in Envoy, by the way in which the filters are attached.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener};
use sluice_progress::steps;
use tokio::time::sleep;

use crate::samples::median;
use crate::updates::document;

const ROUNDS: usize = 15;
/// Time after an update in which the worker takes it.
const AFTER: Duration = Duration::from_millis(400);
const CREATED: &str = "wasm.envoy.wasm.runtime.v8.created";

/// Filters of a listener, for the number of rules and the version of the document.
struct Attached {
    name: &'static str,
    add: fn(Listener, &Value) -> Listener,
}

const ALL: [Attached; 5] = [
    Attached { name: "no filter, Envoy's own fault", add: |listener, _| listener },
    Attached { name: "router.wasm", add: |listener, document| listener.plugin(document) },
    Attached {
        name: "fault.wasm, mirror.wasm, router.wasm",
        add: |listener, document| listener.fault(document).mirror(document).plugin(document),
    },
    Attached { name: "sluice.wasm", add: |listener, document| listener.bundle(document) },
    Attached { name: "libsluice.so", add: |listener, document| listener.bundle(document).native() },
];

/// Measures and prints a table for each number of rules.
pub async fn run() {
    for rules in [10, 1000] {
        measure(rules).await;
    }
}

async fn measure(rules: usize) {
    let listener = |attached: &Attached, version: usize| {
        // Without it, Envoy would not take an update of a listener without a filter.
        let fault = json!({ "abort": {
            "http_status": 500 + version, "percentage": { "numerator": 0 },
        } });
        let listener = Listener::new("edge").direct_response().envoy_fault(fault);
        vec![(attached.add)(listener, &document(version, rules))]
    };
    let mut started = Vec::new();
    for attached in &ALL {
        let bootstrap = Bootstrap::new().dynamic_listeners();
        let first = listener(attached, 0);
        let envoy = Envoy::start(&first.into_iter().fold(bootstrap, Bootstrap::listener)).await;
        let (times, created) = (Vec::new(), envoy.stat(CREATED).await);
        started.push((attached, envoy, times, created));
    }
    for version in steps(&format!("{rules} rules"), "rounds", 1..=ROUNDS) {
        for (attached, envoy, times, _) in &mut started {
            let before = envoy.processor_time();
            assert!(envoy.update(&listener(attached, version)).await, "{}", envoy.log());
            sleep(AFTER).await;
            times.push((envoy.processor_time() - before).as_secs_f64() * 1000.0);
        }
    }
    println!("Processor time of Envoy for an update, {rules} rules, one worker:\n");
    println!("{:<38} {:>12} {:>14} {:>8}", "", "ms, median", "more than none", "VMs");
    let mut none = None;
    for (attached, envoy, times, created) in &mut started {
        let time = median(times);
        let none = *none.get_or_insert(time);
        let made = envoy.stat(CREATED).await - *created;
        let vms = made as f64 / ROUNDS as f64;
        println!("{:<38} {time:>12.1} {:>+14.1} {vms:>8.1}", attached.name, time - none);
        assert!(envoy.traps().is_empty(), "{:?}", envoy.traps());
    }
    println!();
}
