//! Delays and aborts of the fault filter before the router.

mod aborts;
mod headers;
mod limits;
mod unusual;
mod waiting;

use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, any_host, until};

/// How early a delay may end: the clock of Envoy's timers has steps of some milliseconds.
const LAG: Duration = Duration::from_millis(10);

fn all() -> Value {
    json!({ "value": 100 })
}

/// A fault that delays every request.
fn delay(length: &str) -> Value {
    json!({ "delay": { "fixedDelay": length, "percentage": all() } })
}

/// A fault that aborts every request with a status, `{ "httpStatus": 503 }` or the like.
fn abort(mut status: Value) -> Value {
    status["percentage"] = all();
    json!({ "abort": status })
}

/// The only destination of most rules.
fn route() -> Value {
    json!([{ "destination": { "host": "service" } }])
}

/// Rules for every host: one for each name, with its fault, for requests whose header `case` is
/// that name, and the route for both filters. Other requests have no fault.
fn cases(cases: impl IntoIterator<Item = (String, Value)>) -> Value {
    let rule = |(name, fault)| {
        let only = json!([{ "headers": { "case": { "exact": name } } }]);
        json!({ "match": only, "fault": fault, "route": route() })
    };
    let mut rules: Vec<_> = cases.into_iter().map(rule).collect();
    rules.push(json!({ "route": route() }));
    any_host(rules.into())
}

/// Rules with one fault, for requests with `case: faulty`.
fn faulty(fault: Value) -> Value {
    cases([("faulty".to_owned(), fault)])
}

/// The same rules, with these settings for all faults.
fn with_settings(mut document: Value, settings: Value) -> Value {
    document["faults"] = settings;
    document
}

async fn start(document: Value) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("service");
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").fault(&document).plugin(&document).internal_clients())
            .cluster("service", &[upstream.address()]),
    )
    .await;
    (envoy, upstream)
}

/// The filter's counters and its gauge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    delays: u64,
    aborts: u64,
    overflow: u64,
    over_budget: u64,
    malformed: u64,
    resets: u64,
    slow: u64,
    active: u64,
}

/// All counters at 0.
const NONE: Counts = Counts {
    delays: 0,
    aborts: 0,
    overflow: 0,
    over_budget: 0,
    malformed: 0,
    resets: 0,
    slow: 0,
    active: 0,
};

async fn counts(envoy: &Envoy) -> Counts {
    let stats = envoy.admin("/stats?format=json&filter=sluice.fault").await.json();
    let count = |name: &str| {
        let name = format!("wasmcustom.sluice.fault.{name}");
        let stats = stats["stats"].as_array().expect("a list of stats");
        let stat = stats.iter().find(|stat| stat["name"] == name.as_str());
        stat.unwrap_or_else(|| panic!("no {name} in {stats:?}"))["value"].as_u64().unwrap()
    };
    Counts {
        delays: count("delays_injected"),
        aborts: count("aborts_injected"),
        overflow: count("faults_overflow"),
        over_budget: count("budget_exhausted"),
        malformed: count("malformed_headers"),
        resets: count("resets_injected"),
        slow: count("response_rl_injected"),
        active: count("active_faults"),
    }
}

async fn until_active(envoy: &Envoy, active: u64) {
    until(&format!("{active} faults are active"), async || {
        (counts(envoy).await.active == active).then_some(())
    })
    .await;
}

/// Returns all counters at the end of a test, after the last stream ended, which may be later than
/// its response.
async fn assert_counts(envoy: &Envoy, expected: Counts) {
    until_active(envoy, expected.active).await;
    assert_eq!(counts(envoy).await, expected);
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn one_user_waits_and_the_others_do_not() {
    let (envoy, _upstream) = start(faulty(delay("0.5s"))).await;
    let edge = envoy.listener("edge");
    let slow = edge.get("/slow").header("case", "faulty").send().await;
    assert_eq!((slow.status, slow.upstream().as_str()), (200, "service"));
    slow.assert_took(Duration::from_millis(500)..Duration::from_secs(3));
    assert_eq!(slow.header("x-sluice-fault").as_deref(), Some("delay"));
    assert_eq!(envoy.access_log("/slow").await["fault"], "delay");
    let fast = edge.get("/fast").header("case", "other").send().await;
    assert_eq!((fast.status, fast.header("x-sluice-fault")), (200, None));
    assert_eq!(envoy.access_log("/fast").await["fault"], Value::Null);
    assert_counts(&envoy, Counts { delays: 1, ..NONE }).await;
}

#[tokio::test]
async fn one_user_is_aborted_and_the_others_are_not() {
    let (envoy, upstream) = start(faulty(abort(json!({ "httpStatus": 500 })))).await;
    let edge = envoy.listener("edge");
    let aborted = edge.get("/aborted").header("case", "faulty").send().await;
    assert_eq!((aborted.status, aborted.text().as_str()), (500, "fault filter abort"));
    assert_eq!(aborted.header("x-sluice-fault").as_deref(), Some("abort"));
    assert_eq!(upstream.received("/aborted").len(), 0);
    let logged = envoy.access_log("/aborted").await;
    assert_eq!([&logged["details"], &logged["fault"]], ["fault_filter_abort", "abort"], "{logged}");
    assert_eq!(edge.get("/").header("case", "other").send().await.status, 200);
    assert_counts(&envoy, Counts { aborts: 1, ..NONE }).await;
}
