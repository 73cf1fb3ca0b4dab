//! One Envoy with hundreds of VirtualServices, on a listener for each side.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Connection, Envoy, Listener, Mirroring, Upstream, exchange};
use tokio::task::JoinSet;

use crate::case::{Case, PORT, Sent};
use crate::native;
use crate::observe::{Arrival, Seen, answer, arrival, see};
use crate::words::{CLUSTERS, MIRRORS};

/// A way to carry out VirtualServices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Envoy's own routes and filters
    Native,
    /// `fault.wasm`, `mirror.wasm` and `router.wasm`
    Modules,
    /// `sluice.wasm`
    Bundle,
    /// `libsluice.so`
    DynamicModule,
}

/// A request with the number of its case.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The index of the case
    pub case: usize,
    /// The request
    pub sent: Sent,
}

/// What became of a request on each side.
pub type Results = BTreeMap<Side, Seen>;

/// A running Envoy with its upstreams.
pub struct World {
    envoy: Envoy,
    upstreams: Vec<(&'static str, Upstream)>,
    sides: Vec<Side>,
}

/// Requests at the same time.
const CONCURRENCY: usize = 16;

impl Side {
    /// The name, also of its listener.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Modules => "modules",
            Self::Bundle => "sluice.wasm",
            Self::DynamicModule => "libsluice.so",
        }
    }

    fn listener(self, cases: &[Case]) -> Listener {
        let listener = Listener::new(self.name()).normalized_paths();
        let document = document(cases);
        let filtered = match self {
            Self::Native => {
                let listener = listener.envoy_routes(native::route_configuration(cases));
                return native::filters().into_iter().fold(listener, Listener::first);
            }
            Self::Modules => listener.fault(&document).mirror(&document).plugin(&document),
            Self::Bundle => listener.bundle(&document),
            Self::DynamicModule => listener.bundle(&document).native(),
        };
        filtered.mirroring(Mirroring::ByHeader(MIRRORS))
    }
}

/// The document of the filters, with the VirtualServices as they are.
fn document(cases: &[Case]) -> Value {
    let services: Vec<_> = cases.iter().map(|case| &case.spec).collect();
    json!({
        "clusterName": "{host}[-{subset}]",
        "proxy": { "port": PORT },
        "virtualServices": services,
    })
}

impl World {
    /// Starts an Envoy with these cases.
    ///
    /// # Errors
    /// Why Envoy refuses one of them.
    pub async fn start(cases: &[Case], sides: &[Side]) -> Result<Self, String> {
        let upstreams: Vec<_> =
            CLUSTERS.iter().map(|name| (*name, Upstream::answering(name, answer))).collect();
        let mut bootstrap = Bootstrap::new();
        for (name, upstream) in &upstreams {
            bootstrap = bootstrap.cluster(name, &[upstream.address()]);
        }
        for side in sides {
            bootstrap = bootstrap.listener(side.listener(cases));
        }
        let envoy = Envoy::try_start(&bootstrap).await.map_err(|failure| errors(&failure.log))?;
        Ok(Self { envoy, upstreams, sides: sides.to_vec() })
    }

    /// Sends all requests to all sides, and returns what became of them. Each call needs a `round`
    /// of its own.
    pub async fn fire(&self, shots: &Arc<Vec<Shot>>, round: usize) -> Vec<Results> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..CONCURRENCY {
            let clients: Vec<_> =
                self.sides.iter().map(|side| self.envoy.listener(side.name())).collect();
            let sides = self.sides.iter().copied().zip(clients).collect();
            tasks.spawn(work(sides, shots.clone(), next.clone(), round));
        }
        let mut results = vec![Results::new(); shots.len()];
        while let Some(done) = tasks.join_next().await {
            for (index, side, seen) in done.expect("the task ends") {
                results[index].insert(side, seen);
            }
        }
        let mut arrivals = self.arrivals().await;
        for (index, results) in results.iter_mut().enumerate() {
            for (side, seen) in results {
                seen.arrivals = arrivals.remove(&id(round, index, *side)).unwrap_or_default();
                seen.arrivals.sort();
            }
        }
        results
    }

    /// All that the upstreams have received, when nothing arrives any more: copies and retries may
    /// come after the response.
    async fn arrivals(&self) -> HashMap<String, Vec<Arrival>> {
        let mut known = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let received: Vec<_> =
                self.upstreams.iter().map(|(name, own)| (*name, own.received(""))).collect();
            let count = received.iter().map(|(_, own)| own.len()).sum();
            if count != known {
                known = count;
                continue;
            }
            let mut arrivals: HashMap<String, Vec<Arrival>> = HashMap::new();
            for (name, received) in received {
                for (id, arrival) in received.into_iter().filter_map(|own| arrival(name, own)) {
                    arrivals.entry(id).or_default().push(arrival);
                }
            }
            return arrivals;
        }
    }

    /// Sends bytes to a side, and returns the response and the only request with this id at an
    /// upstream.
    pub async fn exchange(&self, side: Side, bytes: &[u8], id: &str) -> (String, Option<Arrival>) {
        let response = exchange(self.envoy.listener(side.name()).address(), bytes).await;
        (response, self.arrivals().await.remove(id).and_then(|mut all| all.pop()))
    }

    /// The log lines about panics and traps of modules.
    pub fn traps(&self) -> Vec<String> {
        self.envoy.traps()
    }
}

/// The lines of a log after the warnings that Envoy has for each route.
fn errors(log: &str) -> String {
    let is_error = |line: &&str| !line.contains("[warning]") && !line.contains("[info]");
    log.lines().filter(is_error).collect::<Vec<_>>().join("\n")
}

fn id(round: usize, index: usize, side: Side) -> String {
    format!("{round}-{index}-{}", side.name())
}

/// Sends requests until there are none left.
async fn work(
    sides: Vec<(Side, Client)>,
    shots: Arc<Vec<Shot>>,
    next: Arc<AtomicUsize>,
    round: usize,
) -> Vec<(usize, Side, Seen)> {
    let mut connections: Vec<Option<Connection>> = sides.iter().map(|_| None).collect();
    let mut all = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(shot) = shots.get(index) else { return all };
        for ((side, client), connection) in sides.iter().zip(&mut connections) {
            let seen = see(client, connection, &shot.sent, &id(round, index, *side)).await;
            all.push((index, *side, seen));
        }
    }
}
