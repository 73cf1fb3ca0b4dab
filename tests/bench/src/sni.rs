//! Cost of the sni filter: reading a ClientHello, and finding its route among few and many.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_conformance::Client;
use sluice_e2e::{Bootstrap, Envoy, plugin};
use sluice_policy::request::Draws;
use sluice_policy::request::client_hello::ClientHello;
use sluice_policy::request::connection::Connection;
use sluice_policy::sni::{Outcome, SniPolicy};
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;
use sluice_progress::steps;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: usize = 21;
const CONNECTIONS: usize = 1_000;
/// Number of concurrent connections, high enough to keep Envoy busy.
const BATCH: usize = 50;
/// Number of consecutive calls in a measurement without Envoy.
const REPETITIONS: usize = 200_000;
const MAX: usize = 1 << 16;
/// Size of the ClientHello in bytes.
const HELLO: usize = 600;

/// Measures and prints the table.
pub async fn run() {
    println!("Processor time in us, medians of {ROUNDS} rounds.\n\nNative code, no Envoy:\n");
    let hello = hello("host-7.example.com");
    for (title, bytes) in [
        ("a ClientHello of 600 bytes", hello.as_slice()),
        ("curl's, 517 bytes", include_bytes!("../../conformance/client_hellos/curl.bin")),
        ("Chromium's, 1,928 bytes", include_bytes!("../../conformance/client_hellos/chromium.bin")),
    ] {
        let time = median(|| repeat(|| drop(black_box(ClientHello::parse(black_box(bytes), MAX)))));
        println!("  {title:<44} {time:>8.3}");
    }
    for size in [10, 10_000] {
        let text = document(size, &json!({})).to_string();
        let (policy, _) = SniPolicy::compile(text.as_bytes(), &NoMetadata).unwrap();
        let names: Vec<String> = (0..size).map(|n| name(n.wrapping_mul(7919) % size)).collect();
        let time = median(|| {
            let mut names = names.iter().cycle();
            repeat(|| {
                let name = names.next().unwrap();
                let opening = policy.open(Some(black_box(name.as_bytes())), &Nothing, &mut Nothing);
                assert_eq!(opening.outcome, Outcome::Routed);
            })
        });
        println!("  {:<44} {time:>8.3}", format!("the route of a connection among {size}"));
    }

    println!(
        "\nEnvoy, for each of {CONNECTIONS} connections with a ClientHello of {HELLO} bytes:\n"
    );
    let settings = [
        ("10 routes, the ClientHello is not read", 10, json!({ "ech": "outerName" })),
        ("10 routes, the ClientHello is read", 10, json!({})),
        ("10,000 routes, the ClientHello is read", 10_000, json!({})),
    ];
    let mut bootstrap = Bootstrap::new();
    for (title, size, settings) in &settings {
        bootstrap = bootstrap.raw_listener(listener(title, &document(*size, settings)));
    }
    let envoy = Envoy::start(&bootstrap).await;
    let mut rounds = settings.each_ref().map(|_| Vec::new());
    for round in steps("sni", "rounds", 0..=ROUNDS) {
        for (samples, (title, ..)) in rounds.iter_mut().zip(&settings) {
            let before = envoy.processor_time();
            connections(&envoy, title, &hello).await;
            // The first round is a warm-up.
            if round > 0 {
                samples.push(micros(envoy.processor_time() - before, CONNECTIONS));
            }
        }
    }
    for (samples, (title, ..)) in rounds.iter().zip(&settings) {
        println!("  {title:<44} {:>8.2}", middle(samples.clone()));
    }
    assert!(envoy.traps().is_empty(), "{:?}", envoy.traps());
    // Checks that the measured connections had the intended outcome.
    let all = ((ROUNDS + 1) * CONNECTIONS) as u64;
    let routed = envoy.stat("wasmcustom.sluice.sni.routed").await;
    let matched = envoy.stat("wasmcustom.sluice.sni.snis_match").await;
    assert_eq!((routed, matched), (3 * all, 2 * all));
    println!(
        "\nGoals: less than 5 us for the ClientHello, less than 2 us more with 10,000 names than with 10."
    );
}

fn name(number: usize) -> String {
    format!("host-{number}.example.com")
}

/// A ClientHello with padding up to the size.
fn hello(name: &str) -> Vec<u8> {
    let with_padding = |padding| {
        let sni = Some(name.to_owned());
        Client { sni, padding: Some(padding), ..Client::default() }.bytes()
    };
    let padding = HELLO - with_padding(0).len();
    with_padding(u16::try_from(padding).unwrap())
}

/// A document with one route for each of `size` names.
fn document(size: usize, settings: &Value) -> Value {
    let route = |number: usize| {
        json!({
            "match": [{ "sniHosts": [name(number)] }],
            "route": [{ "destination": { "host": "echo" } }],
        })
    };
    let routes: Vec<_> = (0..size).map(route).collect();
    json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*.example.com"], "tls": routes }],
        "sni": settings,
    })
}

/// A listener that echoes the bytes that the filter forwards.
fn listener(name: &str, document: &Value) -> Value {
    let inspector =
        "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    let mut filter = plugin("network", "sni", name, &document.to_string());
    // Separate VMs, so that the variants do not share memory.
    filter["typed_config"]["config"]["vm_config"]["vm_id"] = name.into();
    json!({
        "name": name,
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": { "@type": inspector },
        }],
        "filter_chains": [{ "filters": [
            filter,
            {
                "name": "envoy.filters.network.echo",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" },
            },
        ] }],
    })
}

async fn connections(envoy: &Envoy, listener: &str, hello: &[u8]) {
    let address = envoy.listener(listener).address();
    for _ in 0..CONNECTIONS / BATCH {
        let mut streams = Vec::new();
        for _ in 0..BATCH {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(hello).await.unwrap();
            streams.push(stream);
        }
        for mut stream in streams {
            let mut echo = vec![0; hello.len()];
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(echo, hello);
        }
    }
}

/// A connection without attributes, and draws that are not used.
struct Nothing;

impl Connection for Nothing {
    fn destination_ip(&self) -> Option<IpAddr> {
        None
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        None
    }
}

impl Draws for Nothing {
    fn draw(&mut self) -> u64 {
        0
    }
}

fn repeat(mut action: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..REPETITIONS).for_each(|_| action());
    micros(start.elapsed(), REPETITIONS)
}

fn median(mut round: impl FnMut() -> f64) -> f64 {
    middle((0..ROUNDS).map(|_| round()).collect())
}

fn middle(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}
