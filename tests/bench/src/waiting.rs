//! Memory and latency while many requests are delayed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sluice_e2e::{Bootstrap, Client, Connection, Envoy, until};
use sluice_progress::Progress;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::faults::{DELAYED, Filter};
use crate::samples::{Samples, Summary};

const CONNECTIONS: usize = 200;
const STREAMS: usize = 100;
/// Long enough to start all streams and to measure while all of them wait.
const DELAY: Duration = Duration::from_secs(10);
/// Length of the measurement before.
const BEFORE: Duration = Duration::from_secs(3);
const LISTENER: &str = "waiting";

/// Measurements of one filter.
struct Outcome {
    waited: u64,
    resumed: usize,
    memory_before: Memory,
    memory_waiting: Memory,
    memory_after: Memory,
    started_in: Duration,
    resumed_in: Duration,
    /// Latency minus the delay, of the requests that waited
    errors: Samples,
    before: Samples,
    waiting: Samples,
    resuming: Samples,
}

/// Envoy's memory in bytes.
#[derive(Clone, Copy)]
struct Memory {
    /// Memory of the process, including the module
    resident: u64,
    /// Memory from Envoy's allocator, without the module
    allocated: u64,
}

/// The start and the duration of a request.
type Probe = (Instant, Duration);

/// Measures and prints the table.
pub async fn run() {
    const FILTERS: [Filter; 3] = [Filter::Native, Filter::Wasm, Filter::Module];
    let mut outcomes = Vec::new();
    let mut progress = Progress::new("waiting", FILTERS.len() as u64 * PHASES, "phases");
    for filter in FILTERS {
        outcomes.push(measure(filter, &mut progress).await);
    }
    drop(progress);
    println!(
        "{} streams, {CONNECTIONS} connections with {STREAMS} each, that wait {} s:\n",
        CONNECTIONS * STREAMS,
        DELAY.as_secs()
    );
    let line = |name: &str, cells: Vec<String>| {
        let cells: Vec<_> = cells.iter().map(|cell| format!(" {cell:>16}")).collect();
        println!("{name:<44}{}", cells.concat());
    };
    let row = |name: &str, value: &dyn Fn(&Outcome) -> String| {
        line(name, outcomes.iter().map(value).collect());
    };
    line("", FILTERS.map(|filter| filter.name().to_owned()).into());
    row("waiting at once", &|outcome| outcome.waited.to_string());
    row("resumed with 200", &|outcome| outcome.resumed.to_string());
    row("all started within, s", &|outcome| format!("{:.2}", outcome.started_in.as_secs_f64()));
    row("all resumed within, s", &|outcome| format!("{:.2}", outcome.resumed_in.as_secs_f64()));
    row("delay error, p50 / p99 in ms", &|outcome| latency(&outcome.errors));
    row("resident memory before, MiB", &|outcome| mebibytes(outcome.memory_before.resident));
    row("resident memory while they wait, MiB", &|outcome| {
        mebibytes(outcome.memory_waiting.resident)
    });
    row("resident memory afterwards, MiB", &|outcome| mebibytes(outcome.memory_after.resident));
    row("Envoy allocated before / afterwards, MiB", &|outcome| {
        let allocated = |memory: Memory| mebibytes(memory.allocated);
        [allocated(outcome.memory_before), allocated(outcome.memory_after)].join(" / ")
    });
    row("resident memory per waiting stream, bytes", &|outcome| {
        outcome.per_stream(|memory| memory.resident)
    });
    row("  of which Envoy allocated, bytes", &|outcome| {
        outcome.per_stream(|memory| memory.allocated)
    });
    println!("latency of other requests, p50 / p99 in ms");
    row("  before", &|outcome| latency(&outcome.before));
    row("  while they wait", &|outcome| latency(&outcome.waiting));
    row("  while they are resumed", &|outcome| latency(&outcome.resuming));
    row("  number of them before", &|outcome| outcome.before.len().to_string());
    row("  while they wait", &|outcome| outcome.waiting.len().to_string());
    row("  while they are resumed", &|outcome| outcome.resuming.len().to_string());
    println!(
        "\nThe other requests go to the same worker of Envoy, one after the other. The client takes a \
         core of its own\nwhere there is one."
    );
}

/// Number of times that [`measure`] advances the progress: before the streams, when all wait, when
/// all are resumed, and at the end.
const PHASES: u64 = 4;

