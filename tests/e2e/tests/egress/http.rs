//! HTTP requests: the filter decides by their host.

use hyper::Method;
use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Upstream, exchange};

use crate::{assert_counts, connection_manager, filter, listener_filter, registry_only, web};

/// An Envoy whose listener has the HTTP filter and forwards to an echoing upstream. Clients can set
/// the original destination with the PROXY protocol.
async fn start(document: &Value) -> (Envoy, Client, Upstream) {
    let upstream = Upstream::echo("service");
    let route = json!({ "route": { "cluster": "service" } });
    let manager = connection_manager(vec![filter("http", document)], route);
    let proxy_protocol = listener_filter(
        "proxy_protocol",
        "ProxyProtocol",
        json!({ "allow_requests_without_proxy_protocol": true }),
    );
    let bootstrap = Bootstrap::new()
        .wildcard_listener(json!({
            "name": "egress",
            "listener_filters": [proxy_protocol],
            "filter_chains": [{ "filters": [manager] }],
        }))
        .cluster("service", &[upstream.address()]);
    let envoy = Envoy::start(&bootstrap).await;
    let client = envoy.listener("egress");
    (envoy, client, upstream)
}

/// E2, E3 and E13: names as they are, at the ports of their entry, and names below a wildcard.
#[tokio::test]
async fn only_registered_hosts_are_allowed() {
    let document = registry_only(json!([web(&["httpbin.org", "*.example.org"])]), json!({}));
    let (envoy, client, upstream) = start(&document).await;
    let http = client.clone().destination_port(80);
    for (host, expected) in [
        ("httpbin.org", 200),
        ("HTTPBIN.org", 200),
        ("httpbin.org:80", 200),
        ("httpbin.org.", 200),
        ("a.example.org", 200),
        ("a.b.example.org", 200),
        ("example.org", 502),
        ("xexample.org", 502),
        ("httpbin.org.evil.com", 502),
        ("www.google.com", 502),
    ] {
        let response = http.get("/").host(host).send().await;
        assert_eq!(response.status, expected, "{host}");
        if expected == 502 {
            assert_eq!(response.text(), "", "{host}");
        }
    }
    assert_eq!(upstream.received("/").len(), 6);
    assert_counts(&envoy, &[("known", 6), ("unknown_name", 4)]).await;

    // The port that the client connected to counts, as in Istio, and not the one of the host.
    let elsewhere = client.clone().destination_port(8080);
    for host in ["httpbin.org", "httpbin.org:80"] {
        assert_eq!(elsewhere.get("/").host(host).send().await.status, 502, "{host}");
    }
    let tls = client.destination_port(443);
    assert_eq!(tls.get("/").host("httpbin.org").send().await.status, 502, "TLS only");
    assert_counts(&envoy, &[("known", 6), ("unknown_name", 4), ("unknown_port", 3)]).await;
}

/// E1
#[tokio::test]
async fn allow_any_allows_every_host() {
    let document = json!({
        "outboundTrafficPolicy": { "mode": "ALLOW_ANY" },
        "serviceEntries": [web(&["httpbin.org"])],
    });
    let (envoy, client, _upstream) = start(&document).await;
    let http = client.destination_port(80);
    for host in ["httpbin.org", "www.google.com", "10.0.0.1"] {
        assert_eq!(http.get("/").host(host).send().await.upstream(), "service");
    }
    assert_counts(&envoy, &[("known", 1), ("passthrough", 2)]).await;
}

#[tokio::test]
async fn access_logs_and_optional_headers_contain_the_reason() {
    let settings = json!({ "blockStatus": 403, "port": 80 });
    let document = registry_only(json!([web(&["a.com"]), web(&["b.com"])]), settings);
    let (envoy, client, _upstream) = start(&document).await;
    assert_eq!(client.get("/known").host("b.com").send().await.status, 200);
    let known = envoy.access_log("/known").await;
    assert_eq!(
        [&known["egress"], &known["details"]],
        ["serviceEntries[1]", "via_upstream"],
        "{known}"
    );
    let refused = client.get("/refused").host("c.com").send().await;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (403, "egress: the host is not registered")
    );
    let refused = envoy.access_log("/refused").await;
    assert_eq!(
        [&refused["egress"], &refused["details"]],
        ["unknown_name", "sluice_egress_unknown_name"],
        "{refused}"
    );
    assert_counts(&envoy, &[("known", 1), ("unknown_name", 1)]).await;
}

#[tokio::test]
async fn shadow_mode_allows_and_counts() {
    let settings = json!({ "mode": "shadow", "port": 80 });
    let (envoy, client, _upstream) =
        start(&registry_only(json!([web(&["a.com"])]), settings)).await;
    for host in ["a.com", "b.com"] {
        assert_eq!(client.get("/").host(host).send().await.upstream(), "service", "{host}");
    }
    assert_counts(&envoy, &[("known", 1), ("unknown_name", 1), ("reported", 1)]).await;
}

