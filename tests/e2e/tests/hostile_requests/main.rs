//! Hostile requests from seeds, against a real Envoy with all filters. `make hostile-requests` runs
//! many, and prints their numbers.

mod documents;
mod edge;
mod hellos;
mod http1;
mod http2;
mod steering;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use edge::{Edge, WAYS};
use http1::Shape;
use http2::Connection;

/// Set this variable to the number of HTTP/1 connections to each listener. There are a quarter as
/// many HTTP/2 connections of each kind, and as many ClientHellos.
const COUNT: &str = "SLUICE_HOSTILE_REQUESTS";
const DEFAULT_COUNT: u64 = 200;
/// After this number of seeds, the listeners have to serve other clients.
const BATCH: usize = 250;
/// Connections at the same time.
const AT_ONCE: u64 = 64;
/// The largest growth of Envoy's memory after the first half of the connections, in MiB.
const GROWTH: u64 = 48;

/// How long a client waits for an answer, and then for more of it.
const PATIENCE: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(30)];

/// Returns the answer: all bytes until Envoy closes the connection or is silent.
async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let patience = PATIENCE[usize::from(!answer.is_empty())];
        match timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(length @ 1..)) => answer.extend_from_slice(&buffer[..length]),
            _ => return answer,
        }
    }
}

/// What has been sent, and what has come back.
#[derive(Debug, Default)]
struct Sent {
    shapes: usize,
    /// The number of first answers with each status; 0 is for no answer
    statuses: BTreeMap<u16, usize>,
    connections: usize,
    /// HTTP/2 connections on which Envoy has answered before it closed
    answered: usize,
    resets: usize,
    frames: usize,
    hellos: usize,
    /// ClientHellos that reached the service of their name
    named: usize,
}

/// Runs a task for each seed, some at once, and passes their results on.
async fn for_seeds<R: Send + 'static, F: Future<Output = R> + Send + 'static>(
    seeds: Range<u64>,
    task: impl Fn(Rng) -> F,
    mut take: impl FnMut(R),
) {
    let mut running = JoinSet::new();
    for seed in seeds {
        if running.len() as u64 >= AT_ONCE {
            take(running.join_next().await.expect("a task").expect("it ends"));
        }
        running.spawn(task(Rng::with_seed(seed)));
    }
    while let Some(done) = running.join_next().await {
        take(done.expect("it ends"));
    }
}

impl Sent {
    /// Sends what follows from these seeds to all listeners.
    async fn send(&mut self, edge: &Edge, seeds: Range<u64>) {
        for way in WAYS {
            let address = edge.address(way);
            let shape =
                |mut random: Rng| async move { Shape::generate(&mut random).send(address).await };
            for_seeds(seeds.clone(), shape, |status| {
                self.shapes += 1;
                *self.statuses.entry(status).or_default() += 1;
            })
            .await;
            edge.still_serves(&format!("{way}, HTTP/1, seeds {seeds:?}")).await;

            for kind in [Connection::of_resets, Connection::of_frames] {
                let connection = |mut random: Rng| async move {
                    let connection = kind(&mut random);
                    let is_answered = connection.send(address).await;
                    (connection.resets, connection.frames, is_answered)
                };
                let quarter = seeds.start..seeds.start + (seeds.end - seeds.start).div_ceil(4);
                for_seeds(quarter, connection, |(resets, frames, is_answered)| {
                    self.connections += 1;
                    self.answered += usize::from(is_answered);
                    self.resets += resets;
                    self.frames += frames;
                })
                .await;
            }
            edge.still_serves(&format!("{way}, HTTP/2, seeds {seeds:?}")).await;
        }
        let (wasm, native) = (edge.address("names"), edge.address("native-names"));
        let hello = |mut random: Rng| async move {
            let hello = hellos::generate(&mut random);
            let answer = hellos::send(&hello, wasm).await;
            assert_eq!(hellos::send(&hello, native).await, answer, "{hello:?}");
            answer
        };
        for_seeds(seeds.clone(), hello, |answer| {
            self.hellos += 1;
            self.named += usize::from(answer == "named");
        })
        .await;
        edge.still_serves(&format!("ClientHellos, seeds {seeds:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_do_no_harm() {
    let count = std::env::var(COUNT).ok().map(|count| count.parse().expect("a number"));
    let count: u64 = count.unwrap_or(DEFAULT_COUNT);
    let edge = Arc::new(Edge::start().await);
    edge.still_serves("the start").await;
    let mut sent = Sent::default();
    let mut before = 0;
    for half in [0..count / 2, count / 2..count] {
        before = edge.envoy.resident_memory() >> 20;
        for start in half.clone().step_by(BATCH) {
            sent.send(&edge, start..half.end.min(start + BATCH as u64)).await;
        }
    }
    let after = edge.envoy.resident_memory() >> 20;
    edge.is_not_steered();
    let arrived = edge.arrived();
    println!("{sent:#?}");
    println!("requests that arrived {}, copies {}", arrived.0, arrived.1);
    println!("traps {}", edge.envoy.traps().len());
    println!("memory after the first half {before} MiB, after all {after} MiB");
    // The generators must not only make requests that Envoy refuses.
    assert!(arrived.0 as u64 > count / 2, "{arrived:?}");
    assert!(sent.named > 0 && sent.named < sent.hellos, "{sent:?}");
    assert!(sent.resets as u64 > count && sent.answered > 0, "{sent:?}");
    assert!(after <= before + GROWTH, "{before} MiB, then {after} MiB");
}
