//! Updates while connections of older configurations are open: each of these configurations stays
//! in the memory of the VMs.

use std::time::Duration;

use serde_json::json;
use sluice_e2e::{Bootstrap, Connection, Envoy, Listener, Upstream};

/// Number of matches in a document. Each takes three bytes, and much more memory in a VM.
const MATCHES: usize = 150_000;

/// A listener whose document is large in memory. Requests get its number in a header.
fn version(number: usize) -> Listener {
    let document = json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["g"], "http": [{
            "match": vec![json!({}); MATCHES],
            "headers": { "response": { "set": { "version": number.to_string() } } },
            "route": [{ "destination": { "host": "service" } }],
        }] }],
    });
    Listener::new("edge").plugin(&document)
}

/// The version of the configuration that answers on a connection.
async fn version_on(envoy: &Envoy, connection: &mut Connection) -> String {
    let response = connection.send(envoy.listener("edge").get("/")).await;
    assert_eq!(response.status, 200, "{}", envoy.log());
    response.headers["version"].to_str().unwrap().to_owned()
}

/// An Envoy with two workers that drops old listeners after the drain time.
async fn start(drain_time: Duration) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("service");
    let bootstrap = Bootstrap::new()
        .cluster("service", &[upstream.address()])
        .dynamic_listeners()
        .workers(2)
        .drain_time(drain_time)
        .listener(version(0));
    (Envoy::start(&bootstrap).await, upstream)
}

/// Sends the next version. Waits until new connections have it, or returns false if it is refused.
async fn update(envoy: &Envoy, number: usize) -> bool {
    let is_taken = envoy.update(&[version(number)]).await;
    if is_taken {
        sluice_e2e::until("a worker has the update", async || {
            let mut connection = envoy.listener("edge").connect().await;
            (version_on(envoy, &mut connection).await == number.to_string()).then_some(())
        })
        .await;
    }
    is_taken
}

#[tokio::test]
async fn updates_are_refused_before_a_vm_has_no_memory() {
    const CONNECTIONS: usize = 1_000;
    const UPDATES: usize = 50;
    let (envoy, _upstream) = start(Duration::from_secs(600)).await;
    let (mut held, mut refused) = (Vec::new(), Vec::new());
    for number in 1..=UPDATES {
        for _ in 0..CONNECTIONS / UPDATES {
            let mut connection = envoy.listener("edge").connect().await;
            let version = version_on(&envoy, &mut connection).await;
            held.push((connection, version));
        }
        if !update(&envoy, number).await {
            refused.push(number);
        }
    }
    let first = *refused.first().expect("a refusal");
    assert_eq!(refused, Vec::from_iter(first..=UPDATES), "what fits once does not fit later");
    let error = "MiB of memory and the configurations in use have 6";
    assert_eq!(envoy.log().matches(error).count(), refused.len(), "{}", envoy.log());
    // Each connection has the configuration that it began with.
    for (connection, version) in &mut held {
        assert_eq!(version_on(&envoy, connection).await, *version);
    }
    assert_eq!(envoy.traps(), [""; 0]);
    println!("{} updates taken, {} MiB", first - 1, envoy.resident_memory() >> 20);
}

#[tokio::test]
async fn the_memory_of_configurations_that_have_ended_is_free_again() {
    let (envoy, _upstream) = start(Duration::from_secs(1)).await;
    for number in 1..=30 {
        assert!(update(&envoy, number).await, "update {number}: {}", envoy.log());
    }
    assert_eq!(envoy.traps(), [""; 0]);
}
