//! No module traps in a host that answers wrongly, and none keeps anything of its streams.

use std::thread;

use sluice_wasm_tests::hostile::{MODULES, Target, fail_each_call, mix};

/// Runs a check for each module, in parallel.
fn of_all(check: impl Fn(&'static str) + Sync) {
    thread::scope(|scope| {
        for module in MODULES {
            let check = &check;
            scope.spawn(move || check(module));
        }
    });
}

#[test]
fn each_call_may_fail_with_each_status() {
    of_all(|module| {
        let tried = fail_each_call(module).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(tried.calls >= 10 && tried.callbacks > 1_000, "{module}: {tried:?}");
    });
}

#[test]
fn random_callbacks_and_answers_end_in_no_trap_and_leave_nothing() {
    of_all(|module| {
        let target = Target::read(module).unwrap();
        for seed in 0..2 {
            let mixture = mix(&target, seed, 8_000).unwrap_or_else(|error| panic!("{error:#}"));
            println!("{module}: {mixture:?}");
            assert!(mixture.late.wrong_answers > 200, "{module}: {mixture:?}");
            mixture.check().unwrap_or_else(|error| panic!("{module}: {error:#}"));
        }
    });
}
