//! Compares Envoy's own filters with Sluice's, for random VirtualServices:
//!
//! ```text
//! sluice-fidelity [CONFIGURATIONS [REQUESTS]]
//! ```
//!
//! `SLUICE_SEED` is the seed; without it, each run has another one. `ATTACH` and
//! `SLUICE_E2E_BUNDLE` choose one way to attach the filters, as in the end-to-end tests; without
//! them, all ways are compared.

use sluice_fidelity::run::{Settings, run, sides};
use sluice_fidelity::world::Side;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut numbers = std::env::args()
        .skip(1)
        .map(|text| text.parse::<usize>().unwrap_or_else(|_| panic!("{text} is not a number")));
    let cases = numbers.next().unwrap_or(2_000);
    let requests = numbers.next().unwrap_or(cases * 100);
    let seed = match std::env::var("SLUICE_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("SLUICE_SEED={text} is not a number")),
        Err(_) => fastrand::u64(..1 << 32),
    };
    let all = [Side::Modules, Side::Bundle, Side::DynamicModule];
    let sides = runtime.block_on(sides(&all));
    let settings = Settings { seed, cases, requests, sides };
    println!("{settings:?}");
    let report = runtime.block_on(run(&settings));
    report.print(&settings);
    report.assert_equal();
}
