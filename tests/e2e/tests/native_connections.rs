//! Network filters of the dynamic module `libsluice.so`: what is not the same as in a wasm module.
//! The suites `sni` and `egress` run against it with `ATTACH=native`.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{
    Bootstrap, Envoy, envoy_is_of, native, native_network, native_network_of, test_modules, until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const PANICS: &str = "wasmcustom.sluice.panics";

/// The filter of `tests/panics` with this document.
fn panics(document: &str) -> Value {
    let file = test_modules().join("libsluice_test_panics.so");
    assert!(file.exists(), "{} is missing; run `cargo xtask test-module` first", file.display());
    native_network_of("sluice_test_panics", "panics", document)
}

/// A listener that passes connections on to `service`, through these filters.
fn listener(filters: &[Value]) -> Value {
    let proxy = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "edge",
            "cluster": "service",
            "access_log": [{
                "name": "envoy.access_loggers.stdout",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": { "json_format": {
                        "path": "edge",
                        "details": "%CONNECTION_TERMINATION_DETAILS%",
                    } },
                },
            }],
        },
    });
    let filters: Vec<_> = filters.iter().cloned().chain([proxy]).collect();
    json!({ "name": "edge", "filter_chains": [{ "filters": filters }] })
}

/// A service that answers the first bytes with `served` and closes.
async fn service() -> std::net::SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    // Envoy connects to it for many clients at once.
    let socket = socket.listen(1024).unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                if stream.read(&mut [0; 1024]).await.is_ok_and(|size| size > 0) {
                    let _ = stream.write_all(b"served").await;
                }
            });
        }
    });
    address
}

async fn start(filter: Value) -> Envoy {
    let bootstrap = Bootstrap::new()
        .workers(2)
        .raw_listener(listener(&[filter]))
        .cluster("service", &[service().await]);
    Envoy::start(&bootstrap).await
}

/// Sends bytes and returns the answer; empty if the connection is closed without one.
async fn send(envoy: &Envoy, bytes: &str) -> String {
    let mut stream = TcpStream::connect(envoy.listener("edge").address()).await.unwrap();
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(bytes.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    // A connection that is closed with unread bytes of the client is reset.
    let _: io::Result<usize> =
        tokio::time::timeout(Duration::from_secs(10), talk).await.expect("an end");
    String::from_utf8(answer).unwrap()
}

/// Returns the log of an Envoy that does not start with a listener.
async fn refusal(listener: Value) -> String {
    let bootstrap = Bootstrap::new().raw_listener(listener).cluster("service", &[service().await]);
    Envoy::try_start(&bootstrap).await.err().expect("Envoy does not start").log
}

#[tokio::test]
async fn filters_of_requests_are_no_network_filters() {
    let log = refusal(listener(&[native_network("router", "{}")])).await;
    let error = r#"filter_name: "router" is none of the network filters egress, sni"#;
    assert!(log.contains(error), "{log}");
    let log = refusal(listener(&[native_network("sni", r#"{"sni": {"mode": "of"}}"#)])).await;
    assert!(log.contains("sni.mode: "), "{log}");
}

/// Without a server name, `missing: allow` would let forged requests pass.
#[tokio::test]
async fn the_sni_filter_of_requests_requires_envoy_1_39() {
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "edge",
            "route_config": {},
            "http_filters": [
                native("sni", r#"{"sni": {"hosts": ["a.test"], "missing": "allow"}}"#),
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                },
            ],
        },
    });
    let listener = json!({ "name": "edge", "filter_chains": [{ "filters": [manager] }] });
    if envoy_is_of("1.38.") {
        let log = refusal(listener).await;
        assert!(log.contains("filter_name: sni requires Envoy 1.39"), "{log}");
    } else {
        Envoy::start(&Bootstrap::new().raw_listener(listener)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_closes_only_its_own_connection() {
    let envoy = start(panics("")).await;
    for (count, place) in (1..).zip(["data", "tick"]) {
        let mut waiting = JoinSet::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(envoy.listener("edge").address()).await.unwrap();
            stream.write_all(b"none 1000").await.unwrap();
            waiting.spawn(async move {
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.map(|_| answer)
            });
        }
        assert_eq!(send(&envoy, &format!("{place} 100")).await, "", "{place}");
        let is_counted = async || (envoy.stat(PANICS).await == count).then_some(());
        until(&format!("the panic of {place} is counted"), is_counted).await;
        assert_eq!(envoy.access_log("edge").await["details"], "sluice_panic", "{place}");
        for _ in 0..8 {
            assert_eq!(send(&envoy, "none").await, "served", "after {place}");
        }
        for answer in waiting.join_all().await {
            assert_eq!(answer.unwrap(), "served", "it has waited during {place}");
        }
        assert_eq!(envoy.stat(PANICS).await, count, "once for {place}");
    }
    // The connection is over: the client notices nothing.
    assert_eq!(send(&envoy, "end").await, "served");
    until("it is counted", async || (envoy.stat(PANICS).await == 3).then_some(())).await;
    let log = envoy.log();
    assert_eq!(log.matches("sluice: panicked at tests/panics/src/").count(), 3, "{log}");
}

/// A panic while the filter of a worker or of a connection is made, and in its first callback.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_passes_without_its_filter() {
    for place in ["worker", "stream", "new-connection"] {
        let envoy = start(panics(place)).await;
        for count in 1..=8 {
            assert_eq!(send(&envoy, "none").await, "", "{place}");
            let is_counted = async || (envoy.stat(PANICS).await == count).then_some(());
            until(&format!("panic {count} of {place} is counted"), is_counted).await;
        }
        assert_eq!(envoy.stat("cluster.service.upstream_cx_total").await, 0, "{place}");
    }
}

/// A tick continues several connections, and the number of a connection is used again.
#[tokio::test(flavor = "multi_thread")]
async fn panics_at_the_end_of_a_wait_close_the_right_connections() {
    const WAIT: Duration = Duration::from_millis(1500);
    let envoy = start(panics("")).await;
    for number in 1..=4 {
        // This one leaves while it waits, and the callback panics that ends it. Its entry is due
        // when all the others wait.
        let mut leaving = TcpStream::connect(envoy.listener("edge").address()).await.unwrap();
        leaving.write_all(b"end 1000").await.unwrap();
        // Ensures that it arrives before the connection ends.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(leaving);
        let has_left = async || (envoy.stat(PANICS).await == number).then_some(());
        until("it has left", has_left).await;
    }
    let mut connections = JoinSet::new();
    let address = envoy.listener("edge").address();
    for number in 0..200 {
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (start, place) = (Instant::now(), if number % 2 == 0 { "tick" } else { "none" });
            let first = format!("{place} {}", WAIT.as_millis());
            let mut answer = Vec::new();
            let _ = stream.write_all(first.as_bytes()).await;
            let _ = stream.read_to_end(&mut answer).await;
            (number, String::from_utf8(answer).unwrap(), start.elapsed())
        });
    }
    for (number, answer, elapsed) in connections.join_all().await {
        assert_eq!(answer, if number % 2 == 0 { "" } else { "served" }, "{number}");
        assert!(elapsed >= WAIT, "{number}: {elapsed:?}");
    }
    assert_eq!(envoy.stat(PANICS).await, 104);
    let log = envoy.log();
    assert!(!log.contains("the entry of another stream"), "{log}");
}
