//! Clients that send the headers for copies themselves, and faulty mirrors.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::json;
use sluice_e2e::{Envoy, Listener, Mirroring, Upstream, any_host, until};

use crate::{Edge, bootstrap, mirror_all, rule, to_copy};

#[tokio::test]
async fn a_client_cannot_have_its_requests_copied() {
    let document = any_host(json!([rule(json!({}))]));
    let mirrorings = [to_copy(), Mirroring::ByHeader(3)];
    for (number, mirroring) in mirrorings.into_iter().enumerate() {
        let edge =
            Edge::start_with(&document, |listener| listener.mirroring(mirroring.clone())).await;
        let path = format!("/{number}");
        let request = edge.client().get(&path).header("x-sluice-mirror-0", "copy");
        let request =
            request.header("X-Sluice-Mirror-0", "copy").header("x-sluice-mirror-2", "copy");
        assert_eq!(request.header("x-sluice-mirror-9", b"\xff").send().await.upstream(), "primary");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let original = edge.primary.received(&path).pop().unwrap();
        let seen = original.headers.keys().find(|name| name.as_str().starts_with("x-sluice-"));
        assert_eq!(seen, None);
        assert_eq!(edge.copy.received("/").len(), 0);
        assert_eq!(edge.envoy.stat("cluster.copy.upstream_rq_total").await, 0);
        assert_eq!(edge.count("mirrored").await, 0);
        assert_eq!(edge.envoy.traps(), [""; 0]);
    }
}

/// A port at which the kernel accepts connections and no program answers.
fn hanging() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port at which nothing listens.
fn closed() -> SocketAddr {
    hanging().1
}

/// A port at which every connection is reset.
fn resetting() -> SocketAddr {
    let (listener, address) = hanging();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            // Closing a socket with unread data resets the connection.
            std::thread::sleep(Duration::from_millis(20));
            drop(stream);
        }
    });
    address
}

/// Sends requests in sequence and returns the maximum duration.
async fn longest(envoy: &Envoy, requests: usize) -> Duration {
    let client = envoy.listener("edge");
    let mut connection = client.connect().await;
    let mut longest = Duration::ZERO;
    for number in 0..requests {
        let request = client.get(&format!("/{number}")).body("body");
        let response = connection.send(request).await;
        assert_eq!(response.upstream(), "primary");
        longest = longest.max(response.elapsed);
    }
    longest
}

#[tokio::test]
async fn a_mirror_that_is_down_hangs_or_resets_does_not_matter() {
    let (_keep, hanging) = hanging();
    let slow = Upstream::slow("copy", Duration::from_secs(3));
    let document = mirror_all(json!({}));
    for (kind, address) in [
        ("down", closed()),
        ("hanging", hanging),
        ("resetting", resetting()),
        ("slow", slow.address()),
    ] {
        let primary = Upstream::echo("primary");
        let listener =
            Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
        let envoy = Envoy::start(&bootstrap(&primary, address).listener(listener)).await;
        // Far less than the time of the mirror, with a margin for busy machines.
        let longest = longest(&envoy, 50).await;
        assert!(longest < Duration::from_secs(2), "{kind}: {longest:?}");
        assert_eq!(primary.received("/").len(), 50, "{kind}");
        until("Envoy has sent the copies", async || {
            (envoy.stat("cluster.copy.upstream_rq_total").await
                + envoy.stat("cluster.copy.upstream_cx_connect_fail").await
                > 0)
            .then_some(())
        })
        .await;
        assert_eq!(envoy.traps(), [""; 0], "{kind}");
    }
}
