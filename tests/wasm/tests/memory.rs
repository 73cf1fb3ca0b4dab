//! Nothing is kept of a stream that is over: the linear memory, which never shrinks, stops growing.

use sluice_wasm_tests::{Case, Instance, cases, run};

/// The cases whose streams differ in what they leave behind, and not in how many rules there are.
fn small_cases() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| !case.name.contains(",000"))
}

fn stops_growing(before: u64, streams: u64) {
    for case in small_cases() {
        let name = format!("{}: {}", case.module, case.name);
        let mut instance = Instance::start(case.module).unwrap();
        instance.configure(&case.document).unwrap();
        run(&mut instance, &case, before).unwrap();
        let memory = instance.memory();
        run(&mut instance, &case, streams - before).unwrap();
        assert_eq!(instance.memory(), memory, "{name}: after {streams} streams, in bytes");
    }
}

#[test]
fn memory_after_5000_streams_is_that_after_500() {
    stops_growing(500, 5_000);
}

/// `make memory`; it takes minutes.
#[test]
#[ignore = "slow"]
fn memory_after_1000000_streams_is_that_after_10000() {
    stops_growing(10_000, 1_000_000);
}
