//! Processor time of Envoy per request, measured for alternating variants.

use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use sluice_e2e::{Client, Envoy, Request};
use sluice_progress::Progress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::samples::{median, quartiles};

/// Number of rounds; each variant has one turn per round.
pub const ROUNDS: usize = 9;
/// Length of a turn.
const TURN: Duration = Duration::from_millis(700);
const CONNECTIONS: usize = 8;

/// A variant: an Envoy and a request to it.
pub struct Variant {
    /// Name in the table
    pub name: String,
    /// The measured Envoy
    pub envoy: Envoy,
    /// Its listener
    pub client: Client,
    /// The repeated request
    pub request: fn(&Client) -> Request,
}

/// Microseconds of processor time per request, one for each round.
pub type Costs = Vec<f64>;

/// Measures all variants alternately.
pub async fn costs(variants: &[Variant]) -> Vec<Costs> {
    share_processors(variants);
    let mut costs = vec![Costs::new(); variants.len()];
    // The first round is a warm-up and is not counted.
    let turns = u64::try_from((ROUNDS + 1) * variants.len()).unwrap_or_default();
    let mut progress = Progress::new("measuring", turns, "turns");
    for round in 0..=ROUNDS {
        for (variant, costs) in variants.iter().zip(&mut costs) {
            let cost = variant.cost().await;
            progress.advance();
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    costs
}

/// Runs the Envoys on the first processor and this client on the second one, if there is one, so
/// that they do not evict each other from the caches.
fn share_processors(variants: &[Variant]) {
    for variant in variants {
        variant.envoy.run_on(0);
    }
    let mut second = CpuSet::new();
    second.set(1);
    // Fails if there is only one processor.
    let _ = sched_setaffinity(None, &second);
}

impl Variant {
    async fn cost(&self) -> f64 {
        let request = (self.request)(&self.client).to_bytes();
        let before = self.envoy.processor_time();
        let end = Instant::now() + TURN;
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(self.client.address()).await.expect("Envoy listens");
            let request = request.clone();
            connections.spawn(async move {
                let mut connection = Connection::new(stream);
                let mut requests = 0u32;
                while Instant::now() < end {
                    connection.exchange(&request).await;
                    requests += 1;
                }
                requests
            });
        }
        let requests: u32 = connections.join_all().await.into_iter().sum();
        let spent = self.envoy.processor_time() - before;
        spent.as_secs_f64() * 1e6 / f64::from(requests)
    }
}

/// A client with little overhead: the bytes of its request are built once.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket of TCP");
        Self { stream, received: Vec::with_capacity(4096) }
    }

    /// Sends a request and reads the response.
    ///
    /// # Panics
    /// If the status is not 200, or there is no `content-length`.
    async fn exchange(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect("Envoy reads");
        self.received.clear();
        while !self.is_complete() {
            let read = self.stream.read_buf(&mut self.received).await.expect("Envoy answers");
            assert_ne!(read, 0, "Envoy closed the connection");
        }
    }

    fn is_complete(&self) -> bool {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let head = match response.parse(&self.received).expect("a response") {
            httparse::Status::Complete(head) => head,
            httparse::Status::Partial => return false,
        };
        assert_eq!(response.code, Some(200), "{}", String::from_utf8_lossy(&self.received));
        let length = response.headers.iter().find(|header| header.name == "content-length");
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
        self.received.len() >= head + length.unwrap_or(0usize)
    }
}

/// Returns the differences of the rounds of two variants: the median and the quartiles.
pub fn more(own: &[f64], base: &[f64]) -> (f64, (f64, f64)) {
    let mut more: Vec<f64> = own.iter().zip(base).map(|(own, base)| own - base).collect();
    (median(&mut more), quartiles(&mut more))
}

/// Prints a row for each variant: its cost, and the difference to the variant `base` by rounds.
pub fn print(variants: &[Variant], costs: &[Costs], base: usize) {
    println!("{:<44} {:>12} {:>16} {:>16}", "", "us a request", "more than first", "its quartiles");
    for (variant, own) in variants.iter().zip(costs) {
        let (difference, quartiles) = more(own, &costs[base]);
        let name = &variant.name;
        let cost = median(&mut own.clone());
        println!(
            "{name:<44} {cost:>12.2} {difference:>+16.2} {:>7.2} .. {:<+5.2}",
            quartiles.0, quartiles.1
        );
    }
}
