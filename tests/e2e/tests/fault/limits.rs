//! Limits of faults: their number, their time and their users.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Connection, Envoy, Listener, Upstream, module, until};
use tokio::task::JoinSet;

use crate::{
    Counts, LAG, NONE, abort, all, assert_counts, cases, counts, delay, faulty, start,
    until_active, with_settings,
};

fn unavailable() -> Value {
    abort(json!({ "httpStatus": 503 }))
}

/// Sends requests in sequence and returns the fault of each, from the mark in its response.
async fn marks(envoy: &Envoy, requests: usize) -> Vec<Option<String>> {
    let mut connection = envoy.listener("edge").connect().await;
    let mut marks = Vec::new();
    for _ in 0..requests {
        let request = envoy.listener("edge").get("/").header("case", "faulty");
        marks.push(connection.send(request).await.header("x-sluice-fault"));
    }
    marks
}

#[tokio::test]
async fn a_limit_of_zero_prevents_all_faults() {
    for (fault, overflow) in [(delay("9s"), 1), (unavailable(), 1)] {
        let settings = json!({ "maxActive": 0 });
        let (envoy, upstream) = start(with_settings(faulty(fault), settings)).await;
        assert_eq!(marks(&envoy, 1).await, [None]);
        assert_eq!(upstream.received("/").len(), 1);
        assert_counts(&envoy, Counts { overflow, ..NONE }).await;
    }
}

#[tokio::test]
async fn requests_above_the_limit_of_active_faults_pass() {
    let settings = json!({ "maxActive": 2 });
    let (envoy, upstream) = start(with_settings(faulty(delay("2s")), settings)).await;
    let edge = envoy.listener("edge");
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        tasks.spawn(edge.get("/").header("case", "faulty").send());
    }
    let mut responses = tasks.join_all().await;
    responses.sort_by_key(|response| response.elapsed);
    let marks: Vec<_> =
        responses.iter().map(|response| response.header("x-sluice-fault")).collect();
    let mark = Some("delay".to_owned());
    assert_eq!(marks, [None, None, None, mark.clone(), mark]);
    assert!(responses[2].elapsed < Duration::from_secs(2), "{responses:?}");
    assert!(responses[3].elapsed + LAG >= Duration::from_secs(2), "{responses:?}");
    assert_eq!(upstream.received("/").len(), 5);
    assert_counts(&envoy, Counts { delays: 2, overflow: 3, ..NONE }).await;
}

#[tokio::test]
async fn a_finished_fault_does_not_count_as_active() {
    let settings = json!({ "maxActive": 1 });
    let document = faulty(json!({
        "delay": { "fixedDelay": "1ms", "percentage": all() },
        "abort": { "httpStatus": 503, "percentage": all() },
    }));
    let (envoy, _upstream) = start(with_settings(document, settings)).await;
    for number in 1..=5 {
        // A delay and an abort of the same request are one active fault.
        assert_eq!(marks(&envoy, 1).await, [Some("abort".to_owned())]);
        assert_counts(&envoy, Counts { delays: number, aborts: number, ..NONE }).await;
    }
}

/// Writes a module of the fault filter that panics when it aborts a request, and returns its path.
fn panicking(directory: &Path) -> PathBuf {
    let mut module = walrus::Module::from_file(module("fault")).unwrap();
    let reply = module.imports.get_func("env", "proxy_send_local_response").unwrap();
    let on_delete = module.exports.get_func("proxy_on_delete").unwrap();
    // The SDK panics if there is no context with the id.
    module
        .replace_imported_func(reply, |(body, _)| {
            body.i32_const(-1).call(on_delete).unreachable();
        })
        .unwrap();
    let path = directory.join("fault.wasm");
    module.emit_wasm_file(&path).unwrap();
    path
}

