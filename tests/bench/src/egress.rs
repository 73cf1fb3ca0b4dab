//! Cost of a decision of the egress filter, with few and with many registered hosts.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Connection, Envoy, plugin};
use sluice_policy::egress::Egress;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;
use sluice_progress::steps;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client_hello::client_hello;

/// Numbers of registered hosts.
const SIZES: [usize; 2] = [10, 10_000];
/// Many short rounds, so that other load on the machine affects both sizes equally.
const ROUNDS: usize = 151;
const REQUESTS: usize = 400;
const CONNECTIONS: usize = 100;
/// Number of concurrent requests or connections, high enough to keep Envoy busy.
const BATCH: usize = 50;
/// Number of consecutive decisions in a measurement without Envoy.
const DECISIONS: usize = 20_000;
/// Size of the ClientHellos in bytes.
const HELLO: usize = 600;
/// Goal: maximum additional cost of a decision with the most hosts compared with the fewest, in us.
const GOAL: f64 = 2.0;

/// Names of the requests.
#[derive(Clone, Copy)]
enum Name {
    Exact,
    Wildcard,
    Unknown,
}

impl Name {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Exact, "a registered name"),
        (Self::Wildcard, "a name below a wildcard"),
        (Self::Unknown, "an unknown name"),
    ];

    /// Returns a registered name for each number, in a registry of this size.
    fn of(self, number: usize, size: usize) -> String {
        // The order is scattered, so that caches do not help more than in production.
        let number = number.wrapping_mul(7919) % (size / 2);
        match self {
            Self::Exact => format!("host-{number}.registered.example.com"),
            Self::Wildcard => format!("www.wild-{number}.example.com"),
            Self::Unknown => format!("host-{number}.unknown.example.com"),
        }
    }
}

/// Measures and prints the tables.
pub async fn run() {
    println!(
        "Processor time of Envoy, in us: medians of {ROUNDS} rounds in turn, {REQUESTS} requests or {CONNECTIONS} connections each.\n\
         Half of the hosts are names, half are wildcards.\n"
    );
    println!("{:<42} {:>10} {:>10} {:>12}   goal", "", "10 hosts", "10,000", "difference");
    for (name, title) in Name::ALL {
        print(&format!("decision alone, {title}"), &decisions(name));
    }
    for (kind, per_round) in [("http", REQUESTS), ("network", CONNECTIONS)] {
        let mut bootstrap = Bootstrap::new();
        for size in SIZES {
            bootstrap = bootstrap.wildcard_listener(listener(kind, size));
        }
        let envoy = Envoy::start(&bootstrap).await;
        for (name, title) in Name::ALL {
            let mut rounds = [Vec::new(), Vec::new()];
            let mut open = [Vec::new(), Vec::new()];
            if kind == "http" {
                for (open, size) in open.iter_mut().zip(SIZES) {
                    for _ in 0..BATCH {
                        open.push(envoy.listener(&size.to_string()).connect().await);
                    }
                }
            }
            for round in steps(title, "rounds", 0..=ROUNDS) {
                // Alternates which size is first.
                let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
                for index in order {
                    let size = SIZES[index];
                    let client = envoy.listener(&size.to_string());
                    let before = envoy.processor_time();
                    match kind {
                        "http" => {
                            let idle = std::mem::take(&mut open[index]);
                            open[index] = requests(idle, &client, name, size, per_round).await;
                        }
                        _ => connections(&client, name, size, per_round).await,
                    }
                    // The first round is a warm-up.
                    if round > 0 {
                        rounds[index].push(micros(envoy.processor_time() - before, per_round));
                    }
                }
            }
            let what = if kind == "http" { "request" } else { "connection" };
            print(&format!("{what}, {title}"), &rounds);
        }
        assert!(envoy.traps().is_empty(), "{:?}", envoy.traps());
        // Checks the measurement: with each size, two of three names were known.
        let known = envoy.stat("wasmcustom.sluice.egress.known").await;
        let unknown = envoy.stat("wasmcustom.sluice.egress.unknown_name").await;
        let all = (SIZES.len() * (ROUNDS + 1) * per_round) as u64;
        assert_eq!((known, unknown), (2 * all, all));
    }
    println!("\nGoal: less than {GOAL} us more with 10,000 hosts than with 10.");
}

