//! The counters of routes and destinations (`metrics.routes`), and their labels in Prometheus.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, is_native, workspace};

/// The statistics of a host with three routes and two versions of a service.
fn document(metrics: Value, routes: Value) -> Value {
    json!({
        "clusterName": "{host}[|{subset}]",
        "metrics": metrics,
        "virtualServices": [{ "hosts": ["shop.example.com"], "http": routes }],
    })
}

fn destination(subset: &str, weight: u32) -> Value {
    json!({ "destination": { "host": "cart", "subset": subset }, "weight": weight })
}

fn routes() -> Value {
    json!([
        {
            "name": "a route; with=signs",
            "match": [{ "uri": { "prefix": "/v1" } }],
            "route": [destination("v1", 1)],
        },
        {
            "match": [{ "uri": { "prefix": "/split" } }],
            "route": [destination("v1", 1), destination("v2", 1)],
        },
        { "name": "gone", "match": [{ "uri": { "exact": "/gone" } }],
          "directResponse": { "status": 410 } },
    ])
}

/// The part `stats_config` in the README of the router.
fn stats_config() -> Value {
    let readme = fs::read_to_string(workspace().join("filters/router/README.md")).unwrap();
    let start = readme.find("```yaml\nstats_config:").expect("stats_config in the README");
    let block = readme[start..].trim_start_matches("```yaml\n").split("```").next().unwrap();
    let block: Value = serde_yaml_ng::from_str(block).unwrap();
    block["stats_config"].clone()
}

/// A listener for each document, with the two versions of the service.
async fn envoy(documents: &[(&str, Value)], bootstrap: Bootstrap) -> (Envoy, [Upstream; 2]) {
    let upstreams = ["v1", "v2"].map(Upstream::echo);
    let mut bootstrap = bootstrap;
    for (name, document) in documents {
        bootstrap = bootstrap.listener(Listener::new(name).plugin(document));
    }
    for (name, upstream) in ["cart|v1", "cart|v2"].into_iter().zip(&upstreams) {
        bootstrap = bootstrap.cluster(name, &[upstream.address()]);
    }
    (Envoy::start(&bootstrap).await, upstreams)
}

async fn get(envoy: &Envoy, listener: &str, path: &str) -> u16 {
    let client = envoy.listener(listener);
    client.get(path).host("shop.example.com").send().await.status
}

/// The values of all counters of routes, by the end of their names.
async fn counts(envoy: &Envoy) -> BTreeMap<String, u64> {
    let stats = envoy.admin("/stats?format=json&filter=sluice.router.requests").await.json();
    let stats = stats["stats"].as_array().expect("a list of stats").iter().filter_map(|stat| {
        let name = stat["name"].as_str()?.strip_prefix("wasmcustom.sluice.router.requests")?;
        Some((name.to_owned(), stat["value"].as_u64()?))
    });
    stats.collect()
}

#[tokio::test]
async fn requests_are_counted_by_route_and_destination() {
    let on = document(json!({ "routes": true }), routes());
    let bootstrap = Bootstrap::new().setting("stats_config", stats_config());
    let (envoy, upstreams) = envoy(&[("edge", on)], bootstrap).await;
    for _ in 0..3 {
        assert_eq!(get(&envoy, "edge", "/v1").await, 200);
    }
    assert_eq!(get(&envoy, "edge", "/gone").await, 410);
    assert_eq!(get(&envoy, "edge", "/none").await, 404);
    for _ in 0..20 {
        assert_eq!(get(&envoy, "edge", "/split").await, 200);
    }
    let split = "virtualServices[0].http[1].match[0]";
    let [to_v1, to_v2] = &upstreams;
    let (to_v1, to_v2) = (to_v1.received("/split").len(), to_v2.received("/split").len());
    assert_eq!(to_v1 + to_v2, 20);
    let signs = "a%20route%3B%20with%3Dsigns";
    let expected = [
        (format!(";route={signs};cluster=cart|v1;"), 3),
        (format!(";route={split};cluster=cart|v1;"), to_v1 as u64),
        (format!(";route={split};cluster=cart|v2;"), to_v2 as u64),
        (";route=gone;cluster=-;".to_owned(), 1),
    ];
    assert_eq!(counts(&envoy).await, BTreeMap::from(expected));

    let text = envoy.admin("/stats/prometheus?filter=sluice.router.requests").await.text();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines: Vec<String> = lines.map(labels_sorted).collect();
    lines.sort_unstable();
    // Envoy strips the namespace of wasm modules only.
    let prefix = if is_native() { "envoy_wasmcustom_" } else { "" };
    let line = |route: &str, cluster: &str, value: usize| {
        let labels = format!("cluster=\"{cluster}\",route=\"{route}\"");
        format!("{prefix}sluice_router_requests{{{labels}}} {value}")
    };
    let mut expected = [
        line(signs, "cart|v1", 3),
        line(split, "cart|v1", to_v1),
        line(split, "cart|v2", to_v2),
        line("gone", "-", 1),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected, "{text}");
}

