//! TLS connections: the filter decides by their server name or destination address.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, exchange};

use crate::curl::Certificate;
use crate::{
    access_log, assert_counts, connection_manager, filter, listener_filter, registry_only, web,
};

/// The names of the certificate: all requested ones, so that only the filter can refuse a
/// connection.
const NAMES: [&str; 4] = ["a.test", "b.test", "*.wild.test", "wild.test"];
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An Envoy that passes TLS through to a server, or terminates it.
struct Tls {
    envoy: Envoy,
    _server: Envoy,
    certificate: Certificate,
}

impl Tls {
    /// Both listeners have this `document`. One passes TLS through, for port 443. The other
    /// terminates it, and has the HTTP filter after the network filter.
    async fn start(document: &Value) -> Self {
        let certificate = Certificate::new(&NAMES).await;
        let hello =
            json!({ "direct_response": { "status": 200, "body": { "inline_string": "hello" } } });
        let server = connection_manager(Vec::new(), hello.clone());
        let server = Envoy::start(&Bootstrap::new().wildcard_listener(json!({
            "name": "server",
            "filter_chains": [tls_chain(&certificate, &[server])],
        })))
        .await;
        let address = ([127, 0, 0, 1], server.listener("server").address().port()).into();

        let tcp_proxy = json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "tls",
                "cluster": "server",
                "access_log": [access_log(json!({
                    "path": "%REQUESTED_SERVER_NAME%",
                    "egress": "%FILTER_STATE(wasm.sluice.egress:PLAIN)%",
                }))],
            },
        });
        let mut for_http = document.clone();
        for_http["egress"]["port"] = 80.into();
        let inspector = listener_filter("tls_inspector", "TlsInspector", json!({}));
        let network = filter("network", document);
        let manager = connection_manager(vec![filter("http", &for_http)], hello);
        let bootstrap = Bootstrap::new()
            .wildcard_listener(json!({
                "name": "passes",
                "listener_filters": [inspector],
                "filter_chains": [{ "filters": [network, tcp_proxy] }],
            }))
            .wildcard_listener(json!({
                "name": "ends",
                "listener_filters": [inspector],
                "filter_chains": [tls_chain(&certificate, &[network, manager])],
            }))
            .cluster("server", &[address]);
        Self { envoy: Envoy::start(&bootstrap).await, _server: server, certificate }
    }

    /// Requests `https://NAME/` with curl. Returns its exit code, or the status of the response.
    async fn get(
        &self,
        listener: &str,
        name: &str,
        address: Ipv4Addr,
        more: &[&str],
    ) -> Result<u16, i32> {
        let port = self.envoy.listener(listener).address().port();
        let outcome = self.certificate.get(name, address, port, more).await;
        if outcome.code != 0 {
            return Err(outcome.code);
        }
        assert_eq!(outcome.body, if outcome.status == 200 { "hello" } else { "" });
        Ok(outcome.status)
    }
}

fn tls_chain(certificate: &Certificate, filters: &[Value]) -> Value {
    json!({
        "filters": filters,
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": { "tls_certificates": [{
                    "certificate_chain": { "inline_string": certificate.chain },
                    "private_key": { "inline_string": certificate.key },
                }] },
            },
        },
    })
}

/// curl's exit code for a connection that is closed in the handshake.
const HANDSHAKE_FAILED: Result<u16, i32> = Err(35);

/// E2, E3 and E13 with real TLS of each version.
#[tokio::test]
async fn only_registered_names_are_allowed() {
    let document = registry_only(json!([web(&["a.test", "*.wild.test"])]), json!({ "port": 443 }));
    let tls = Tls::start(&document).await;
    for (version, round) in [("--tlsv1.3", 1), ("--tls-max=1.2", 2)] {
        let version: Vec<&str> = version.split('=').collect();
        for name in ["a.test", "A.TEST", "x.wild.test"] {
            assert_eq!(tls.get("passes", name, HERE, &version).await, Ok(200), "{name}");
        }
        for name in ["b.test", "wild.test"] {
            assert_eq!(tls.get("passes", name, HERE, &version).await, HANDSHAKE_FAILED, "{name}");
        }
        let expected = [("known", 3 * round), ("unknown_name", 2 * round)];
        assert_counts(&tls.envoy, &expected).await;
    }
    let known = tls.envoy.access_log("a.test").await;
    assert_eq!(known["egress"], "serviceEntries[0]", "{known}");
    let refused = tls.envoy.access_log("b.test").await;
    assert_eq!(refused["egress"], "unknown_name", "{refused}");
    assert_eq!(tls.envoy.stat("cluster.server.upstream_cx_total").await, 6);
}

/// E1
#[tokio::test]
async fn allow_any_allows_every_name() {
    let document = json!({
        "outboundTrafficPolicy": { "mode": "ALLOW_ANY" },
        "serviceEntries": [web(&["a.test"])],
        "egress": { "port": 443 },
    });
    let tls = Tls::start(&document).await;
    for name in ["a.test", "b.test"] {
        assert_eq!(tls.get("passes", name, HERE, &[]).await, Ok(200), "{name}");
    }
    assert_counts(&tls.envoy, &[("known", 1), ("passthrough", 1)]).await;
}

#[tokio::test]
async fn shadow_mode_allows_and_counts() {
    let settings = json!({ "mode": "shadow", "port": 443 });
    let tls = Tls::start(&registry_only(json!([web(&["a.test"])]), settings)).await;
    for name in ["a.test", "b.test"] {
        assert_eq!(tls.get("passes", name, HERE, &[]).await, Ok(200), "{name}");
    }
    assert_counts(&tls.envoy, &[("known", 1), ("unknown_name", 1), ("reported", 1)]).await;
}

