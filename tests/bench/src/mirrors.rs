//! Cost of the mirror filter: compared with the router alone when nothing is copied, and with
//! Envoy's own mirroring.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Mirroring, Request, any_host};

use crate::load::{Variant, costs, print};

const RULES: usize = 10;

/// Rules with or without a mirror; the last one matches.
fn rules(mirror: Value) -> Value {
    let rule = |number: usize| {
        let mut rule = json!({
            "match": [{ "headers": { "x-rule": { "exact": number.to_string() } } }],
            "route": [{ "destination": { "host": "primary" } }],
        });
        for (name, value) in mirror.as_object().expect("fields") {
            rule[name] = value.clone();
        }
        rule
    };
    any_host((1..=RULES).map(rule).collect())
}

fn request(client: &Client) -> Request {
    client.get("/").header("x-rule", RULES.to_string()).header("x-sluice-cluster", "primary")
}

async fn variant(name: &'static str, bootstrap: Bootstrap, listener: Listener) -> Variant {
    let envoy = Envoy::start(&bootstrap.listener(listener)).await;
    let client = envoy.listener("edge");
    Variant { name: name.to_owned(), envoy, client, request }
}

/// Measures and prints the tables.
pub async fn run() {
    decisions().await;
    copies().await;
}

/// Envoy answers by itself, so that only the filters differ.
async fn decisions() {
    let all = rules(json!({ "mirror": { "host": "copy" } }));
    let some = rules(json!({ "mirror": { "host": "copy" }, "mirrorPercentage": { "value": 0 } }));
    let edge = || Listener::new("edge").direct_response();
    let variants = [
        variant("no filter", Bootstrap::new(), edge()).await,
        variant("router.wasm", Bootstrap::new(), edge().plugin(&all)).await,
        variant("mirror.wasm, not sampled", Bootstrap::new(), edge().mirror(&some)).await,
        variant("mirror.wasm, all requests", Bootstrap::new(), edge().mirror(&all)).await,
    ];
    println!(
        "Processor time of Envoy for a request that it answers itself, {RULES} rules, the last one matches:\n"
    );
    print(&variants, &costs(&variants).await, 0);
}

/// The original and the copy go to another Envoy, whose time does not count.
async fn copies() {
    let upstreams = Bootstrap::new()
        .listener(Listener::new("primary").direct_response())
        .listener(Listener::new("copy").direct_response());
    let upstreams = Envoy::start(&upstreams).await;
    let clusters = || {
        Bootstrap::new()
            .cluster("primary", &[upstreams.listener("primary").address()])
            .cluster("copy", &[upstreams.listener("copy").address()])
    };
    let all = rules(json!({ "mirror": { "host": "copy" } }));
    let edge = || Listener::new("edge");
    let by_route = Mirroring::ByRoute(vec![vec![(0, "copy")]]);
    let variants = [
        variant("Envoy's own", clusters(), edge().mirroring(Mirroring::Native("copy", 100))).await,
        variant("mirror.wasm, by route", clusters(), edge().mirroring(by_route).mirror(&all)).await,
        variant(
            "mirror.wasm, by header",
            clusters(),
            edge().mirroring(Mirroring::ByHeader(1)).mirror(&all),
        )
        .await,
    ];
    println!("\nProcessor time of Envoy for a request that is forwarded and copied:\n");
    let costs = costs(&variants).await;
    print(&variants, &costs, 0);
    for variant in &variants {
        let copies = variant.envoy.stat("cluster.copy.upstream_rq_total").await;
        let originals = variant.envoy.stat("cluster.primary.upstream_rq_total").await;
        println!("{}: {originals} originals, {copies} copies", variant.name);
    }
}