/// The labels that the README of the router shows for comparisons with a second policy.
#[tokio::test]
async fn comparisons_with_a_second_policy_have_labels() {
    let mut document = document(json!({ "routes": true }), routes());
    document["shadow"] = json!({ "virtualServices": document["virtualServices"] });
    let bootstrap = Bootstrap::new().setting("stats_config", stats_config());
    let (envoy, _upstreams) = envoy(&[("edge", document)], bootstrap).await;
    assert_eq!(get(&envoy, "edge", "/gone").await, 410);
    let text = envoy.admin("/stats/prometheus?filter=sluice.router.shadow;").await.text();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<_> = lines.map(labels_sorted).filter(|line| line.contains("gone")).collect();
    let prefix = if is_native() { "envoy_wasmcustom_" } else { "" };
    let line = |decision: &str, value: usize| {
        let labels = format!("decision=\"{decision}\",route=\"gone\"");
        format!("{prefix}sluice_router_shadow{{{labels}}} {value}")
    };
    assert_eq!(lines, [line("different", 0), line("same", 1)], "{text}");
}

/// A line of Prometheus with its labels in alphabetical order.
fn labels_sorted(line: &str) -> String {
    let (name, rest) = line.split_once('{').expect("labels");
    let (labels, value) = rest.split_once('}').expect("labels");
    let mut labels: Vec<_> = labels.split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}{value}", labels.join(","))
}

#[tokio::test]
async fn without_the_setting_there_are_no_such_counters() {
    let off = document(json!({}), routes());
    let (envoy, _upstreams) = envoy(&[("edge", off)], Bootstrap::new()).await;
    assert_eq!(get(&envoy, "edge", "/v1").await, 200);
    assert_eq!(counts(&envoy).await, BTreeMap::new());
    assert_eq!(envoy.stat("wasmcustom.sluice.router.forwarded").await, 1);
}

/// Envoy cannot delete statistics, so those of routes that are gone keep their last value.
#[tokio::test]
async fn an_update_keeps_counters_and_adds_those_of_new_routes() {
    let listener = |name: &str, subset: &str| {
        let route = json!([{ "name": name, "route": [destination(subset, 1)] }]);
        Listener::new("edge").plugin(&document(json!({ "routes": true }), route))
    };
    let bootstrap = Bootstrap::new().listener(listener("first", "v1")).dynamic_listeners();
    let (envoy, _upstreams) = envoy(&[], bootstrap).await;
    assert_eq!(get(&envoy, "edge", "/").await, 200);
    let client = envoy.listener("edge");
    for (name, subset, expected) in [("second", "v2", [1, 1]), ("first", "v1", [2, 1])] {
        assert!(envoy.update(&[listener(name, subset)]).await);
        assert_eq!(client.get("/").host("shop.example.com").send().await.status, 200);
        let [first, second] = expected;
        let expected = [
            (";route=first;cluster=cart|v1;".to_owned(), first),
            (";route=second;cluster=cart|v2;".to_owned(), second),
        ];
        assert_eq!(counts(&envoy).await, BTreeMap::from(expected), "{name}");
    }
}

#[tokio::test]
async fn routes_beyond_the_limit_share_a_counter() {
    const LIMIT: usize = 1_000;
    let route = |number: usize| {
        json!({
            "name": format!("r{number}"),
            "match": [{ "uri": { "exact": format!("/{number}") } }],
            "route": [destination("v1", 1)],
        })
    };
    let many = document(json!({ "routes": true }), (0..LIMIT + 20).map(route).collect());
    let (envoy, _upstreams) = envoy(&[("edge", many)], Bootstrap::new()).await;
    for number in [LIMIT - 1, LIMIT, LIMIT + 19] {
        assert_eq!(get(&envoy, "edge", &format!("/{number}")).await, 200);
    }
    let counts = counts(&envoy).await;
    assert_eq!(counts.len(), LIMIT + 1);
    assert_eq!(counts[";route=r999;cluster=cart|v1;"], 1);
    assert_eq!(counts[";route=other;cluster=other;"], 2);
    assert_eq!(counts.values().sum::<u64>(), 3);
}
