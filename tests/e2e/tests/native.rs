//! The dynamic module `libsluice.so`: what is not the same as in a wasm module. The other suites
//! run against it with `ATTACH=native`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, any_host, native, until};
use tokio::task::JoinSet;

const ACTIVE: &str = "wasmcustom.sluice.fault.active_faults";

fn to(cluster: &str) -> Value {
    json!([{ "destination": { "host": cluster } }])
}

/// A rule that delays each request.
fn delayed(delay: &str) -> Value {
    let fault = json!({ "delay": { "fixedDelay": delay, "percentage": { "value": 100 } } });
    any_host(json!([{ "fault": fault, "route": to("service") }]))
}

async fn start(document: &Value, workers: u32) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("service");
    let bootstrap = Bootstrap::new()
        .cluster("service", &[upstream.address()])
        .listener(Listener::new("edge").bundle(document).native())
        .dynamic_listeners()
        .workers(workers);
    (Envoy::start(&bootstrap).await, upstream)
}

/// Returns the log of an Envoy that does not start with a listener.
async fn refusal(listener: Listener) -> String {
    let bootstrap = Bootstrap::new().listener(listener);
    Envoy::try_start(&bootstrap).await.err().expect("Envoy does not start").log
}

#[tokio::test]
async fn documents_that_need_a_wasm_module_are_refused() {
    let rule = |condition: Value| {
        let mut document = any_host(json!([{ "match": [condition], "route": to("service") }]));
        document["virtualServices"][0]["gateways"] = json!(["edge"]);
        document
    };
    let claim = json!({ "headers": { "@request.auth.claims.group": { "exact": "a" } } });
    let mut compared = any_host(json!([{ "route": to("service"), "mirror": { "host": "copy" } }]));
    compared["mirroring"] = json!({ "compare": { "statuses": true } });
    let empty = json!({ "request": { "set": { "x-a": "" } } });
    let cases = [
        (
            rule(claim),
            r#"headers["@request.auth.claims.group"]: cannot be read by a dynamic module"#,
        ),
        (rule(json!({ "sourceLabels": { "app": "a" } })), "sourceLabels: needs proxy.labels"),
        (rule(json!({ "sourceNamespace": "a" })), "sourceNamespace: needs proxy.namespace"),
        (compared, "mirroring.compare: needs the extension `calls` of the dynamic module"),
        (
            any_host(json!([{ "route": to("service"), "headers": empty }])),
            "headers.request.set.x-a: cannot be empty in a dynamic module",
        ),
    ];
    for (document, error) in cases {
        let log = refusal(Listener::new("edge").bundle(&document).native()).await;
        assert!(log.contains(error), "{error}\n{log}");
    }
}

/// Only the outlier filter itself refuses them: `outlier.wasm` may be in the cluster.
#[tokio::test]
async fn documents_by_which_the_outlier_filter_ejects_hosts_are_refused() {
    let service = Upstream::echo("service");
    let document = |detection: Value| {
        let mut document = any_host(json!([{ "route": to("service") }]));
        document["destinationRules"] =
            json!([{ "host": "service", "trafficPolicy": { "outlierDetection": detection } }]);
        document
    };
    let mut enforced = document(json!({}));
    enforced["outlier"] = json!({ "enforcement": "filter" });
    let cases = [
        (document(json!({ "halfOpen": {} })), "outlierDetection.halfOpen: cannot be carried out"),
        (enforced, "outlier.enforcement: cannot be filter in a dynamic module; use outlier.wasm"),
    ];
    for (document, error) in cases {
        let bootstrap = |document| {
            let listener = Listener::new("edge").bundle(document).native();
            Bootstrap::new().cluster("service", &[service.address()]).listener(listener)
        };
        let refused = bootstrap(&document).native_upstream_plugin("outlier", &document);
        let log = Envoy::try_start(&refused).await.err().expect("Envoy does not start").log;
        assert!(log.contains(error), "{error}\n{log}");
        let envoy = Envoy::start(&bootstrap(&document)).await;
        assert_eq!(envoy.listener("edge").get("/").send().await.status, StatusCode::OK);
    }
}

/// The route of an attempt is fixed, and Envoy 1.38 crashes if a module tries to change it.
#[tokio::test]
async fn filters_in_a_cluster_edit_requests() {
    let service = Upstream::echo("service");
    let headers = json!({ "request": { "set": { "x-edited": "yes" } } });
    let document = any_host(json!([{ "route": to("service"), "headers": headers }]));
    let bootstrap = Bootstrap::new()
        .cluster("service", &[service.address()])
        .native_upstream_plugin("router", &document)
        .listener(Listener::new("edge").cluster("service"));
    let envoy = Envoy::start(&bootstrap).await;
    for _ in 0..3 {
        assert_eq!(envoy.listener("edge").get("/").send().await.status, StatusCode::OK);
    }
    let received = service.received("/");
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|request| request.header("x-edited") == ["yes"]), "{received:?}");
}

