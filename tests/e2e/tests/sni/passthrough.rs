//! TLS passthrough: routing by server name, and closed connections.

use serde_json::{Value, json};
use sluice_conformance::Client;
use sluice_e2e::{Bootstrap, Envoy, Upstream, is_native, tls};
use tokio::net::TcpStream;

use crate::{assert_counts, document, listener, recorded, send, service, tcp_listener, tls_socket};

/// An Envoy that terminates the TLS of `www.example.com`, and one in front of it that passes it
/// through.
async fn start(settings: Value) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("web");
    let manager = json!([{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "web",
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
            }],
            "route_config": { "virtual_hosts": [{
                "name": "web", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "web" } }],
            }] },
        },
    }]);
    let server = Bootstrap::new()
        .raw_listener(listener("web", manager, Some(tls_socket("server", false))))
        .cluster("web", &[upstream.address()]);
    let server = Envoy::start(&server).await;
    let names = json!(["www.example.com", "recorded.example.com", "*.wiki.example.org"]);
    let document = document(names, "server", settings);
    let edge = Bootstrap::new()
        .raw_listener(tcp_listener("edge", &document, "fallback", None))
        .cluster("server", &[server.listener("web").address()])
        .cluster("fallback", &[service("fallback").await]);
    let edge = Envoy::start(&edge).await;
    // The task lives as long as the runtime of the test.
    tokio::spawn(async move {
        let _server = server;
        std::future::pending::<()>().await;
    });
    (edge, upstream)
}