async fn measure(filter: Filter, progress: &mut Progress) -> Outcome {
    // One Envoy for each filter, so that none reuses memory of another.
    let listener = filter.listener(LISTENER, DELAY).concurrent_streams(STREAMS as u32);
    let envoy = Envoy::start(&Bootstrap::new().listener(listener)).await;
    let client = envoy.listener(LISTENER).http2();

    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = client.connect().await;
        // The first response comes after the settings, so the connection is complete.
        assert_eq!(connection.send(client.get("/")).await.status, 200);
        connections.push(connection);
    }
    let probes = Probes::start(envoy.listener(LISTENER));
    sleep(BEFORE).await;
    let memory_before = Memory::of(&envoy).await;
    progress.advance();

    let start = Instant::now();
    let streams = streams(&client, &connections);
    let gauge = filter.gauge(LISTENER);
    let expected = (CONNECTIONS * STREAMS) as u64;
    let mut waited = 0;
    until("all streams wait, or the first are over", async || {
        waited = envoy.stat(&gauge).await.max(waited);
        (waited == expected || start.elapsed() > DELAY - Duration::from_secs(1)).then_some(())
    })
    .await;
    let all_wait = Instant::now();
    progress.advance();
    // The worker has nothing to do any more; let it settle.
    sleep(Duration::from_secs(1)).await;
    let memory_waiting = Memory::of(&envoy).await;

    let resumed: Vec<Probe> = streams.join_all().await.into_iter().flatten().collect();
    let probes = probes.stop();
    progress.advance();
    sleep(Duration::from_secs(1)).await;
    let memory_after = Memory::of(&envoy).await;
    assert!(envoy.traps().is_empty(), "{:?}", envoy.traps());
    progress.advance();
    let first_end = start + DELAY;
    let ends = resumed.iter().map(|(start, elapsed)| *start + *elapsed);
    let last_end = ends.max().unwrap_or(first_end);
    let mut errors = Samples::default();
    resumed.iter().for_each(|(_, elapsed)| errors.add(*elapsed, DELAY));
    let during = |from: Instant, to: Instant| {
        let mut samples = Samples::default();
        let within = probes.iter().filter(|(start, _)| (from..to).contains(start));
        within.for_each(|(_, elapsed)| samples.add(*elapsed, Duration::ZERO));
        samples
    };
    Outcome {
        waited,
        resumed: resumed.len(),
        memory_before,
        memory_waiting,
        memory_after,
        started_in: all_wait - start,
        resumed_in: last_end - first_end,
        errors,
        before: during(start - BEFORE, start),
        waiting: during(all_wait, first_end),
        resuming: during(first_end, last_end),
    }
}

/// Starts all requests. Those without a response with status 200 return nothing.
fn streams(client: &Client, connections: &[Connection]) -> JoinSet<Option<Probe>> {
    let mut streams = JoinSet::new();
    for connection in connections {
        for _ in 0..STREAMS {
            let mut connection = connection.share();
            let request = client.get("/").header(DELAYED, "1");
            streams.spawn(async move {
                let start = Instant::now();
                let response = connection.try_send(request).await.ok()?;
                (response.status == 200).then_some((start, response.elapsed))
            });
        }
    }
    streams
}

/// Sends requests without delay, from a separate thread.
struct Probes {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Probe>>,
}

impl Probes {
    fn start(client: Client) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = client.connect().await;
                let mut probes = Vec::new();
                while !flag.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let response = connection.send(client.get("/")).await;
                    assert_eq!(response.status, 200);
                    probes.push((start, response.elapsed));
                    sleep(Duration::from_millis(1)).await;
                }
                probes
            })
        });
        Self { is_over, thread }
    }

    fn stop(self) -> Vec<Probe> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Memory {
    async fn of(envoy: &Envoy) -> Self {
        let text = envoy.admin("/memory").await.json()["allocated"].as_str().unwrap().to_owned();
        Self { resident: envoy.resident_memory(), allocated: text.parse().unwrap() }
    }
}

impl Outcome {
    fn per_stream(&self, kind: impl Fn(Memory) -> u64) -> String {
        let more = kind(self.memory_waiting).saturating_sub(kind(self.memory_before));
        (more / self.waited.max(1)).to_string()
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn latency(samples: &Samples) -> String {
    let Summary { p50, p99, .. } = samples.summary();
    format!("{p50:.2} / {p99:.2}")
}
