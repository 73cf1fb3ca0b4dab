//! The HTTP filter when Envoy terminates TLS: the server name of the connection and the authority
//! of each request.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, tls};
use tokio::net::TcpStream;

use crate::{assert_counts, listener, plugin, tls_socket};

/// An Envoy with the filter before a route that answers all requests, with and without TLS.
async fn start(settings: Value) -> Envoy {
    start_with(&json!({
        "virtualServices": [{
            "hosts": ["www.example.com"],
            "http": [{ "directResponse": { "status": 200 } }],
        }],
        "sni": settings,
    }))
    .await
}

async fn start_with(document: &Value) -> Envoy {
    let manager = |name: &str| {
        json!([{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "access_log": [{
                    "name": "envoy.access_loggers.stdout",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                        "log_format": { "json_format": {
                            "path": "%REQ(:AUTHORITY)%",
                            "sni": "%FILTER_STATE(wasm.sluice.sni:PLAIN)%",
                            "details": "%RESPONSE_CODE_DETAILS%",
                        } },
                    },
                }],
                "http_filters": [
                    plugin("http", name, document),
                    {
                        "name": "envoy.filters.http.router",
                        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                    },
                ],
                "route_config": { "virtual_hosts": [{
                    "name": "all", "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" }, "direct_response": { "status": 200 },
                    }],
                }] },
            },
        }])
    };
    let bootstrap = Bootstrap::new()
        .raw_listener(listener("https", manager("https"), Some(tls_socket("server", false))))
        .raw_listener(listener("http", manager("http"), None));
    Envoy::start(&bootstrap).await
}

/// Returns the status of a request for `host` on a connection with the server name `sni`, if any.
async fn get(envoy: &Envoy, sni: Option<&str>, host: &str) -> u16 {
    // The certificate has only one of the names; its verification is not part of this test.
    let client = tls::Tls::default().server("www.example.com");
    let client = if sni.is_none() { client.without_sni() } else { client };
    let stream = TcpStream::connect(envoy.listener("https").address()).await.unwrap();
    let stream = client.connect(stream, sni.unwrap_or("www.example.com")).await.unwrap();
    tls::get(stream, host).await.unwrap().0
}

/// Source: gateway-api conformance/tests/httproute-https-listener-detect-misdirected-requests.go
#[tokio::test(flavor = "multi_thread")]
async fn requests_for_another_listener_are_misdirected() {
    let hosts = ["*", "second-example.org", "*.wildcard.org", "fourth.wildcard.org"];
    // A list of hosts needs no virtual services.
    let envoy = start_with(&json!({ "sni": { "hosts": hosts } })).await;
    for (sni, host, status) in [
        ("example.org", "example.org", 200),
        ("example.org", "second-example.org", 421),
        // No listener has this host. The router would refuse it, but this test has none.
        ("example.org", "unknown-example.org", 200),
        ("second-example.org", "unknown-example.org", 421),
        ("third.wildcard.org", "fith.wildcard.org", 200),
        ("third.wildcard.org", "fourth.wildcard.org", 421),
        ("unknown-example.org", "example.org", 200),
    ] {
        assert_eq!(get(&envoy, Some(sni), host).await, status, "{host} on {sni}");
    }
    assert_counts(&envoy, &[("agreed", 4), ("misdirected", 3), ("refused", 3)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_hosts_and_missing_names_are_refused() {
    let envoy = start(json!({})).await;
    let sni = Some("www.example.com");
    assert_eq!(get(&envoy, sni, "WWW.example.com:443").await, 200);
    assert_eq!(get(&envoy, sni, "forged.example.com").await, 421);
    assert_eq!(get(&envoy, Some("forged.example.com"), "www.example.com").await, 421);
    assert_eq!(get(&envoy, None, "www.example.com").await, 421);
    // A host may end in a dot.
    assert_eq!(get(&envoy, sni, "www.example.com.").await, 200);
    assert_eq!(get(&envoy, sni, "www.example.com..").await, 421);
    let logged = envoy.access_log("forged.example.com").await;
    assert_eq!(
        [&logged["sni"], &logged["details"]],
        ["host_not_allowed", "sluice_sni_host_not_allowed"],
        "{logged}"
    );
    // Without TLS there is no server name.
    let plain = envoy.listener("http").get("/").host("www.example.com").send().await;
    assert_eq!((plain.status, plain.text().as_str()), (421, ""));
    assert_counts(&envoy, &[("agreed", 2), ("host_not_allowed", 3), ("no_sni", 2), ("refused", 5)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_connection_is_checked() {
    let envoy = start(json!({ "hosts": ["*.example.com"], "authority": "exact" })).await;
    let client = tls::Tls::default().protocol("h2");
    let stream = TcpStream::connect(envoy.listener("https").address()).await.unwrap();
    let stream = client.connect(stream, "www.example.com").await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut statuses = Vec::new();
    for host in ["www.example.com", "other.example.com", "www.example.com"] {
        let request = hyper::Request::get(format!("https://{host}/"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        statuses.push(response.status().as_u16());
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(statuses, [200, 421, 200]);
    assert_counts(&envoy, &[("agreed", 2), ("misdirected", 1), ("refused", 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_name_passes_if_allowed_or_in_shadow_mode() {
    let envoy = start(json!({ "missing": "allow" })).await;
    assert_eq!(get(&envoy, None, "www.example.com").await, 200);
    assert_eq!(get(&envoy, None, "forged.example.com").await, 421);
    assert_counts(&envoy, &[("agreed", 1), ("host_not_allowed", 1), ("refused", 1)]).await;

    let envoy = start(json!({ "mode": "shadow" })).await;
    assert_eq!(get(&envoy, Some("www.example.com"), "forged.example.com").await, 200);
    assert_counts(&envoy, &[("host_not_allowed", 1), ("reported", 1)]).await;
}