/// Clients without a server name: curl with an address, and a client without TLS.
#[tokio::test]
async fn without_a_name_only_registered_addresses_are_allowed() {
    let mut entry = web(&["a.test"]);
    entry["addresses"] = json!(["127.0.0.8/30"]);
    for (missing, at_address, refused) in
        [("refuse", HANDSHAKE_FAILED, "no_name"), ("byAddress", Ok(200), "unknown_address")]
    {
        let settings = json!({ "missing": missing, "port": 443 });
        let tls = Tls::start(&registry_only(json!([entry]), settings)).await;
        let insecure = ["--insecure"];
        let known = Ipv4Addr::new(127, 0, 0, 9);
        assert_eq!(tls.get("passes", "127.0.0.9", known, &insecure).await, at_address, "{missing}");
        assert_eq!(tls.get("passes", "127.0.0.1", HERE, &insecure).await, HANDSHAKE_FAILED);
        let plain = b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
        assert_eq!(exchange(tls.envoy.listener("passes").address(), plain).await, "");
        let expected = match at_address {
            Ok(_) => vec![("known", 1), (refused, 2)],
            Err(_) => vec![(refused, 3)],
        };
        assert_counts(&tls.envoy, &expected).await;
    }
}

/// A server name is only a claim of the client: if the entry has addresses, the destination must be
/// one of them. The entry of port 444 allows any protocol, so there the address is sufficient.
#[tokio::test]
async fn a_name_is_known_at_its_addresses_only() {
    let mut entry = web(&["a.test"]);
    entry["addresses"] = json!(["127.0.0.8/30"]);
    let opaque = json!({
        "hosts": ["database.test"],
        "addresses": ["127.0.0.16"],
        "ports": [{ "number": 443, "name": "tcp", "protocol": "TCP" }],
    });
    let tls = Tls::start(&registry_only(json!([entry, opaque]), json!({ "port": 443 }))).await;
    let at = |last| Ipv4Addr::new(127, 0, 0, last);
    assert_eq!(tls.get("passes", "a.test", at(9), &[]).await, Ok(200));
    assert_eq!(tls.get("passes", "a.test", at(12), &[]).await, HANDSHAKE_FAILED);
    assert_eq!(tls.get("passes", "b.test", at(9), &[]).await, HANDSHAKE_FAILED);
    assert_eq!(tls.get("passes", "b.test", at(16), &[]).await, Ok(200));
    let expected = [("known", 2), ("address_mismatch", 1), ("unknown_name", 1)];
    assert_counts(&tls.envoy, &expected).await;
}

/// Domain fronting: the server name is registered, the host of the request is not, and the other
/// way round. If Envoy terminates TLS, the network filter checks the name and the HTTP filter the
/// host.
#[tokio::test]
async fn a_forged_host_behind_a_registered_name_is_refused() {
    let document = registry_only(json!([web(&["a.test"])]), json!({ "port": 443 }));
    let tls = Tls::start(&document).await;
    let host = |host: &str| ["--header".to_owned(), format!("host: {host}")];
    let get = async |name: &str, header: [String; 2]| {
        tls.get("ends", name, HERE, &header.each_ref().map(String::as_str)).await
    };
    assert_eq!(get("a.test", host("a.test")).await, Ok(200));
    assert_eq!(get("a.test", host("b.test")).await, Ok(502), "forged host");
    assert_eq!(get("b.test", host("a.test")).await, HANDSHAKE_FAILED, "forged host the other way");
    // Both filters count the first; the second is known by name and refused by host.
    assert_counts(&tls.envoy, &[("known", 3), ("unknown_name", 2)]).await;
    // If TLS passes through, the host is encrypted: only the name is checked.
    assert_eq!(tls.get("passes", "a.test", HERE, &["--header", "host: b.test"]).await, Ok(200));
}

/// One document for both kinds of filter, in the same Envoy and in the same connection.
#[tokio::test]
async fn one_document_serves_both_kinds_of_filter() {
    let mut document = registry_only(json!([web(&["a.test"])]), json!({ "port": 80 }));
    document["serviceEntries"][0]["ports"] = json!([{ "number": 80, "name": "any" }]);
    document["serviceEntries"][0]["addresses"] = json!(["127.0.0.1"]);
    let hello = json!({ "direct_response": { "status": 200 } });
    let manager = connection_manager(vec![filter("http", &document)], hello.clone());
    let bootstrap = Bootstrap::new()
        .wildcard_listener(json!({
            "name": "both",
            "filter_chains": [{ "filters": [filter("network", &document), manager] }],
        }))
        .wildcard_listener(json!({
            "name": "network",
            "filter_chains": [{
                "filters": [filter("network", &document), connection_manager(Vec::new(), hello)],
            }],
        }));
    let envoy = Envoy::start(&bootstrap).await;
    let both = envoy.listener("both");
    for round in 1..=2 {
        assert_eq!(both.get("/").host("a.test").send().await.status, 200);
        assert_eq!(both.get("/").host("b.test").send().await.status, 502);
        assert_eq!(envoy.listener("network").get("/").host("b.test").send().await.status, 200);
        // Each of the three connections by its address, the first request by its host.
        assert_counts(&envoy, &[("known", 4 * round), ("unknown_name", round)]).await;
    }
}
