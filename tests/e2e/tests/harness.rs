//! Tests of the harness. Without a module, the client's own `x-sluice-cluster` selects the cluster,
//! which is sufficient to test every part.

use std::time::Duration;

use serde_json::json;
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, until};

#[tokio::test]
async fn a_request_goes_through_and_both_ends_see_it() {
    let upstream = Upstream::echo("one");
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").proxy_protocol())
            .cluster("outbound|80||one", &[upstream.address()]),
    )
    .await;

    let edge = envoy.listener("edge").destination_port(8443);
    let request = edge.get("/path?q=1").header("x-sluice-cluster", "outbound|80||one");
    let response = request.header("x-raw", b"a\xff").send().await;

    assert_eq!(response.upstream(), "one");
    assert_eq!(response.cluster().as_deref(), Some("outbound|80||one"));
    let received = upstream.received("/path");
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].path, "/path?q=1");
    assert_eq!(received[0].headers["x-raw"].as_bytes(), b"a\xff");
    assert_eq!(received[0].header("x-sluice-cluster"), [""; 0]);
    assert_eq!(envoy.access_log("/path?q=1").await["status"], 200);
    assert_eq!(envoy.stat("http.edge.downstream_rq_2xx").await, 1);
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn http2_goes_through() {
    let upstream = Upstream::echo("one");
    let envoy = Envoy::start(
        &Bootstrap::new().listener(Listener::new("edge")).cluster("one", &[upstream.address()]),
    )
    .await;

    let request = envoy.listener("edge").http2().get("/").host("b.example");
    let response = request.header("x-sluice-cluster", "one").body("hello").send().await;

    assert_eq!(response.json()["body"], "hello");
    assert_eq!(upstream.received("/")[0].header("host"), ["b.example"]);
}

#[tokio::test]
async fn an_envoy_that_refuses_its_configuration_shows_its_log() {
    let twice = Bootstrap::new().cluster("one", &[]).cluster("one", &[]);
    let failure = Envoy::try_start(&twice).await.err().expect("no start");
    assert_eq!(failure.status.code(), Some(1));
    assert!(failure.log.contains("duplicate cluster 'one'"), "{}", failure.log);
}

#[tokio::test]
async fn listeners_are_updated_in_place_and_keep_their_port() {
    let upstream = Upstream::slow("one", Duration::from_millis(100));
    let listener = Listener::new("edge");
    let envoy = Envoy::start(
        &Bootstrap::new()
            .dynamic_listeners()
            .listener(listener.clone())
            .cluster("one", &[upstream.address()]),
    )
    .await;
    let edge = envoy.listener("edge");
    let request =
        || edge.get("/").header("x-sluice-cluster", "one").header("x-pad", [b'x'; 70_000]);
    assert_eq!(request().send().await.status, 431, "60 kB are Envoy's limit");

    assert!(envoy.update(&[listener.max_headers(96, 100)]).await, "{}", envoy.log());
    until("the new limit holds", async || (request().send().await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_refused_update_is_reported() {
    let envoy =
        Envoy::start(&Bootstrap::new().dynamic_listeners().listener(Listener::new("edge"))).await;
    let bad = Listener::new("edge").max_headers(1_000_000, 1);
    assert!(!envoy.update(&[bad]).await, "{}", envoy.log());
    assert_eq!(envoy.listener("edge").get("/").send().await.status, 503);
}

#[tokio::test]
async fn node_metadata_is_what_was_given() {
    let metadata = json!({ "NAMESPACE": "shop", "LABELS": { "app": "cart" } });
    let envoy = Envoy::start(&Bootstrap::new().node_metadata(metadata.clone())).await;
    let server = envoy.admin("/server_info").await.json();
    assert_eq!(server["node"]["metadata"], metadata);
}
