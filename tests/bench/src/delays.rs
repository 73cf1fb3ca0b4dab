//! Lateness of delays: the measured delay minus the configured one.

use std::time::Duration;

use sluice_e2e::{Bootstrap, Client, Envoy};
use sluice_progress::Progress;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::faults::{DELAYED, Filter};
use crate::samples::{Samples, Summary};

/// A row of the table.
struct Case {
    delay: Duration,
    connections: usize,
    /// Requests of each connection per round
    requests: usize,
}

const ROUNDS: usize = 5;

/// Goal: maximum additional lateness of the module compared with the native filter, in
/// milliseconds.
const GOAL_P50: f64 = 1.0;
const GOAL_P99: f64 = 3.0;

const fn case(milliseconds: u64, connections: usize, requests: usize) -> Case {
    Case { delay: Duration::from_millis(milliseconds), connections, requests }
}

const CASES: [Case; 6] = [
    case(5, 1, 120),
    case(5, 16, 48),
    case(50, 1, 40),
    case(50, 16, 24),
    case(500, 1, 12),
    case(500, 16, 6),
];

/// Measures and prints the table.
pub async fn run() {
    let mut bootstrap = Bootstrap::new();
    for delay in CASES.map(|case| case.delay).chunk_by(PartialEq::eq).filter_map(<[_]>::first) {
        for filter in Filter::PAIR {
            bootstrap = bootstrap.listener(filter.listener(&listener(filter, *delay), *delay));
        }
    }
    let envoy = Envoy::start(&bootstrap).await;

    println!("Delay error, that is latency minus the delay, in ms:\n");
    println!(
        "{:>6} {:>11} {:>7}   {:<23} {:<23} {:<15} goal",
        "", "", "", "native", "wasm", "wasm - native"
    );
    println!(
        "{:>6} {:>11} {:>7}   {ALL:<23} {ALL:<23} p50 / p99",
        "delay", "connections", "samples"
    );
    let mut progress = Progress::new("delays", CASES.len() as u64, "cases");
    for case in &CASES {
        let [native, wasm] = measure(&envoy, case).await.map(|rounds| Summary::of_rounds(&rounds));
        let (p50, p99) = (wasm.p50 - native.p50, wasm.p99 - native.p99);
        progress.print(&format!(
            "{:>3} ms {:>11} {:>7}   {:<23} {:<23} {:<15} {}",
            case.delay.as_millis(),
            case.connections,
            ROUNDS * case.requests * case.connections,
            all(native),
            all(wasm),
            format!("{p50:+.2} / {p99:+.2}"),
            if p50 <= GOAL_P50 && p99 <= GOAL_P99 { "within" } else { "beyond" },
        ));
        progress.advance();
    }
    drop(progress);
    println!(
        "\nGoal: at most {GOAL_P50} ms behind the native filter at p50 and {GOAL_P99} ms at p99. The filters took turns in {ROUNDS}\n\
         rounds: p50 and p99 are the medians of the rounds', a p99 of less than 100 samples is their maximum."
    );
}

const ALL: &str = "min / p50 / p99";

fn all(Summary { min, p50, p99 }: Summary) -> String {
    format!("{min:.2} / {p50:.2} / {p99:.2}")
}

fn listener(filter: Filter, delay: Duration) -> String {
    format!("{}-{}", filter.name(), delay.as_millis())
}

/// Measures rounds of the native filter and of the module, alternately.
async fn measure(envoy: &Envoy, case: &Case) -> [Vec<Samples>; 2] {
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        // Alternates which filter is first.
        for turn in 0..2 {
            let index = (round + turn) % 2;
            let client = envoy.listener(&listener(Filter::PAIR[index], case.delay));
            rounds[index].push(turns(&client, case, round).await);
        }
    }
    rounds
}

/// The samples of one filter in one round.
async fn turns(client: &Client, case: &Case, round: usize) -> Samples {
    let mut connections = JoinSet::new();
    for connection in 0..case.connections {
        let client = client.clone();
        let Case { delay, requests, .. } = *case;
        connections.spawn(async move {
            let mut samples = Samples::default();
            let mut open = client.connect().await;
            for request in 0..requests {
                sleep(pause(request + requests * (round + ROUNDS * connection))).await;
                let response = open.send(client.get("/").header(DELAYED, "1")).await;
                assert_eq!(response.status, 200);
                samples.add(response.elapsed, delay);
            }
            samples
        });
    }
    let mut samples = Samples::default();
    connections.join_all().await.into_iter().for_each(|some| samples.append(some));
    samples
}

/// A pause before a request, uniformly distributed up to 8 ms. Without it, each request would start
/// right after the previous response, that is, at a tick of the clock of Envoy's timers, which is
/// not typical in production.
fn pause(number: usize) -> Duration {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
    Duration::from_secs_f64(0.008 * (number as f64 * GOLDEN_RATIO).fract())
}