/// Prints the medians of the rounds, and the median of the differences per round.
fn print(title: &str, [few, many]: &[Vec<f64>; 2]) {
    let difference = median(many.iter().zip(few).map(|(many, few)| many - few).collect());
    let verdict = if difference < GOAL { "within" } else { "MISSED" };
    let [few, many] = [few, many].map(|rounds| median(rounds.clone()));
    println!("{title:<42} {few:>10.2} {many:>10.2} {difference:>+12.2}   {verdict}");
}

/// A registry of this size: half of the hosts are names, half are wildcards.
fn document(size: usize) -> Value {
    let mut entries = Vec::new();
    for number in 0..size / 2 {
        let port = json!([{ "number": 443, "name": "any" }]);
        entries.push(
            json!({ "hosts": [format!("host-{number}.registered.example.com")], "ports": port }),
        );
        entries.push(json!({ "hosts": [format!("*.wild-{number}.example.com")], "ports": port }));
    }
    json!({
        "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" },
        "serviceEntries": entries,
        "egress": { "port": 443 },
    })
}

/// A listener with a registry of this size that answers all allowed requests itself.
fn listener(kind: &str, size: usize) -> Value {
    let name = size.to_string();
    let mut filter = plugin(kind, "egress", &name, &document(size).to_string());
    // Separate VMs, so that the two do not share memory.
    filter["typed_config"]["config"]["vm_config"]["vm_id"] = name.into();
    let filters = match kind {
        "http" => json!([{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "egress",
                "http_filters": [filter, {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    },
                }],
                "route_config": { "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" }, "direct_response": { "status": 200 },
                    }],
                }] },
            },
        }]),
        _ => json!([filter, {
            "name": "envoy.filters.network.direct_response",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config",
                "response": { "inline_string": "hello" },
            },
        }]),
    };
    json!({
        "name": size.to_string(),
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            },
        }],
        "filter_chains": [{ "filters": filters }],
    })
}

/// Sends requests on these connections, on each one after the other. Uses HTTP/1.1, because HTTP/2
/// compresses repeated hosts, which are more frequent when fewer are registered.
async fn requests(
    connections: Vec<Connection>,
    client: &Client,
    name: Name,
    size: usize,
    count: usize,
) -> Vec<Connection> {
    let expected = if matches!(name, Name::Unknown) { 502 } else { 200 };
    let each = count / connections.len();
    let mut tasks = JoinSet::new();
    for (index, mut connection) in connections.into_iter().enumerate() {
        let client = client.clone();
        tasks.spawn(async move {
            for number in index * each..(index + 1) * each {
                let request = client.get("/").host(&name.of(number, size));
                assert_eq!(connection.send(request).await.status, expected);
            }
            connection
        });
    }
    tasks.join_all().await
}

/// Opens connections in batches, each with a ClientHello in one piece.
async fn connections(client: &Client, name: Name, size: usize, count: usize) {
    let expected: &[u8] = if matches!(name, Name::Unknown) { b"" } else { b"hello" };
    for batch in 0..count / BATCH {
        let mut streams = Vec::new();
        for number in batch * BATCH..(batch + 1) * BATCH {
            // One source address does not have enough ports for all connections.
            let last = 1 + u8::try_from(number % 200).expect("less than 200");
            let address = (Ipv4Addr::new(127, 0, 0, last), client.address().port());
            let mut stream = TcpStream::connect(address).await.unwrap();
            let hello = client_hello(&name.of(number, size), HELLO);
            stream.write_all(&hello).await.unwrap();
            streams.push(stream);
        }
        for mut stream in streams {
            let mut answer = Vec::new();
            // Connections with unknown names are reset.
            let _ = stream.read_to_end(&mut answer).await;
            assert_eq!(answer, expected);
        }
    }
}

/// Measures only the decisions, as native code without Envoy and WebAssembly, in us. Returns the
/// rounds with few and with many hosts.
fn decisions(name: Name) -> [Vec<f64>; 2] {
    let policies = SIZES.map(|size| {
        let document = document(size).to_string();
        Egress::compile(document.as_bytes(), &NoMetadata).unwrap().0
    });
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((samples, size), policy) in rounds.iter_mut().zip(SIZES).zip(&policies) {
            let names: Vec<String> = (0..size).map(|number| name.of(number, size)).collect();
            let start = Instant::now();
            for name in names.iter().cycle().take(DECISIONS) {
                black_box(policy.connection(black_box(name.as_bytes()), None));
            }
            samples.push(micros(start.elapsed(), DECISIONS));
        }
    }
    rounds
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
