//! Benchmarks of the filters, as tables for people to read. Only the result of `soak` makes it
//! fail.
//!
//!     cargo run --release -p sluice-bench -- BENCHMARK
//!     cargo run --release -p sluice-bench -- soak MINUTES
//!
//! where BENCHMARK is requests, rules, patterns, start, lists, updates, update-costs, delays,
//! waiting, mirrors, outliers, sni, egress or keep.

mod client_hello;
mod delays;
mod egress;
mod faults;
mod floor;
mod listener;
mod lists;
mod load;
mod mirrors;
mod outliers;
mod patterns;
mod plot;
mod requests;
mod results;
mod rules;
mod samples;
mod sni;
mod soak;
mod start;
mod update_costs;
mod updates;
mod waiting;

use std::process::ExitCode;

use tokio::runtime::Builder;

fn main() -> ExitCode {
    // One thread, like Envoy's one worker: each has a core.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["delays"] => runtime.block_on(delays::run()),
        ["egress"] => runtime.block_on(egress::run()),
        ["lists"] => results::report("lists", &runtime.block_on(lists::run())),
        ["mirrors"] => runtime.block_on(mirrors::run()),
        ["outliers"] => runtime.block_on(outliers::run()),
        ["patterns"] => results::report("patterns", &runtime.block_on(patterns::run())),
        ["requests"] => results::report("requests", &runtime.block_on(requests::run())),
        ["rules"] => results::report("rules", &runtime.block_on(rules::run())),
        ["start"] => results::report("start", &runtime.block_on(start::run())),
        ["keep"] => results::keep(&["requests", "rules", "start"]),
        ["soak", minutes] if let Ok(minutes) = minutes.parse() => {
            return runtime.block_on(soak::run(minutes));
        }
        ["sni"] => runtime.block_on(sni::run()),
        ["update-costs"] => runtime.block_on(update_costs::run()),
        ["updates"] => runtime.block_on(updates::run()),
        ["waiting"] => runtime.block_on(waiting::run()),
        _ => {
            eprintln!(
                "usage: sluice-bench requests|rules|patterns|start|lists|updates|update-costs|delays|\
                 waiting|mirrors|outliers|sni|egress|keep, or sluice-bench soak MINUTES"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
