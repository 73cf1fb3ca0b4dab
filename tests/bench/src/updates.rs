//! Latency of other requests, and memory, while an Envoy takes new configurations of five filters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, any_host};
use sluice_progress::Progress;
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::samples::Samples;

const RULES: usize = 10_000;
const UPDATES: usize = 10;
/// Time after an update in which the workers take it.
const AFTER: Duration = Duration::from_secs(3);
/// Listener without a filter, which does not change.
const PROBED: &str = "probed";

/// Which documents an update changes.
#[derive(Clone, Copy)]
enum Change {
    /// Those of all filters
    All,
    /// That of one filter
    One,
}

/// Measures and prints a table for each kind of change.
pub async fn run() {
    measure("all five documents change", Change::All).await;
    measure("one document changes", Change::One).await;
}

async fn measure(title: &str, change: Change) {
    let first = listeners(0, change);
    let bootstrap =
        first.into_iter().fold(Bootstrap::new().dynamic_listeners(), Bootstrap::listener);
    let envoy = Envoy::start(&bootstrap).await;
    let probes = Probes::start(envoy.listener(PROBED));
    sleep(AFTER).await;
    println!(
        "{RULES} rules in each of five filters, one worker; requests to another listener; {title}:\n"
    );
    println!(
        "{:<12} {:>8} {:>10} {:>10} {:>10} {:>12} {:>10}",
        "", "requests", "p50, ms", "p99", "max", "memory, MiB", "CPU, s"
    );
    let mut processor_time = envoy.processor_time();
    let mut row = |progress: &Progress, name: &str| {
        let samples = probes.take();
        let summary = samples.summary();
        let now = envoy.processor_time();
        progress.print(&format!(
            "{name:<12} {:>8} {:>10.2} {:>10.2} {:>10.2} {:>12.1} {:>10.2}",
            samples.len(),
            summary.p50,
            summary.p99,
            samples.max(),
            envoy.resident_memory() as f64 / f64::from(1 << 20),
            (now - processor_time).as_secs_f64(),
        ));
        processor_time = now;
        samples
    };
    let mut progress = Progress::new("updates", UPDATES as u64, "updates");
    row(&progress, "before");
    let mut all = Samples::default();
    for number in 1..=UPDATES {
        assert!(envoy.update(&listeners(number, change)).await, "{}", envoy.log());
        sleep(AFTER).await;
        all.append(row(&progress, &format!("update {number}")));
        progress.advance();
    }
    drop(progress);
    let summary = all.summary();
    println!(
        "{:<12} {:>8} {:>10.2} {:>10.2} {:>10.2}\n",
        "all",
        all.len(),
        summary.p50,
        summary.p99,
        all.max()
    );
    probes.stop();
    assert!(envoy.traps().is_empty(), "{:?}", envoy.traps());
}

/// Two listeners with five filters, and one without a filter.
fn listeners(version: usize, change: Change) -> Vec<Listener> {
    let changed = document(version, RULES);
    let others = match change {
        Change::All => document(version, RULES),
        Change::One => document(0, RULES),
    };
    let listener = |name| Listener::new(name).direct_response();
    vec![
        listener("edge").fault(&changed).mirror(&others).plugin(&others),
        listener("other").fault(&others).plugin(&others),
        listener(PROBED),
    ]
}

/// A document with this number of rules, which differ in each version.
pub fn document(version: usize, rules: usize) -> Value {
    let rule = |number: usize| {
        json!({
            "match": [{ "headers": { "x-rule": { "exact": format!("{version}-{number}") } } }],
            "route": [{ "destination": { "host": "service" } }],
        })
    };
    any_host((0..rules).map(rule).collect())
}

/// Sends requests from a separate thread, one every millisecond.
struct Probes {
    is_over: Arc<AtomicBool>,
    received: std::sync::mpsc::Receiver<Duration>,
    thread: thread::JoinHandle<()>,
}

impl Probes {
    fn start(client: Client) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let (sender, received) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = client.connect().await;
                while !flag.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let response = connection.send(client.get("/")).await;
                    assert_eq!(response.status, 200);
                    let _ = sender.send(start.elapsed());
                    sleep(Duration::from_millis(1)).await;
                }
            });
        });
        Self { is_over, received, thread }
    }

    /// The latencies since the last call.
    fn take(&self) -> Samples {
        let mut samples = Samples::default();
        self.received.try_iter().for_each(|elapsed| samples.add(elapsed, Duration::ZERO));
        samples
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