async fn get(edge: &Envoy, tls: &tls::Tls, name: &str) -> std::io::Result<u16> {
    let stream = TcpStream::connect(edge.listener("edge").address()).await?;
    let stream = tls.connect(stream, name).await?;
    Ok(tls::get(stream, name).await?.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_of_either_version_reaches_its_server() {
    let (edge, _upstream) = start(json!({})).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = tls::Tls::default().only(version);
        assert_eq!(get(&edge, &tls, "www.example.com").await.unwrap(), 200);
        assert_eq!(get(&edge, &tls, "WWW.Example.com").await.unwrap(), 200);
        assert_eq!(get(&edge, &tls, "a.wiki.example.org").await.unwrap(), 200);
        for name in ["other.example.com", "wiki.example.org"] {
            assert!(get(&edge, &tls, name).await.is_err(), "{name}");
        }
        assert!(get(&edge, &tls.without_sni(), "www.example.com").await.is_err());
    }
    assert_counts(
        &edge,
        &[("routed", 6), ("snis_match", 6), ("no_route", 4), ("no_sni", 2), ("refused", 6)],
    )
    .await;
    let logged = edge.access_log("edge").await;
    assert_eq!([&logged["sni"], &logged["cluster"]], ["snis_match", "server"], "{logged}");
    assert!(edge.log().contains("sni outcome=no_route action=refused sni=other.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_tls_are_closed() {
    let (edge, upstream) = start(json!({})).await;
    assert_eq!(send(&edge, "edge", b"GET / HTTP/1.1\r\nhost: www.example.com\r\n\r\n").await, "");
    assert_eq!(send(&edge, "edge", b"SSH-2.0-x\r\n").await, "");
    let address = Client { sni: Some("10.0.0.1".to_owned()), ..Client::default() };
    assert_eq!(send(&edge, "edge", &address.bytes()).await, "");
    assert_counts(&edge, &[("no_sni", 2), ("invalid_sni", 1), ("refused", 3)]).await;
    assert_eq!(upstream.received("/").len(), 0);
    // The log contains no bytes of the client.
    assert!(edge.log().contains("sni outcome=invalid_sni action=refused sni=- asked=- source="));
    assert!(!edge.log().contains("10.0.0.1"));
}

/// Chromium's ClientHello has an extension that cannot be distinguished from an encrypted
/// ClientHello.
#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_hello_is_refused_unless_its_outer_name_counts() {
    let (edge, _upstream) = start(json!({})).await;
    assert_eq!(send(&edge, "edge", recorded!("chromium")).await, "");
    assert_counts(&edge, &[("routed", 1), ("ech", 1), ("refused", 1)]).await;

    let document =
        document(json!(["recorded.example.com"]), "server", json!({ "ech": "outerName" }));
    let edge = Bootstrap::new()
        .raw_listener(tcp_listener("edge", &document, "none", None))
        .cluster("server", &[service("server").await]);
    let edge = Envoy::start(&edge).await;
    assert_eq!(send(&edge, "edge", recorded!("chromium")).await, "server");
    assert_eq!(send(&edge, "edge", recorded!("curl")).await, "server");
    // The decision does not depend on the bytes, so they are not read.
    assert_counts(&edge, &[("routed", 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_hosts_works_without_virtual_services() {
    let document = json!({ "sni": { "hosts": ["*.example.com"], "routing": false } });
    let edge = Bootstrap::new()
        .raw_listener(tcp_listener("edge", &document, "fallback", None))
        .cluster("fallback", &[service("fallback").await]);
    let edge = Envoy::start(&edge).await;
    assert_eq!(send(&edge, "edge", recorded!("go")).await, "fallback");
    assert_eq!(send(&edge, "edge", recorded!("openssl-no-sni")).await, "");
    let other = Client { sni: Some("a.org".to_owned()), ..Client::default() };
    assert_eq!(send(&edge, "edge", &other.bytes()).await, "");
    assert_counts(
        &edge,
        &[
            ("allowed", 1),
            ("snis_match", 1),
            ("no_sni", 1),
            ("host_not_allowed", 1),
            ("refused", 2),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_lets_everything_pass_and_counts_it() {
    let (edge, _upstream) = start(json!({ "mode": "shadow" })).await;
    let other = Client { sni: Some("a.org".to_owned()), ..Client::default() };
    assert_eq!(send(&edge, "edge", &other.bytes()).await, "fallback");
    assert_eq!(send(&edge, "edge", b"GET / HTTP/1.1\r\n\r\n").await, "fallback");
    assert_eq!(
        get(&edge, &tls::Tls::default(), "www.example.com").await.unwrap(),
        200,
        "what is in order goes where it is routed"
    );
    assert_counts(
        &edge,
        &[
            ("no_route", 1),
            ("no_sni", 1),
            ("routed", 1),
            ("snis_match", 2),
            ("tls_not_found", 1),
            ("reported", 3),
        ],
    )
    .await;
    assert!(edge.log().contains("action=reported"));
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_are_logged_once_for_all_workers() {
    let names = json!(["recorded.example.com"]);
    let mut document = document(names.clone(), "server", json!({}));
    let route = json!([{ "destination": { "host": "server" } }]);
    let again = json!({ "match": [{ "sniHosts": names }], "route": route });
    document["virtualServices"][0]["tls"].as_array_mut().unwrap().push(again);
    let edge = Bootstrap::new()
        .workers(4)
        .raw_listener(tcp_listener("edge", &document, "none", None))
        .raw_listener(tcp_listener("same", &document, "none", None))
        .cluster("server", &[service("server").await]);
    let edge = Envoy::start(&edge).await;
    for _ in 0..40 {
        assert_eq!(send(&edge, "edge", recorded!("curl")).await, "server");
        assert_eq!(send(&edge, "same", recorded!("curl")).await, "server");
    }
    // The line with the version: each VM writes it, and the dynamic module once.
    let lines = edge.log().matches("sluice sni ").count();
    assert!(if is_native() { lines == 1 } else { lines > 4 }, "{lines} lines: {}", edge.log());
    let notice = "tls[1].match[0]: is never reached";
    assert_eq!(edge.log().matches(notice).count(), 1, "{}", edge.log());
}

/// The TLS inspector reads the ClientHello first, and its limit cannot be raised.
#[tokio::test(flavor = "multi_thread")]
async fn the_tls_inspector_closes_hellos_above_its_limit() {
    let (edge, _upstream) = start(json!({ "maxClientHelloBytes": 65536 })).await;
    let hello = |padding| {
        let sni = Some("recorded.example.com".to_owned());
        Client { sni, padding: Some(padding), ..Client::default() }.bytes()
    };
    let without_padding = hello(0).len();
    let padding = |size: usize| u16::try_from(size - without_padding).unwrap();
    let largest = hello(padding(16_384));
    assert_eq!(largest.len(), 16_384);
    // The server answers with an alert, because this ClientHello has no key share.
    send(&edge, "edge", &largest).await;
    assert_counts(&edge, &[("routed", 1), ("snis_match", 1)]).await;
    assert_eq!(edge.stat("tls_inspector.client_hello_too_large").await, 0);
    assert_eq!(send(&edge, "edge", &hello(padding(16_400))).await, "");
    assert_eq!(edge.stat("tls_inspector.client_hello_too_large").await, 1);
    assert_counts(&edge, &[("routed", 1), ("snis_match", 1)]).await;
}