/// A forward proxy uses the port of the host, and tunnels always do, because the traffic goes to
/// that port.
#[tokio::test]
async fn a_forward_proxy_uses_the_port_of_the_host() {
    let entries = json!([web(&["a.com"])]);
    let (envoy, client, _upstream) =
        start(&registry_only(entries, json!({ "port": "authority" }))).await;
    for (host, expected) in [
        ("a.com", 200),
        ("a.com:80", 200),
        ("a.com:8080", 502),
        ("a.com:443", 502),
        ("a.com:99999", 502),
    ] {
        assert_eq!(client.get("/").host(host).send().await.status, expected, "{host}");
    }
    assert_counts(&envoy, &[("known", 2), ("unknown_port", 3)]).await;

    // Envoy forwards an accepted tunnel to an upstream, which does not support it here.
    for (target, is_known) in
        [("a.com:443", true), ("a.com:80", true), ("a.com:22", false), ("b.com:443", false)]
    {
        let request =
            format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n");
        let answer = exchange(client.address(), request.as_bytes()).await;
        assert_eq!(!answer.starts_with("HTTP/1.1 502"), is_known, "{target}: {answer}");
    }
    let expected = [("known", 4), ("unknown_port", 4), ("unknown_name", 1)];
    assert_counts(&envoy, &expected).await;
}

/// Malformed hosts with which an attacker may try to bypass the registry.
#[tokio::test]
async fn invalid_hosts_are_refused() {
    let settings = json!({ "port": 80 });
    let (envoy, client, upstream) =
        start(&registry_only(json!([web(&["a.com", "*.example.org"])]), settings)).await;
    for host in [
        "evil.com/.example.org",
        "evil.com#.example.org",
        "evil.com?.example.org",
        "user@evil.com:80@x.example.org",
        "evil.com:80.example.org",
        "..example.org",
        ".example.org",
        "a.com\\.evil.com",
        "a.com,evil.com",
        "a.com%00.evil.com",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = exchange(client.address(), request.as_bytes()).await;
        let status = answer.split(' ').nth(1);
        assert!(matches!(status, Some("400" | "502")), "{host}: {answer}");
    }
    // An absolute target has precedence over the header.
    let absolute = b"GET http://evil.com/ HTTP/1.1\r\nhost: a.com\r\nconnection: close\r\n\r\n";
    assert!(exchange(client.address(), absolute).await.starts_with("HTTP/1.1 502"));
    let twice = b"GET / HTTP/1.1\r\nhost: a.com\r\nhost: evil.com\r\nconnection: close\r\n\r\n";
    let answer = exchange(client.address(), twice).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 502"), "{answer}");
    // Without a host, Envoy itself refuses HTTP/1.1, and the filter HTTP/1.0.
    let none = exchange(client.address(), b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(none.contains(" 502 ") || none.contains(" 426 ") || none.contains(" 400 "), "{none}");
    assert_eq!(upstream.received("/").len(), 0);
    assert_eq!(envoy.stat("wasmcustom.sluice.egress.known").await, 0);
    assert_eq!(envoy.traps(), [""; 0]);
}

/// With HTTP/2 the host is a pseudo-header, and a tunnel is a method.
#[tokio::test]
async fn http2_is_the_same() {
    let settings = json!({ "port": 80 });
    let (envoy, client, _upstream) =
        start(&registry_only(json!([web(&["a.com"])]), settings)).await;
    let client = client.http2();
    assert_eq!(client.get("/").host("a.com").send().await.upstream(), "service");
    let refused = client.request(Method::POST, "/").host("b.com").body("x").send().await;
    assert_eq!((refused.status, refused.text().as_str()), (502, ""));
    assert_counts(&envoy, &[("known", 1), ("unknown_name", 1)]).await;
}

/// An entry with addresses and without a resolution: the host is only known at these addresses.
#[tokio::test]
async fn a_host_is_known_at_its_addresses_only() {
    let mut entry = web(&["a.com"]);
    entry["addresses"] = json!(["127.0.0.8/30"]);
    let (envoy, client, _upstream) =
        start(&registry_only(json!([entry]), json!({ "port": 80 }))).await;
    let at = |last: u8| Client::new(([127, 0, 0, last], client.address().port()).into());
    assert_eq!(at(9).get("/").host("a.com").send().await.upstream(), "service");
    assert_eq!(at(12).get("/").host("a.com").send().await.status, 502);
    assert_eq!(at(9).get("/").host("127.0.0.9").send().await.upstream(), "service");
    assert_eq!(at(12).get("/").host("127.0.0.9").send().await.status, 502);
    assert_eq!(at(12).get("/").host("127.0.0.12").send().await.status, 502);
    let expected = [("known", 2), ("address_mismatch", 2), ("unknown_address", 1)];
    assert_counts(&envoy, &expected).await;
}
