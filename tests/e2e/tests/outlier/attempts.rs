//! Which results of attempts are failures of the host.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Method;
use serde_json::json;
use sluice_e2e::{Answer, Bootstrap, Client, Envoy, Listener, Mirroring, Upstream, until};

use crate::{Edge, document, routed, stat, statuses};

/// An address at which nothing listens.
fn closed_port() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

#[tokio::test]
async fn a_refused_connection_is_a_gateway_error_of_the_host() {
    let detection = json!({ "consecutiveGatewayErrors": 2, "interval": "10s",
        "maxEjectionPercent": 50 });
    let (document, router) = routed(&detection);
    let good = Upstream::echo("good");
    let bootstrap = Bootstrap::new()
        .cluster("pool", &[closed_port(), good.address()])
        .outlier_plugin(&document)
        .listener(Listener::new("edge").plugin(&router).outlier(&document));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts: vec![good] };
    let first = statuses(&edge.send("first", 4).await);
    assert_eq!(first.iter().filter(|status| **status == 503).count(), 2, "{first:?}");
    assert_eq!(edge.stat("ejections_enforced_consecutive_gateway_failure").await, 1);
    assert_eq!(statuses(&edge.send("then", 10).await), [200; 10]);
}

#[tokio::test]
async fn a_retry_goes_to_another_host() {
    let detection =
        json!({ "consecutive5xxErrors": 2, "interval": "10s", "maxEjectionPercent": 70 });
    let hosts = vec![Upstream::status("bad", 503), Upstream::echo("good"), Upstream::echo("other")];
    let retry = json!({ "retry_on": "5xx", "num_retries": 2 });
    let edge = Edge::start_with(detection, hosts, |b| b, |l| l.retry_policy(retry.clone())).await;
    assert_eq!(statuses(&edge.send("all", 30).await), [200; 30]);
    let shares = edge.shares("all");
    assert_eq!(shares[0], 2, "each of its attempts counts, {shares:?}");
    assert_eq!(shares[1] + shares[2], 30);
    // The filter passes the load balancer a list of hosts, which includes hosts for retries.
    assert_eq!(edge.stat("ejections_active").await, 1);
}

/// A timeout per attempt, and a timeout of the request.
#[tokio::test]
async fn a_host_that_is_too_slow_fails() {
    let limits = [
        json!({ "retries": {
            "attempts": 1, "perTryTimeout": "100ms", "retryOn": "connect-failure",
        } }),
        json!({ "timeout": "100ms" }),
    ];
    for limit in limits {
        let detection = json!({ "consecutiveGatewayErrors": 2, "interval": "10s",
            "maxEjectionPercent": 100 });
        let (document, mut router) = routed(&detection);
        for (name, value) in limit.as_object().expect("fields") {
            router["virtualServices"][0]["http"][0][name] = value.clone();
        }
        let slow = Upstream::slow("slow", Duration::from_secs(5));
        let bootstrap = Bootstrap::new()
            .cluster("pool", &[slow.address()])
            .outlier_plugin(&document)
            .listener(Listener::new("edge").plugin(&router).outlier(&document));
        let edge = Edge { envoy: Envoy::start(&bootstrap).await, hosts: vec![slow] };
        for number in 0..2 {
            assert_eq!(edge.stat("ejections_active").await, 0, "{limit} {number}");
            assert_eq!(statuses(&edge.send("slow", 1).await), [504]);
        }
        assert_eq!(edge.stat("ejections_active").await, 1, "{limit}");
        assert_eq!(edge.envoy.traps(), [""; 0]);
    }
}

