//! Shadow modes: the filters decide and count, and requests pass as if the filters were not there.

use serde_json::{Value, json};
use sluice_e2e::statistics::{SIGNIFICANCE, binomial_test};
use sluice_e2e::{Bootstrap, Envoy, Listener, Mirroring, Upstream, any_host, until};

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
        let rule = json!({ "route": to("own"), "mirror": { "host": "copy" } });
        let mut document = any_host(json!([rule]));
        document["mirroring"] = json!({ "mode": "shadow", "compare": compare });
        let (own, copy) = (Upstream::echo("own"), Upstream::echo("copy"));
        let listener = Listener::new("edge").mirror(&document).plugin(&document);
        let bootstrap = Bootstrap::new()
            .calling()
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

/// The log lines about decisions that differ, without their beginnings.
fn differences(envoy: &Envoy) -> Vec<String> {
    let log = envoy.log();
    let lines = log.lines().filter_map(|line| line.split_once("shadow difference="));
    lines.map(|(_, line)| line.trim_end().to_owned()).collect()
}

/// A document with rules for `a.com` and a second policy with others.
fn second_policy(live: &Value, shadow: &Value) -> Value {
    let services = |rules: &Value| json!([{ "hosts": ["a.com"], "http": rules }]);
    json!({
        "clusterName": "{host}",
        "metrics": { "routes": true },
        "virtualServices": services(live),
        "shadow": { "virtualServices": services(shadow) },
    })
}

/// A route to `own` and, for a share of the requests in percent, to `other`.
fn split(percent: u32) -> Value {
    json!([
        { "destination": { "host": "own" }, "weight": 100 - percent },
        { "destination": { "host": "other" }, "weight": percent },
    ])
}

/// An Envoy with the filters of a document, and the services `own` and `other`.
async fn with_services(document: &Value) -> (Envoy, [Upstream; 2]) {
    let upstreams = ["own", "other"].map(Upstream::echo);
    let mut bootstrap = Bootstrap::new().listener(Listener::new("edge").plugin(document));
    for (name, upstream) in ["own", "other"].into_iter().zip(&upstreams) {
        bootstrap = bootstrap.cluster(name, &[upstream.address()]);
    }
    (Envoy::start(&bootstrap).await, upstreams)
}

#[tokio::test]
async fn a_second_policy_is_compared_and_changes_nothing() {
    let on = |path: &str, rule: Value| {
        let mut rule = rule;
        rule["match"] = json!([{ "uri": { "prefix": path } }]);
        rule["name"] = path.trim_start_matches('/').into();
        rule
    };
    let live = json!([
        on("/same", json!({ "route": to("own"), "timeout": "5s" })),
        on("/cluster", json!({ "route": to("own") })),
        on("/reply", json!({ "directResponse": { "status": 410 } })),
        on("/timeout", json!({ "route": to("own") })),
        on("/response", json!({ "route": to("own") })),
    ]);
    let headers = json!({ "response": { "set": { "x-shadow": "1" } } });
    let shadow = json!([
        on("/same", json!({ "route": to("own"), "timeout": "5s" })),
        on("/cluster", json!({ "route": to("other") })),
        on("/reply", json!({ "directResponse": { "status": 418 } })),
        on("/timeout", json!({ "route": to("own"), "timeout": "5s" })),
        on("/response", json!({ "route": to("own"), "headers": headers })),
    ]);
    let (envoy, [own, other]) = with_services(&second_policy(&live, &shadow)).await;
    let edge = envoy.listener("edge");
    for (path, status) in
        [("/same", 200), ("/cluster", 200), ("/reply", 410), ("/timeout", 200), ("/response", 200)]
    {
        // A client cannot choose which policy applies.
        let request = edge.get(path).host("a.com").header("x-sluice-shadow", "1");
        let response = request.send().await;
        assert_eq!((response.status, response.header("x-shadow")), (status, None), "{path}");
        let route = path.trim_start_matches('/');
        assert_eq!(envoy.access_log(path).await["decision"], route);
        let [same, different] = if path == "/same" { [1, 0] } else { [0, 1] };
        let names = ["same", "different"]
            .map(|decision| format!("shadow;route={route};decision={decision};"));
        let names = [names[0].as_str(), names[1].as_str()];
        assert_eq!(counts(&envoy, "router", names).await, [same, different], "{path}");
    }
    assert_eq!(own.received("").len(), 4);
    assert_eq!(other.received("").len(), 0);
    assert_eq!(counts(&envoy, "router", ["shadow_same", "shadow_different"]).await, [1, 4]);
    let logged = until("all differences are logged", async || {
        Some(differences(&envoy)).filter(|lines| lines.len() == 4)
    })
    .await;
    let line = |what: &str, of: &str, one: &str, other: &str| {
        format!("{what} route=\"{of}\" {one} shadow_route=\"{of}\" {other} suppressed=0")
    };
    let to = |cluster: &str| format!("outcome=forwarded cluster=\"{cluster}\"");
    let to_shadow =
        |cluster: &str| format!("shadow_outcome=forwarded shadow_cluster=\"{cluster}\"");
    let replies =
        ["outcome=responded cluster=\"\"", "shadow_outcome=responded shadow_cluster=\"\""];
    assert_eq!(
        logged,
        [
            line("cluster", "cluster", &to("own"), &to_shadow("other")),
            line("reply", "reply", replies[0], replies[1]),
            line("request", "timeout", &to("own"), &to_shadow("own")),
            line("response", "response", &to("own"), &to_shadow("own")),
        ]
    );
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn only_requests_that_change_their_destination_differ() {
    const REQUESTS: u64 = 2_000;
    for (from, to) in [(10, 20), (30, 30)] {
        let live = json!([{ "name": "split", "route": split(from) }]);
        let shadow = json!([{ "name": "split", "route": split(to) }]);
        let (envoy, [own, other]) = with_services(&second_policy(&live, &shadow)).await;
        let mut connection = envoy.listener("edge").connect().await;
        for _ in 0..REQUESTS {
            let request = envoy.listener("edge").get("/").host("a.com");
            assert_eq!(connection.send(request).await.status, 200);
        }
        let [same, different] = counts(&envoy, "router", ["shadow_same", "shadow_different"]).await;
        assert_eq!(same + different, REQUESTS);
        let share = |percent: i32| f64::from(percent) / 100.0;
        let p = binomial_test(different, REQUESTS, share(to as i32 - from as i32));
        assert!(p > SIGNIFICANCE, "{different} of {REQUESTS} differ");
        let [own, other] = [own, other].map(|upstream| upstream.received("").len() as u64);
        assert_eq!(own + other, REQUESTS);
        assert!(binomial_test(other, REQUESTS, share(from as i32)) > SIGNIFICANCE, "{other}");
        let lines = differences(&envoy).len() as u64;
        assert!(lines <= different && (different == 0 || lines > 0), "{lines} of {different}");
    }
}
