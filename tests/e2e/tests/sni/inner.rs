//! TLS in TLS, as at an egress gateway: the inner name must equal the outer one. A client with a
//! certificate of the mesh can bypass its sidecar, so it controls both names.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_conformance::Client;
use sluice_e2e::{Bootstrap, Envoy, tls, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::{assert_counts, document, recorded, service, tcp_listener, tls_socket};

const NAME: &str = "recorded.example.com";

async fn start(settings: Value) -> Envoy {
    let mut all = json!({ "innerMustMatchOuter": true });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let document = document(json!(["*.example.com"]), "inside", all);
    let socket = tls_socket("egress-gateway", true);
    let gateway = Bootstrap::new()
        .raw_listener(tcp_listener("gateway", &document, "fallback", Some(socket)))
        .cluster("inside", &[service("inside").await])
        .cluster("fallback", &[service("fallback").await]);
    Envoy::start(&gateway).await
}

/// The TLS of the mesh, with this outer name.
async fn open(gateway: &Envoy, outer: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let tls = tls::Tls::default().identity("sidecar").server("egress-gateway.example.net");
    let stream = TcpStream::connect(gateway.listener("gateway").address()).await?;
    stream.set_nodelay(true)?;
    tls.connect(stream, outer).await
}

/// Sends bytes inside of TLS and returns the answer; empty if the connection is closed without one.
async fn send(gateway: &Envoy, outer: &str, pieces: &[&[u8]]) -> String {
    let talk = async {
        let mut stream = open(gateway, outer).await?;
        for piece in pieces {
            stream.write_all(piece).await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        std::io::Result::Ok(String::from_utf8(answer).unwrap())
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), talk).await;
    answer.expect("an end").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_passes_in_any_pieces() {
    let gateway = start(json!({})).await;
    for hello in [&recorded!("curl")[..], recorded!("openssl-tls12"), recorded!("go")] {
        assert_eq!(send(&gateway, NAME, &[hello]).await, "inside");
    }
    let bytes: Vec<&[u8]> = recorded!("openssl-tls12").chunks(1).collect();
    assert_eq!(send(&gateway, "RECORDED.example.com", &bytes).await, "inside");
    let small = Client { sni: Some(NAME.to_owned()), record: Some(3), ..Client::default() };
    assert_eq!(send(&gateway, NAME, &[&small.bytes()]).await, "inside");
    assert_counts(&gateway, &[("routed", 5), ("snis_match", 5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_names_are_closed() {
    let gateway = start(json!({})).await;
    // An allowed outer name around another inner one, which is also allowed.
    assert_eq!(send(&gateway, "www.example.com", &[recorded!("curl")]).await, "");
    // No inner name.
    assert_eq!(send(&gateway, NAME, &[recorded!("openssl-no-sni")]).await, "");
    // An encrypted hello.
    assert_eq!(send(&gateway, NAME, &[recorded!("chromium")]).await, "");
    // A name with a zero byte, which C code would truncate.
    let mut cut = recorded!("openssl-tls12").to_vec();
    let at = cut.windows(20).position(|window| window == NAME.as_bytes()).unwrap();
    cut[at + 19] = 0;
    assert_eq!(send(&gateway, NAME, &[&cut]).await, "");
    // No TLS.
    assert_eq!(
        send(&gateway, NAME, &[b"GET / HTTP/1.1\r\nhost: recorded.example.com\r\n\r\n"]).await,
        ""
    );
    // One byte is enough.
    assert_eq!(send(&gateway, NAME, &[b"G"]).await, "");
    // An outer name that is not allowed, or none.
    assert_eq!(send(&gateway, "a.org", &[recorded!("curl")]).await, "");
    assert_counts(
        &gateway,
        &[
            ("routed", 6),
            ("snis_do_not_match", 1),
            ("inner_sni_not_found", 1),
            ("ech", 1),
            ("malformed_client_hello", 1),
            ("tls_not_found", 2),
            ("no_route", 1),
            ("refused", 7),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_hello_is_closed_at_its_first_bytes() {
    let gateway = start(json!({ "maxClientHelloBytes": 1000 })).await;
    let large = Client { sni: Some(NAME.to_owned()), padding: Some(2000), ..Client::default() };
    let large = large.bytes();
    // The first bytes contain the lengths.
    assert_eq!(send(&gateway, NAME, &[&large[..20]]).await, "");
    assert_eq!(send(&gateway, NAME, &[recorded!("curl")]).await, "inside");
    assert_counts(
        &gateway,
        &[("routed", 2), ("client_hello_too_large", 1), ("snis_match", 1), ("refused", 1)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_one_byte_a_second_is_closed_in_time() {
    let gateway = start(json!({ "helloTimeout": "3s" })).await;
    let start = Instant::now();
    let mut stream = open(&gateway, NAME).await.unwrap();
    let mut sent = 0;
    for byte in recorded!("curl") {
        let written = stream.write_all(std::slice::from_ref(byte)).await;
        if written.is_err() || stream.flush().await.is_err() {
            break;
        }
        sent += 1;
        let mut answer = [0];
        let end = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
        if let Ok(end) = end {
            assert!(!matches!(end, Ok(1..)), "an answer");
            break;
        }
    }
    let elapsed = start.elapsed();
    assert!(
        (Duration::from_millis(2900)..Duration::from_secs(8)).contains(&elapsed),
        "{elapsed:?}"
    );
    assert!((3..=8).contains(&sent), "{sent} bytes");
    assert_counts(&gateway, &[("routed", 1), ("client_hello_timeout", 1), ("refused", 1)]).await;
}

/// Many clients that send nothing, and one that sends its ClientHello in time.
#[tokio::test(flavor = "multi_thread")]
async fn many_silent_clients_are_closed_and_the_others_are_not() {
    let gateway = start(json!({ "helloTimeout": "2s" })).await;
    let start = Instant::now();
    let mut silent = JoinSet::new();
    for _ in 0..100 {
        let mut stream = open(&gateway, NAME).await.unwrap();
        silent.spawn(async move {
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer))
                .await
                .expect("closed");
            (answer, start.elapsed())
        });
    }
    assert_eq!(send(&gateway, NAME, &[recorded!("curl")]).await, "inside");
    for (answer, elapsed) in silent.join_all().await {
        assert_eq!(answer, b"");
        assert!(elapsed > Duration::from_millis(1900), "{elapsed:?}");
    }
    assert_counts(
        &gateway,
        &[("routed", 101), ("snis_match", 1), ("client_hello_timeout", 100), ("refused", 100)],
    )
    .await;
    // The number of log lines is bounded, for any number of closed connections.
    let lines = gateway.log().matches("sni outcome=client_hello_timeout").count();
    assert!((1..=40).contains(&lines), "{lines} lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_are_counted_and_forgotten() {
    let gateway = start(json!({})).await;
    let half = &recorded!("curl")[..200];
    // One client sends a FIN, one drops the connection.
    let mut ends = open(&gateway, NAME).await.unwrap();
    ends.write_all(half).await.unwrap();
    ends.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = ends.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    let mut leaves = open(&gateway, NAME).await.unwrap();
    leaves.write_all(half).await.unwrap();
    leaves.flush().await.unwrap();
    // Ensures that it arrives before the connection ends.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(leaves);
    let found = until("both are counted", async || {
        let counts = crate::counts(&gateway).await;
        (counts.get("incomplete_client_hello") == Some(&2)).then_some(counts)
    });
    assert_eq!(found.await.get("routed"), Some(&2));
    assert_eq!(gateway.traps(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_forwards_after_the_timeout() {
    let gateway = start(json!({ "mode": "shadow", "helloTimeout": "500ms" })).await;
    assert_eq!(send(&gateway, "www.example.com", &[recorded!("curl")]).await, "inside");
    // Half of a ClientHello is forwarded after the timeout.
    assert_eq!(send(&gateway, NAME, &[&recorded!("curl")[..200]]).await, "inside");
    assert_counts(
        &gateway,
        &[("routed", 2), ("snis_do_not_match", 1), ("client_hello_timeout", 1), ("reported", 2)],
    )
    .await;
}