async fn leave(client: &Client, path: &str) {
    let answer = tokio::time::timeout(Duration::from_millis(50), client.get(path).send()).await;
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_client_that_leaves_is_not_a_failure() {
    let detection =
        json!({ "consecutive5xxErrors": 1, "interval": "10s", "maxEjectionPercent": 100 });
    let slow = Upstream::slow("slow", Duration::from_millis(300));
    let edge = Edge::start(detection, vec![slow]).await;
    let client = edge.client();
    let http2 = client.clone().http2();
    let connection = http2.connect().await;
    for number in 0..5 {
        leave(&client, &format!("/gone/{number}")).await;
        let mut stream = connection.share();
        let request = stream.send(http2.get(&format!("/reset/{number}")));
        let answer = tokio::time::timeout(Duration::from_millis(50), request).await;
        assert!(answer.is_err());
    }
    until("Envoy has closed them", async || {
        (edge.envoy.stat("cluster.pool.upstream_rq_active").await == 0).then_some(())
    })
    .await;
    assert_eq!(statuses(&edge.send("then", 1).await), [200]);
    assert_eq!(edge.stat("ejections_detected_consecutive_5xx").await, 0);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_a_local_failure() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let detection = json!({ "splitExternalLocalOriginErrors": true, "interval": "10s",
        "consecutiveLocalOriginFailures": 1, "maxEjectionPercent": 100 });
    let (document, router) = routed(&detection);
    let bootstrap = Bootstrap::new()
        .cluster("pool", &[address])
        .outlier_plugin(&document)
        .listener(Listener::new("edge").plugin(&router).outlier(&document));
    let envoy = Envoy::start(&bootstrap).await;
    let client = envoy.listener("edge");
    assert!(client.connect().await.try_send(client.get("/")).await.is_err());
    let local = "ejections_enforced_consecutive_local_origin_failure";
    until("it is ejected", async || (stat(&envoy, local).await == 1).then_some(())).await;
    assert_eq!(client.get("/then").send().await.text(), "no healthy upstream");
    assert_eq!(envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn a_grpc_status_in_trailers_can_be_a_failure() {
    let answer = |grpc: &'static str| Answer {
        headers: vec![("content-type", "application/grpc"), ("grpc-status", grpc)],
        body: Some(""),
        ..Answer::default()
    };
    let detection = json!({ "consecutive5xxErrors": 2, "interval": "10s",
        "maxEjectionPercent": 50, "failure": { "grpcStatus": ["UNAVAILABLE"] } });
    let hosts = vec![
        Upstream::answering("bad", move |_| answer("14")),
        Upstream::answering("good", move |_| answer("5")),
    ];
    let edge = Edge::start(detection, hosts).await;
    edge.send("first", 4).await;
    edge.send("then", 6).await;
    assert_eq!(edge.shares("then"), [0, 6]);
}

/// Copies and calls are streams without a client, with fewer attributes.
#[tokio::test]
async fn copies_count_and_break_nothing() {
    let detection =
        json!({ "consecutive5xxErrors": 2, "interval": "10s", "maxEjectionPercent": 100 });
    let document = document(&detection);
    let (primary, copy) = (Upstream::echo("primary"), Upstream::status("copy", 500));
    let rules = json!([{ "route": [{ "destination": { "host": "primary" } }] }]);
    let bootstrap = Bootstrap::new()
        .cluster("primary", &[primary.address()])
        .cluster("pool", &[copy.address()])
        .outlier_plugin(&document)
        .listener(
            Listener::new("edge")
                .plugin(&sluice_e2e::any_host(rules))
                .mirroring(Mirroring::Native("pool", 100))
                .outlier(&document),
        );
    let envoy = Envoy::start(&bootstrap).await;
    let client = envoy.listener("edge");
    let copied = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let request = client.request(Method::POST, &format!("/{number}")).body("body");
            assert_eq!(request.send().await.status, 200);
        }
    };
    copied(0..2).await;
    until("the copies arrive", async || (copy.received("/").len() == 2).then_some(())).await;
    until("it is ejected", async || (stat(&envoy, "ejections_active").await == 1).then_some(()))
        .await;
    copied(2..4).await;
    let refused = async || stat(&envoy, "no_healthy_upstream").await;
    until("further copies are refused", async || (refused().await == 2).then_some(())).await;
    assert_eq!(copy.received("/").len(), 2);
    assert_eq!(client.get("/then").send().await.status, 200);
    assert_eq!(envoy.traps(), [""; 0]);
}