#[tokio::test]
async fn a_filter_that_the_module_does_not_have_is_refused() {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {},
        "http_filters": [native("roter", "{}")],
    });
    let filter = json!({
        "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
    });
    let listener = json!({ "name": "edge", "filter_chains": [{ "filters": [filter] }] });
    let bootstrap = Bootstrap::new().raw_listener(listener);
    let log = Envoy::try_start(&bootstrap).await.err().expect("Envoy does not start").log;
    assert!(log.contains(r#"filter_name: "roter" is none of sluice, egress, "#), "{log}");
}

/// Each worker shares the policy that the main thread has compiled.
#[tokio::test]
async fn a_document_is_compiled_once_for_all_workers() {
    let rules: Vec<_> = (0..10_000)
        .map(|number| {
            let condition = json!({ "headers": { "x-rule": { "exact": number.to_string() } } });
            json!({ "match": [condition], "route": to("service") })
        })
        .collect();
    let document = any_host(rules.into());
    let mut memory = Vec::new();
    for workers in [1, 8] {
        let (envoy, _upstream) = start(&document, workers).await;
        let client = envoy.listener("edge");
        // Enough connections for each worker to get one.
        for _ in 0..200 {
            let response = client.get("/").header("x-rule", "9999").send().await;
            assert_eq!(response.status, StatusCode::OK);
        }
        assert_eq!(envoy.log().matches("sluice sluice ").count(), 1, "{}", envoy.log());
        memory.push(envoy.resident_memory() >> 10);
    }
    // A policy with 10,000 rules has more than 5 MiB.
    let [one, eight] = memory[..] else { panic!("{memory:?}") };
    assert!(eight < one + 7 * 5 * 1024, "{one} and {eight} KiB");
}

/// The timer is precise, so no request continues before its time.
#[tokio::test]
async fn delays_never_end_early() {
    let (envoy, _upstream) = start(&delayed("50ms"), 2).await;
    let client = envoy.listener("edge");
    let mut waiting = JoinSet::new();
    for number in 0..200 {
        let request = client.get(&format!("/{number}"));
        waiting.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number % 50)).await;
            request.send().await
        });
    }
    for response in waiting.join_all().await {
        assert_eq!(response.status, StatusCode::OK);
        assert!(response.elapsed >= Duration::from_millis(50), "{:?}", response.elapsed);
    }
    assert_eq!(envoy.stat(ACTIVE).await, 0);
}

#[tokio::test]
async fn thousands_wait_at_once_and_some_leave() {
    const STREAMS: usize = 4000;
    const ON_A_CONNECTION: usize = 100;
    // An abort needs no upstream, which would get all requests at once.
    let mut document = delayed("3s");
    document["virtualServices"][0]["http"][0]["fault"]["abort"] =
        json!({ "httpStatus": 418, "percentage": { "value": 100 } });
    let (envoy, _upstream) = start(&document, 2).await;
    let client = envoy.listener("edge").http2();
    let (mut staying, mut leaving) = (JoinSet::new(), JoinSet::new());
    for number in 0..STREAMS / ON_A_CONNECTION {
        let connection = client.connect().await;
        let group = if number % 2 == 0 { &mut staying } else { &mut leaving };
        for _ in 0..ON_A_CONNECTION {
            let (mut connection, request) = (connection.share(), client.get("/"));
            group.spawn(async move { connection.send(request).await.status });
        }
    }
    let count = async |count: usize| {
        let is_reached = async || (envoy.stat(ACTIVE).await == count as u64).then_some(());
        until(&format!("{count} wait"), is_reached).await;
    };
    count(STREAMS).await;
    leaving.shutdown().await;
    count(STREAMS / 2).await;
    for status in staying.join_all().await {
        assert_eq!(status, StatusCode::IM_A_TEAPOT);
    }
    count(0).await;
    assert_eq!(envoy.stat("wasmcustom.sluice.fault.aborts_injected").await, STREAMS as u64 / 2);
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn updates_lose_no_request() {
    let version = |number: usize| {
        let headers = json!({ "request": { "set": { "x-version": number.to_string() } } });
        any_host(json!([{ "route": to("service"), "headers": headers }]))
    };
    let (envoy, upstream) = start(&version(0), 2).await;
    let client = envoy.listener("edge");
    let is_over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (client, is_over) = (client.clone(), Arc::clone(&is_over));
        load.spawn(async move {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.get("/").send().await.status, StatusCode::OK);
                count += 1;
            }
            count
        });
    }
    for number in 1..=30 {
        let listener = Listener::new("edge").bundle(&version(number)).native();
        assert!(envoy.update(&[listener]).await, "update {number}: {}", envoy.log());
    }
    is_over.store(true, Ordering::Relaxed);
    let sent: usize = load.join_all().await.into_iter().sum();
    assert_eq!(upstream.received("").len(), sent);
    client.get("/last").send().await;
    assert_eq!(upstream.received("/last")[0].header("x-version"), ["30"]);
    assert_eq!(envoy.traps(), [""; 0]);
}
