//! The modules that are HTTP filters.

use serde_json::{Value, json};
use sluice_e2e::{Answer, Received, Upstream, any_host};

use crate::compare;
use crate::observe::Observer;
use crate::variants::{Variant, cluster, of, start};

/// The counter of copies that are compared.
const COMPARED: &str = "wasmcustom.sluice.mirror.compare_match";
/// The histogram of delays.
const DELAYS: &str = "sluice_fault_delay";
/// The histograms of the times of copies.
const TIMES: &str = "sluice_mirror_compare_DIFFERENCE";

fn primary() -> Value {
    json!([{ "destination": { "host": "primary" } }])
}

/// Rules that need every host call of the router filter.
fn routes() -> Vec<Value> {
    vec![
        json!({ "match": [{ "uri": { "prefix": "/redirect" } }], "redirect": { "uri": "/new" } }),
        json!({
            // An attribute of the proxy.
            "match": [{ "uri": { "prefix": "/labels" }, "sourceLabels": { "app": "edge" } }],
            "directResponse": { "status": 418 },
        }),
        json!({
            "headers": {
                "request": { "add": { "x-a": "1" }, "set": { "x-b": "2" }, "remove": ["x-c"] },
            },
            "route": primary(),
        }),
    ]
}

async fn see_routes(observer: &mut Observer<'_>) {
    observer.get("/redirect").await;
    observer.get("/labels").await;
    observer.send("GET", "/edits", &[("x-a", "0"), ("x-b", "0"), ("x-c", "0")]).await;
}

/// Rules that need every host call of the fault filter.
fn faults() -> Vec<Value> {
    let all = json!({ "value": 100 });
    let rule = |path: &str, fault: Value| {
        let path = json!([{ "uri": { "prefix": path } }]);
        json!({ "match": path, "fault": fault, "route": primary() })
    };
    vec![
        rule("/delay", json!({ "delay": { "fixedDelay": "50ms", "percentage": all } })),
        json!({
            // An attribute of the proxy.
            "match": [{ "uri": { "prefix": "/abort" }, "sourceLabels": { "app": "edge" } }],
            "fault": { "abort": { "httpStatus": 418, "percentage": all } },
            "route": primary(),
        }),
        rule("/reset", json!({ "reset": { "afterBytes": 1, "percentage": all } })),
    ]
}

async fn see_faults(observer: &mut Observer<'_>) {
    for path in ["/delay", "/abort", "/reset"] {
        observer.get(path).await;
    }
}

/// Settings by which the mirror filter sends the copies and compares the responses.
fn comparing() -> Value {
    json!({
        "compare": { "statuses": true, "bodyHash": true, "timeout": "5s" },
        "budget": { "requests": 100, "window": "1s" },
    })
}

/// The upstreams `primary` and `copy`, and the clusters of these names.
fn upstreams() -> ([Upstream; 2], Vec<Value>) {
    let answer = |received: &Received| Answer {
        body: received.path.starts_with("/mirror").then_some("the same"),
        ..Answer::default()
    };
    let upstreams = ["primary", "copy"].map(|name| Upstream::answering(name, answer));
    let names = ["primary", "copy"].iter().zip(&upstreams);
    let clusters = names.map(|(name, upstream)| cluster(name, &[upstream.address()]));
    let clusters = clusters.collect();
    (upstreams, clusters)
}

/// One Envoy with all variants of a module that has this document.
async fn run(
    module: &'static str,
    document: &Value,
    clusters: &[(&str, &str)],
    requests: impl AsyncFn(&mut Observer<'_>),
) {
    let (_upstreams, all) = upstreams();
    let variants = of(module);
    let listener =
        |variant: &Variant| variant.listener(variant.plugin("http", "", document), clusters);
    let (envoy, _files) = start(variants.iter().map(listener).collect(), all).await;
    compare(&envoy, &variants, requests).await;
}

#[tokio::test]
async fn the_router_needs_each_call() {
    let document = any_host(routes().into());
    run("router", &document, &[], async |observer| {
        observer.count(&[], see_routes).await;
    })
    .await;
}

#[tokio::test]
async fn the_fault_filter_needs_each_call() {
    let document = any_host(faults().into());
    run("fault", &document, &[("/", "primary")], async |observer| {
        observer.count(&[DELAYS], see_faults).await;
    })
    .await;
}

#[tokio::test]
async fn the_mirror_filter_needs_each_call() {
    let mut document = any_host(json!([{ "mirror": { "host": "copy" }, "route": primary() }]));
    document["mirroring"] = comparing();
    run("mirror", &document, &[("/", "primary")], async |observer| {
        observer
            .count(&[COMPARED, TIMES], async |observer| {
                observer.get("/mirror").await;
                // Requests with other methods are not compared: Envoy makes their copies.
                observer.send("POST", "/other", &[("x-sluice-mirror-1", "other")]).await;
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn the_bundle_needs_each_call() {
    let mut rules = faults();
    rules.push(json!({
        "match": [{ "uri": { "prefix": "/mirror" } }],
        "mirror": { "host": "copy" },
        "route": primary(),
    }));
    rules.extend(routes());
    let mut document = any_host(rules.into());
    document["mirroring"] = comparing();
    run("sluice", &document, &[], async |observer| {
        observer
            .count(&[COMPARED, DELAYS, TIMES], async |observer| {
                observer.get("/mirror").await;
                see_faults(observer).await;
                see_routes(observer).await;
            })
            .await;
    })
    .await;
}
