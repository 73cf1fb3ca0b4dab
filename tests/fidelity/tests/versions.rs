//! What the versions of Envoy do differently, as the README of the router filter says.

use sluice_fidelity::run::{sides, version};
use sluice_fidelity::versions::{ROWS, outcomes};
use sluice_fidelity::world::Side;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_of_envoy_differ_where_the_readme_says() {
    let (version, _) = version().await;
    let since_1_39 = usize::from(!version.reads_utf8);
    let mut all = vec![Side::Native];
    all.extend(sides(&[Side::Bundle, Side::DynamicModule]).await);
    let mut problems = Vec::new();
    for (row, outcomes) in ROWS.iter().zip(outcomes(&all).await) {
        println!("{}: {}", row.name, outcomes.join(" | "));
        for (side, outcome) in all.iter().zip(outcomes) {
            let expected = if *side == Side::Native { row.native } else { row.filtered };
            if outcome != expected[since_1_39] {
                problems.push(format!("{}: {}: {outcome}", row.name, side.name()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
