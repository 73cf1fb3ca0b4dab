//! What requests cost an Envoy: processor time per request, of variants that take turns.

use std::time::{Duration, Instant};

use sluice_e2e::{Client, Envoy, Request};
use tokio::task::JoinSet;

use crate::samples::median;

/// Rounds in which each variant has its turn.
pub const ROUNDS: usize = 9;
/// How long a turn is.
const TURN: Duration = Duration::from_millis(1500);
const CONNECTIONS: usize = 8;

/// One way to do it: an Envoy of its own, and a request to it.
pub struct Variant {
    /// How the table calls it
    pub name: &'static str,
    /// The Envoy whose time counts
    pub envoy: Envoy,
    /// Its listener
    pub client: Client,
    /// The request that is sent again and again
    pub request: fn(&Client) -> Request,
}

/// Microseconds of processor time per request, one for each round.
pub type Costs = Vec<f64>;

/// Measures all variants in turns.
pub async fn costs(variants: &[Variant]) -> Vec<Costs> {
    let mut costs = vec![Costs::new(); variants.len()];
    // One round to warm up, which does not count.
    for round in 0..=ROUNDS {
        for (variant, costs) in variants.iter().zip(&mut costs) {
            let cost = variant.cost().await;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    costs
}

impl Variant {
    async fn cost(&self) -> f64 {
        let before = self.envoy.processor_time();
        let end = Instant::now() + TURN;
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut connection = self.client.connect().await;
            let request = (self.request)(&self.client);
            connections.spawn(async move {
                let mut requests = 0u32;
                while Instant::now() < end {
                    assert_eq!(connection.send(request.clone()).await.status, 200);
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

/// Prints a row for each variant: its cost, and what it is more than that of the variant `base`, by the rounds.
pub fn print(variants: &[Variant], costs: &[Costs], base: usize) {
    println!("{:<44} {:>12} {:>16} {:>16}", "", "us a request", "more than first", "its quartiles");
    for (variant, own) in variants.iter().zip(costs) {
        let mut more: Vec<f64> =
            own.iter().zip(&costs[base]).map(|(own, base)| own - base).collect();
        let difference = median(&mut more);
        let quartiles = (more[ROUNDS / 4], more[ROUNDS - 1 - ROUNDS / 4]);
        let name = variant.name;
        let cost = median(&mut own.clone());
        println!(
            "{name:<44} {cost:>12.2} {difference:>+16.2} {:>7.2} .. {:<+5.2}",
            quartiles.0, quartiles.1
        );
    }
}
