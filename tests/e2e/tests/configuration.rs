//! How the router reads its configuration: at start, by an update, and with the metadata of the
//! node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, any_host};

/// A document with several errors, and the log messages about them.
fn bad() -> (Value, &'static [&'static str]) {
    let mut document = any_host(json!([{
        "rout": [],
        "timeout": "0s",
        "route": [
            { "destination": { "host": "service" }, "weight": -1 },
            { "destination": { "host": "service", "subset": "v2" }, "weight": "x" },
        ],
    }]));
    document["virtualService"] = json!([]);
    let errors = &[
        "virtualService: unknown field, did you mean \"virtualServices\"?",
        "virtualServices[0].http[0].rout: unknown field, did you mean \"route\"?",
        "virtualServices[0].http[0].route[0].weight: -1 is negative",
        "virtualServices[0].http[0].route[1].weight: \"x\" is not a whole number",
        "virtualServices[0].http[0].timeout: ",
    ];
    (document, errors)
}

/// Asserts that the log contains one line per error for each time that Envoy validated the
/// configuration.
fn assert_errors(log: &str, errors: &[&str]) {
    for error in errors {
        // In Envoy's log, the time, the level, the source file and the plugin precede the message
        // of the module.
        let found = log
            .lines()
            .any(|line| line.contains("[error]") && line.contains(&format!(": {error}")));
        assert!(found, "no line with {error:?} in\n{log}");
    }
}

#[tokio::test]
async fn envoy_refuses_to_start_and_every_error_is_in_its_log() {
    let (document, errors) = bad();
    let bootstrap = Bootstrap::new().listener(Listener::new("edge").plugin(&document));
    let failure = Envoy::try_start(&bootstrap).await.err().expect("no start");
    assert_eq!(failure.status.code(), Some(1));
    assert_errors(&failure.log, errors);
}

#[tokio::test]
async fn invalid_documents_are_refused() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let envoy = Envoy::start(&two_versions(&versions).dynamic_listeners().listener(to("v1"))).await;
    let deep = "[".repeat(100_000);
    let texts = ["", "{", "[]", "null", "{\"virtualServices\": [}", "\u{0}", "{}{}", &deep];
    for (number, text) in texts.into_iter().enumerate() {
        let start = &text[..text.len().min(30)];
        let before = envoy.log().len();
        let taken = envoy.update(&[Listener::new("edge").plugin_text(text)]).await;
        assert!(!taken, "{start:?} was taken");
        assert_eq!(envoy.stat("listener_manager.lds.update_rejected").await, number as u64 + 1);
        assert_errors(&envoy.log()[before..], &["configuration: "]);
        assert_eq!(envoy.traps(), [""; 0], "{start:?}");
        assert_eq!(envoy.listener("edge").get("/").send().await.upstream(), "v1");
    }
}

