//! A small run with a fixed seed. `make fidelity` has a large one.

use sluice_fidelity::run::{Settings, run, sides};
use sluice_fidelity::world::Side;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_do_what_envoy_does() {
    let sides = sides(&[Side::Bundle, Side::DynamicModule]).await;
    let settings = Settings { seed: 2026, cases: 100, requests: 5_000, sides };
    let report = run(&settings).await;
    report.print(&settings);
    report.assert_equal();
}
