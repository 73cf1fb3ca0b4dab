//! Modules keep no state of finished streams: the linear memory, which never shrinks, stops
//! growing.

use std::thread;

use sluice_wasm_tests::{Case, Instance, cases, run};

/// The most frequent cases of each module.
const CASES: [(&str, &str); 7] = [
    ("egress", "10 hosts, refused"),
    ("fault", "delay"),
    ("mirror", "sampled"),
    ("outlier", "an attempt, failure"),
    ("router", "header operations"),
    ("sluice", "all parts, a delay"),
    ("sni", "10 routes, the ClientHello in one piece"),
];

fn stops_growing(case: &Case, before: u64, streams: u64) {
    let mut instance = Instance::start(case.module).unwrap();
    instance.configure(&case.document).unwrap();
    run(&mut instance, case, before).unwrap();
    let memory = instance.memory();
    run(&mut instance, case, streams - before).unwrap();
    let (module, name) = (case.module, &case.name);
    assert_eq!(instance.memory(), memory, "{module}: {name}, bytes after {streams} streams");
}

/// Runs all cases in parallel, each in a separate VM.
fn all_stop_growing(before: u64, streams: u64) {
    let all = cases();
    thread::scope(|scope| {
        for (module, name) in CASES {
            let case = all.iter().find(|case| case.module == module && case.name == name);
            let case = case.unwrap_or_else(|| panic!("no case {module}: {name}"));
            scope.spawn(move || stops_growing(case, before, streams));
        }
    });
}

#[test]
fn memory_after_20000_streams_is_that_after_2000() {
    all_stop_growing(2_000, 20_000);
}

/// Run it with `make memory`; it takes minutes.
#[test]
#[ignore = "slow"]
fn memory_after_1000000_streams_is_that_after_10000() {
    all_stop_growing(10_000, 1_000_000);
}