#[tokio::test]
async fn the_errors_of_a_document_do_not_fill_the_log() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let envoy = Envoy::start(&two_versions(&versions).dynamic_listeners().listener(to("v1"))).await;
    let mut document = serde_json::Map::new();
    document.insert("k".repeat(1_000_000), json!(1));
    document.extend((0..100_000).map(|number| (format!("unknown{number}"), json!(1))));
    let before = envoy.log().len();
    assert!(!envoy.update(&[Listener::new("edge").plugin(&document.into())]).await);
    let log = &envoy.log()[before..];
    // The error about virtualServices is one more.
    let last = "and 99952 more errors, sluice check shows all";
    assert_eq!(log.lines().filter(|line| line.contains(last)).count(), 1, "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("unknown field")).count(), 49);
    assert!(log.len() < 60_000, "{} bytes", log.len());
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn a_bad_update_leaves_the_old_rules_in_force_and_a_good_one_replaces_them() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let envoy = Envoy::start(&two_versions(&versions).dynamic_listeners().listener(to("v1"))).await;
    let version = async || envoy.listener("edge").get("/").send().await.upstream();
    assert_eq!(version().await, "v1");

    let (document, errors) = bad();
    assert!(!envoy.update(&[Listener::new("edge").plugin(&document)]).await, "{}", envoy.log());
    assert_eq!(envoy.stat("listener_manager.lds.update_rejected").await, 1);
    assert_errors(&envoy.log(), errors);
    assert_eq!(version().await, "v1");

    assert!(envoy.update(&[to("v2")]).await, "{}", envoy.log());
    assert_eq!(version().await, "v2");
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn no_request_is_lost_while_rules_change() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let bootstrap = two_versions(&versions).dynamic_listeners().workers(2).listener(to("v1"));
    let envoy = Envoy::start(&bootstrap).await;
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));

    let clients: Vec<_> = (0..10)
        .map(|_| {
            let (edge, done, answered) = (envoy.listener("edge"), done.clone(), answered.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let version = edge.get("/").send().await.upstream();
                    assert!(version == "v1" || version == "v2", "{version}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..10 {
        let version = if round % 2 == 0 { "v2" } else { "v1" };
        assert!(envoy.update(&[to(version)]).await, "{}", envoy.log());
        let before = answered.load(Ordering::Relaxed);
        sluice_e2e::until("requests go on", async || {
            (answered.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("every request has its answer");
    }
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn plugins_in_one_envoy_keep_their_rules_apart() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let mut bootstrap = two_versions(&versions);
    for number in 0..60 {
        let subset = if number % 2 == 0 { "v1" } else { "v2" };
        let rules = any_host(json!([{ "route": route(subset) }]));
        bootstrap = bootstrap.listener(Listener::new(&format!("edge-{number}")).plugin(&rules));
    }
    let envoy = Envoy::start(&bootstrap).await;
    for number in 0..60 {
        let response = envoy.listener(&format!("edge-{number}")).get("/").send().await;
        assert_eq!(response.upstream(), if number % 2 == 0 { "v1" } else { "v2" }, "{number}");
    }
}

/// Istio stores the labels and the namespace of a workload in the metadata of its node.
#[tokio::test]
async fn sources_are_known_by_the_metadata_of_the_node() {
    if sluice_e2e::is_left_out("the node metadata needs a wasm module") {
        return;
    }
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let condition = |condition: Value| {
        any_host(json!([
            { "match": [condition], "route": route("v2") },
            { "route": route("v1") },
        ]))
    };
    let cases = [
        ("label", json!({ "sourceLabels": { "app": "cart" } }), "v2"),
        ("labels", json!({ "sourceLabels": { "app": "cart", "tier": "front" } }), "v2"),
        ("other", json!({ "sourceLabels": { "app": "shop" } }), "v1"),
        ("missing", json!({ "sourceLabels": { "app": "cart", "zone": "a" } }), "v1"),
        ("namespace", json!({ "sourceNamespace": "shop" }), "v2"),
        ("elsewhere", json!({ "sourceNamespace": "default" }), "v1"),
    ];
    let mut bootstrap = two_versions(&versions).node_metadata(json!({
        "NAMESPACE": "shop",
        "LABELS": { "app": "cart", "tier": "front", "app.kubernetes.io/name": "cart" },
    }));
    for (name, case, _) in &cases {
        let mut rules = condition(case.clone());
        // On a gateway the source is not compared.
        rules["virtualServices"][0] = json!({
            "hosts": ["example.com"], "http": rules["virtualServices"][0]["http"],
        });
        bootstrap = bootstrap.listener(Listener::new(name).plugin(&rules));
    }
    let envoy = Envoy::start(&bootstrap).await;
    for (name, case, version) in cases {
        assert_eq!(envoy.listener(name).get("/").send().await.upstream(), version, "{case}");
    }
}

#[tokio::test]
async fn the_port_is_the_one_that_the_client_connected_to() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let rules = any_host(json!([
        { "match": [{ "port": 8443 }], "route": route("v2") },
        { "route": route("v1") },
    ]));
    let listener = Listener::new("edge").plugin(&rules).proxy_protocol();
    let envoy = Envoy::start(&two_versions(&versions).listener(listener)).await;

    let edge = envoy.listener("edge");
    assert_eq!(edge.clone().destination_port(8443).get("/").send().await.upstream(), "v2");
    assert_eq!(edge.clone().destination_port(8080).get("/").send().await.upstream(), "v1");
    assert_eq!(edge.get("/").host("example.com:8443").send().await.upstream(), "v1");
}

#[tokio::test]
async fn clusters_have_istios_names_by_default() {
    let upstream = Upstream::echo("payment");
    let mut rules = any_host(json!([{ "route": [{ "destination": {
        "host": "payment", "subset": "v1", "port": { "number": 8080 },
    } }] }]));
    rules.as_object_mut().unwrap().remove("clusterName");
    rules["namespace"] = "shop".into();
    let cluster = "outbound|8080|v1|payment.shop.svc.cluster.local";
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").plugin(&rules))
            .cluster(cluster, &[upstream.address()]),
    )
    .await;
    let response = envoy.listener("edge").get("/").send().await;
    assert_eq!(
        (response.upstream().as_str(), response.cluster().as_deref()),
        ("payment", Some(cluster))
    );
}

#[tokio::test]
async fn the_access_log_contains_the_decision() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let rules = any_host(json!([
        { "name": "the-rule", "match": [{ "uri": { "exact": "/here" } }], "route": route("v1") },
    ]));
    let envoy =
        Envoy::start(&two_versions(&versions).listener(Listener::new("edge").plugin(&rules))).await;
    let edge = envoy.listener("edge");
    assert_eq!(edge.get("/here").send().await.status, 200);
    assert_eq!(edge.get("/nowhere").send().await.status, 404);

    let line = envoy.access_log("/here").await;
    let decision = line["decision"].as_str().unwrap_or_default();
    assert!(decision.contains("the-rule"), "{line}");
    let line = envoy.access_log("/nowhere").await;
    assert!(line["decision"].is_string(), "{line}");
    assert_eq!((&line["status"], &line["cluster"]), (&json!(404), &Value::Null));
}

/// How often the log has each of these notices, after all workers have taken their configuration.
async fn notices(envoy: &Envoy, notices: &[&str]) -> Vec<usize> {
    // Each connection belongs to one worker, which has the configuration if it answers.
    for _ in 0..40 {
        assert_eq!(envoy.listener("edge").get("/").send().await.status, 200);
    }
    let log = envoy.log();
    let count = |notice: &&str| log.lines().filter(|line| line.contains(notice)).count();
    notices.iter().map(count).collect()
}

#[tokio::test]
async fn notices_are_logged_once_for_all_workers() {
    if sluice_e2e::is_left_out("there are no VMs") {
        return;
    }
    const FAULT: &str = "http[0].fault: is left to the fault filter";
    const BACKOFF: &str = "http[0].retries.backoff: is left to Envoy, set it in the retry policy";
    const EXPORT: &str = "virtualServices[0].exportTo: ";
    let listener = |rule: Value, is_exported: bool| {
        let mut document = any_host(json!([rule]));
        if is_exported {
            document["virtualServices"][0]["exportTo"] = json!(["*"]);
        }
        Listener::new("edge").plugin(&document)
    };
    let route = route("v1");
    let first = || {
        listener(
            json!({ "route": route, "fault": {
        "delay": { "fixedDelay": "1s", "percentage": { "value": 1 } },
    } }),
            true,
        )
    };
    let second = || {
        listener(json!({ "route": route, "retries": { "attempts": 1, "backoff": "1s" } }), false)
    };
    let third = || listener(json!({ "route": route }), true);

    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let bootstrap = two_versions(&versions).dynamic_listeners().workers(4).listener(first());
    let envoy = Envoy::start(&bootstrap).await;
    let found = async || notices(&envoy, &[FAULT, BACKOFF, EXPORT]).await;
    assert_eq!(found().await, [1, 0, 1], "{}", envoy.log());
    // The main thread and each worker have a VM.
    let vms = envoy.log().matches("sluice router ").count();
    assert!(vms > 4, "{vms} VMs\n{}", envoy.log());

    assert!(envoy.update(&[second()]).await);
    assert_eq!(found().await, [1, 1, 1], "{}", envoy.log());
    // Another document repeats one of the notices.
    assert!(envoy.update(&[third()]).await);
    assert_eq!(found().await, [1, 1, 2], "{}", envoy.log());
    // A document that Envoy has already had.
    assert!(envoy.update(&[first()]).await);
    assert_eq!(found().await, [1, 1, 2], "{}", envoy.log());

    let log = envoy.log();
    let level = |notice| {
        let line = log.lines().find(|line| line.contains(notice)).unwrap();
        ["[info]", "[warning]"].into_iter().find(|level| line.contains(level))
    };
    assert_eq!(
        [FAULT, BACKOFF, EXPORT].map(level),
        [Some("[info]"), Some("[warning]"), Some("[warning]"),]
    );
}

#[tokio::test]
async fn errors_are_logged_each_time() {
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let envoy = Envoy::start(&two_versions(&versions).dynamic_listeners().listener(to("v1"))).await;
    let (document, errors) = bad();
    for time in 1..=2 {
        let mut document = document.clone();
        // Envoy ignores an update without a change.
        document["zzz"] = time.into();
        assert!(!envoy.update(&[Listener::new("edge").plugin(&document)]).await);
        assert!(envoy.log().matches(errors[0]).count() >= time, "{}", envoy.log());
    }
}

fn two_versions(versions: &[Upstream; 2]) -> Bootstrap {
    let [v1, v2] = versions.each_ref().map(Upstream::address);
    Bootstrap::new().cluster("service-v1", &[v1]).cluster("service-v2", &[v2])
}

fn route(subset: &str) -> Value {
    json!([{ "destination": { "host": "service", "subset": subset } }])
}

fn to(subset: &str) -> Listener {
    Listener::new("edge").plugin(&any_host(json!([{ "route": route(subset) }])))
}
