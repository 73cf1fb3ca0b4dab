//! Shadow modes: the filters decide and count, and requests pass as if the filters were not there.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Mirroring, Upstream, any_host, is_native};

/// Routes of Envoy: all requests go to the cluster `own`, unless a header selects another.
fn envoy_routes() -> Value {
    json!({ "virtual_hosts": [{ "name": "own", "domains": ["*"], "routes": [
        {
            "match": {
                "prefix": "/",
                "headers": [{ "name": "x-sluice-cluster", "present_match": true }],
            },
            "route": { "cluster_header": "x-sluice-cluster" },
        },
        { "match": { "prefix": "/" }, "route": { "cluster": "own" } },
    ] }] })
}

/// The route of all requests to a cluster.
fn to(cluster: &str) -> Value {
    json!([{ "destination": { "host": cluster } }])
}

/// Returns the values of counters of a filter.
async fn counts<const N: usize>(envoy: &Envoy, filter: &str, names: [&str; N]) -> [u64; N] {
    let mut counts = [0; N];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = envoy.stat(&format!("wasmcustom.sluice.{filter}.{name}")).await;
    }
    counts
}

#[tokio::test]
async fn the_router_counts_its_decisions_and_envoy_routes() {
    let document = json!({
        "clusterName": "{host}",
        "router": { "mode": "shadow" },
        "virtualServices": [{ "hosts": ["a.com"], "http": [
            { "name": "gone", "match": [{ "uri": { "exact": "/gone" } }],
              "directResponse": { "status": 410 } },
            { "name": "new", "match": [{ "uri": { "prefix": "/new" } }],
              "rewrite": { "uri": "/" },
              "headers": { "request": { "set": { "x-new": "1" } },
                           "response": { "set": { "x-new": "1" } } },
              "timeout": "1s", "route": to("other") },
        ] }],
    });
    let (own, other) = (Upstream::echo("own"), Upstream::echo("other"));
    let listener = Listener::new("edge").plugin(&document).envoy_routes(envoy_routes());
    let bootstrap = Bootstrap::new()
        .listener(listener)
        .cluster("own", &[own.address()])
        .cluster("other", &[other.address()]);
    let envoy = Envoy::start(&bootstrap).await;
    let edge = envoy.listener("edge");
    for (host, path, note) in [
        ("a.com", "/new/1", "new"),
        ("a.com", "/gone", "gone"),
        ("a.com", "/none", "no route"),
        ("b.com", "/unknown", "no virtual host"),
    ] {
        let request = edge.get(path).host(host).header("x-sluice-cluster", "other");
        let response = request.header("x-new", "0").send().await;
        assert_eq!((response.status, response.upstream().as_str()), (200, "own"), "{path}");
        assert_eq!(response.header("x-new"), None);
        let received = own.received(path).pop().expect("the request as it was sent");
        assert_eq!(received.header("x-new"), ["0"]);
        let steering = received.headers.iter().find(|(name, _)| name.as_str().contains("sluice"));
        assert_eq!(steering, None);
        assert_eq!(envoy.access_log(path).await["decision"], note);
    }
    assert_eq!(other.received("").len(), 0);
    let names = ["forwarded", "responded", "no_route", "no_virtual_host", "shadowed"];
    assert_eq!(counts(&envoy, "router", names).await, [1, 1, 1, 1, 4]);
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn faults_are_counted_and_none_is_injected() {
    let all = json!({ "value": 100 });
    let mut document = any_host(json!([
        { "match": [{ "uri": { "exact": "/both" } }], "route": to("own"), "fault": {
            "delay": { "fixedDelay": "60s", "percentage": all },
            "abort": { "httpStatus": 503, "percentage": all },
        } },
        { "route": to("own"), "fault": {
            "reset": { "afterBytes": 1, "percentage": all },
            "responseRateLimit": { "limitKbps": 1, "percentage": all },
        } },
    ]));
    document["faults"] = json!({ "mode": "shadow" });
    let own = Upstream::echo("own");
    let bootstrap = Bootstrap::new()
        .listener(Listener::new("edge").fault(&document).plugin(&document))
        .cluster("own", &[own.address()]);
    let envoy = Envoy::start(&bootstrap).await;
    let edge = envoy.listener("edge");
    for (path, note) in [("/both", "shadow abort"), ("/response", "shadow reset")] {
        let response = edge.get(path).send().await;
        assert_eq!((response.status, response.upstream().as_str()), (200, "own"), "{path}");
        assert_eq!(response.header("x-sluice-fault"), None);
        let fault = envoy.access_log(path).await["fault"].clone();
        assert!(fault == note || fault == "shadow rate limit", "{path}: {fault}");
    }
    let injected =
        ["delays_injected", "aborts_injected", "resets_injected", "response_rl_injected"];
    assert_eq!(counts(&envoy, "fault", injected).await, [0; 4]);
    let shadow = ["shadow_delays", "shadow_aborts", "shadow_resets", "shadow_response_rl"];
    assert_eq!(counts(&envoy, "fault", shadow).await, [1; 4]);
    assert_eq!(counts(&envoy, "fault", ["active_faults"]).await, [0]);
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn copies_are_counted_and_none_is_made() {
    for compare in [Value::Null, json!({ "statuses": true })] {
        // A dynamic module compares no copies.
        if is_native() && !compare.is_null() {
            continue;
        }
        let rule = json!({ "route": to("own"), "mirror": { "host": "copy" } });
        let mut document = any_host(json!([rule]));
        document["mirroring"] = json!({ "mode": "shadow", "compare": compare });
        let (own, copy) = (Upstream::echo("own"), Upstream::echo("copy"));
        let listener = Listener::new("edge").mirror(&document).plugin(&document);
        let bootstrap = Bootstrap::new()
            .listener(listener.mirroring(Mirroring::ByRoute(vec![vec![(0, "copy")]])))
            .cluster("own", &[own.address()])
            .cluster("copy", &[copy.address()]);
        let envoy = Envoy::start(&bootstrap).await;
        let edge = envoy.listener("edge");
        for _ in 0..3 {
            let request = edge.get("/").header("x-sluice-mirror-0", "copy");
            assert_eq!(request.send().await.upstream(), "own");
        }
        let names = ["shadow_mirrored", "mirrored", "compare_match"];
        assert_eq!(counts(&envoy, "mirror", names).await, [3, 0, 0]);
        assert_eq!(copy.received("").len(), 0);
        assert_eq!(envoy.traps(), [""; 0]);
    }
}