/// Streams that wait in a VM never end for the module if the VM traps.
#[tokio::test]
async fn waiting_requests_of_a_vm_that_trapped_do_not_count() {
    if sluice_e2e::is_left_out("there are no VMs") {
        return;
    }
    const STREAMS: u64 = 50;
    let rules = [("faulty", delay("2s")), ("trap", unavailable())];
    let rules = cases(rules.map(|(name, fault)| (name.to_owned(), fault)));
    let document = with_settings(rules, json!({ "maxActive": STREAMS + 10 }));
    let upstream = Upstream::echo("service");
    let directory = tempfile::tempdir().unwrap();
    let edge = Listener::new("edge").fault(&document).fault_module(&panicking(directory.path()));
    let bootstrap = Bootstrap::new().listener(edge.plugin(&document));
    let envoy = Envoy::start(&bootstrap.cluster("service", &[upstream.address()])).await;
    let edge = envoy.listener("edge");
    let wait = || {
        let requests = (0..STREAMS).map(|_| edge.get("/").header("case", "faulty").send());
        requests.collect::<JoinSet<_>>()
    };
    let _lost = wait();
    until_active(&envoy, STREAMS).await;
    assert_eq!(edge.get("/").header("case", "trap").send().await.status, 503);
    until("a new VM has started", async || {
        (edge.get("/").send().await.status == 200).then_some(())
    })
    .await;
    assert_ne!(envoy.traps(), [""; 0]);

    let marks = wait().join_all().await;
    let marks = marks.iter().filter_map(|response| response.header("x-sluice-fault"));
    assert_eq!(marks.collect::<Vec<_>>(), ["delay"; STREAMS as usize]);
    until_active(&envoy, 0).await;
    assert_eq!(counts(&envoy).await, Counts { delays: 2 * STREAMS, aborts: 1, ..NONE });
}

#[tokio::test]
async fn a_budget_is_spent_once() {
    let settings = json!({ "budget": { "faults": 3, "window": "1h" } });
    let (envoy, upstream) = start(with_settings(faulty(unavailable()), settings)).await;
    let mark = || Some("abort".to_owned());
    assert_eq!(marks(&envoy, 7).await, [mark(), mark(), mark(), None, None, None, None]);
    assert_eq!(upstream.received("/").len(), 4);
    assert_counts(&envoy, Counts { aborts: 3, over_budget: 4, ..NONE }).await;
}

#[tokio::test]
async fn a_budget_is_renewed_in_the_next_window() {
    let settings = json!({ "budget": { "faults": 1, "window": "1s" } });
    let (envoy, _upstream) = start(with_settings(faulty(unavailable()), settings)).await;
    assert_eq!(marks(&envoy, 1).await, [Some("abort".to_owned())]);
    until("there is a budget again", async || marks(&envoy, 1).await.pop().flatten()).await;
}

#[tokio::test]
async fn faults_end_at_their_expiry() {
    for (end, aborts) in [("2020-01-01T00:00:00Z", 0), ("2120-01-01T00:00:00Z", 2)] {
        let settings = json!({ "notAfter": end });
        let (envoy, upstream) = start(with_settings(faulty(unavailable()), settings)).await;
        let mark = (aborts > 0).then(|| "abort".to_owned());
        assert_eq!(marks(&envoy, 2).await, [mark.clone(), mark]);
        assert_eq!(upstream.received("/").len() as u64, 2 - aborts);
        assert_counts(&envoy, Counts { aborts, ..NONE }).await;
    }
}

#[tokio::test]
async fn a_user_is_always_in_or_always_out() {
    const USERS: usize = 60;
    const TURNS: usize = 4;
    let mut document = faulty(json!({
        "delay": { "fixedDelay": "1ms", "percentage": { "value": 50 } },
        "abort": { "httpStatus": 503, "percentage": { "value": 50 } },
    }));
    document["sampling"] = json!({ "key": [{ "header": "user" }] });
    let (envoy, _upstream) = start(document).await;
    let mut connection = envoy.listener("edge").connect().await;
    let first = turn(&envoy, &mut connection, USERS).await;
    for _ in 1..TURNS {
        assert_eq!(turn(&envoy, &mut connection, USERS).await, first);
    }
    let count = |mark: Option<&str>| first.iter().filter(|known| known.as_deref() == mark).count();
    // Of the half that is not aborted, half is delayed. The hashes are fixed, so the counts are
    // exact.
    let shares = [count(None), count(Some("delay")), count(Some("abort"))];
    assert!(shares[0] >= 5 && shares[1] >= 5 && shares[2] >= 15, "{shares:?}");
    let aborts = (TURNS * shares[2]) as u64;
    let delays = crate::counts(&envoy).await.delays;
    assert_eq!(delays % TURNS as u64, 0, "a user waits in every turn or in none");
    assert_counts(&envoy, Counts { delays, aborts, ..NONE }).await;
}

async fn turn(envoy: &Envoy, connection: &mut Connection, users: usize) -> Vec<Option<String>> {
    let mut marks = Vec::new();
    for user in 0..users {
        let request = envoy.listener("edge").get("/").header("case", "faulty");
        let response = connection.send(request.header("user", user.to_string())).await;
        marks.push(response.header("x-sluice-fault"));
    }
    marks
}
