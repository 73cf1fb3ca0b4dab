//! The modules that are network filters too.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sluice_conformance::Client;
use sluice_e2e::{Upstream, any_host};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::compare;
use crate::variants::{Variant, cluster, of, start};

/// A service that answers the first bytes with its name and closes.
async fn service(name: &'static str) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut first = [0; 4096];
            let _ = stream.read(&mut first).await;
            let _ = stream.write_all(name.as_bytes()).await;
        }
    });
    address
}

/// A ClientHello with this server name.
fn hello(name: &str) -> Vec<u8> {
    Client { sni: Some(name.to_owned()), ..Client::default() }.bytes()
}

async fn clusters(primary: &Upstream) -> Vec<Value> {
    vec![
        cluster("primary", &[primary.address()]),
        cluster("raw", &[service("raw").await]),
        cluster("routed", &[service("routed").await]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_egress_filter_needs_each_call() {
    let mut document = any_host(json!([{ "route": [{ "destination": { "host": "primary" } }] }]));
    document["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
    document["egress"] = json!({ "port": 80 });
    document["serviceEntries"] = json!([{
        "hosts": ["a.example.com"],
        "ports": [{ "number": 80, "name": "any" }],
    }]);
    let primary = Upstream::echo("primary");
    let variants = of("egress");
    let listeners = variants.iter().flat_map(|variant| {
        let plugin = |kind| variant.plugin(kind, "", &document);
        [
            variant.listener(plugin("http"), &[("/", "primary")]),
            variant.tcp_listener("tls", plugin("network")),
        ]
    });
    let (envoy, _files) = start(listeners.collect(), clusters(&primary).await).await;
    compare(&envoy, &variants, async |observer| {
        observer
            .count(&[], async |observer| {
                observer.get("/known").await;
                observer.send("GET", "/unknown", &[("host", "b.example.com")]).await;
                for name in ["a.example.com", "b.example.com"] {
                    observer.talk("tls", name, &hello(name)).await;
                }
            })
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sni_filter_needs_each_call() {
    let document = |settings: Value| {
        json!({
            "clusterName": "{host}",
            "virtualServices": [{
                "hosts": ["*"],
                "gateways": ["gateway"],
                "tls": [{
                    "match": [{ "sniHosts": ["a.example.com"] }],
                    "route": [{ "destination": { "host": "routed" } }],
                }],
            }],
            "sni": settings,
        })
    };
    // A connection of this listener waits for a ClientHello, and then passes without one.
    let reporting = document(json!({
        "mode": "shadow", "missing": "allow", "innerMustMatchOuter": true,
        "helloTimeout": "50ms",
    }));
    let document = document(json!({}));
    let primary = Upstream::echo("primary");
    let variants = of("sni");
    let listeners = variants.iter().flat_map(|variant: &Variant| {
        let mut waiting =
            variant.tcp_listener("waiting", variant.plugin("network", "", &reporting));
        waiting["listener_filters"] = json!([]);
        [
            variant.listener(variant.plugin("http", "", &document), &[("/", "primary")]),
            variant.tcp_listener("tls", variant.plugin("network", "", &document)),
            waiting,
        ]
    });
    let (envoy, _files) = start(listeners.collect(), clusters(&primary).await).await;
    compare(&envoy, &variants, async |observer| {
        observer
            .count(&[], async |observer| {
                observer.get("/plain").await;
                for name in ["a.example.com", "b.example.com"] {
                    observer.talk("tls", name, &hello(name)).await;
                }
                // The start of a ClientHello.
                observer.talk("waiting", "waiting", &[22, 3, 1]).await;
            })
            .await;
    })
    .await;
}
