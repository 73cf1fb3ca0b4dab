//! What a decision costs by the number of rules, as native code, and how long a document takes to compile.
//!
//!     cargo run --release -p sluice-policy --example matching
//!     valgrind --tool=callgrind target/release/examples/matching header 10000 1000
//!
//! Without arguments: a table. With a kind of rules, their number and a number of decisions: only these
//! decisions, to be counted from outside. Of the rules, the last one matches.

// The document is known, and there is nobody to tell an error to.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::time::Instant;

use sluice_policy::request::header_map;
use sluice_policy::request::{Attributes, Draws, Request};
use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

const KINDS: [&str; 4] = ["header", "prefix", "host", "regex"];
const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// Decisions that are timed together.
const BATCH: u32 = 20_000;

struct Nothing;

impl Attributes for Nothing {
    fn destination_port(&self) -> Option<u16> {
        None
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        None
    }

    fn claim(&self, _: &[String]) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

impl Draws for Nothing {
    fn draw(&mut self) -> u64 {
        0
    }
}

/// A document of `count` rules.
fn document(kind: &str, count: usize) -> String {
    let route = r#""route": [{"destination": {"host": "primary"}}]"#;
    let rule = |number: usize| {
        let condition = match kind {
            "header" => format!(r#""headers": {{"x-rule": {{"exact": "{number}"}}}}"#),
            "prefix" => format!(r#""uri": {{"prefix": "/service/{number}/"}}"#),
            _ => format!(r#""uri": {{"regex": "/service/{number}/[a-z]+"}}"#),
        };
        format!(r#"{{"match": [{{{condition}}}], {route}}}"#)
    };
    let numbers = 1..=count;
    let services: Vec<String> = match kind {
        "host" => numbers
            .map(|number| format!(r#"{{"hosts": ["h{number}.com"], "http": [{{{route}}}]}}"#))
            .collect(),
        _ => {
            let rules: Vec<_> = numbers.map(rule).collect();
            vec![format!(r#"{{"hosts": ["h{count}.com"], "http": [{}]}}"#, rules.join(","))]
        }
    };
    format!(r#"{{"clusterName": "{{host}}", "virtualServices": [{}]}}"#, services.join(","))
}

/// The headers of a browser's request that the last of `count` rules matches.
fn headers(count: usize) -> Vec<u8> {
    let (host, path, rule) =
        (format!("h{count}.com"), format!("/service/{count}/list?page=2"), count.to_string());
    let headers = [
        (":authority", host.as_str()),
        (":path", &path),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br"),
        ("cookie", "uid=1234567; theme=dark"),
        ("x-rule", &rule),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "5b2d7f6e-6a1f-4c39-9a53-3d5b2f0c1e77"),
    ];
    header_map::encode(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn decide(router: &Router, headers: &[u8], times: u32) {
    for _ in 0..times {
        let request = Request::of_encoded(black_box(headers), &Nothing);
        let decision = router.route(&request, &mut Nothing);
        assert!(decision.reply.is_none(), "a rule matches");
        black_box(decision);
    }
}

fn compile(document: &str) -> Router {
    Router::compile(document.as_bytes(), &NoMetadata).expect("a valid document").0
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, count, times] = arguments.as_slice() {
        let count = count.parse().expect("a number of rules");
        let router = compile(&document(kind, count));
        return decide(&router, &headers(count), times.parse().expect("a number of decisions"));
    }
    println!("{:<8} {:>8} {:>12} {:>14}", "rules", "", "compile, ms", "decision, ns");
    for kind in KINDS {
        for count in COUNTS {
            // Each pattern takes about 10 KB.
            if kind == "regex" && count > 10_000 {
                continue;
            }
            let document = document(kind, count);
            let start = Instant::now();
            let router = compile(&document);
            let compiling = start.elapsed().as_secs_f64() * 1e3;
            let headers = headers(count);
            // The shortest of some: what else the machine does only adds to it.
            let batches = (0..7).map(|_| {
                let start = Instant::now();
                decide(&router, &headers, BATCH);
                start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
            });
            let decision = batches.fold(f64::INFINITY, f64::min);
            println!("{kind:<8} {count:>8} {compiling:>12.1} {decision:>14.0}");
        }
    }
}
