//! The sni filter as network filter and as HTTP filter, with real TLS.

mod inner;
mod order;
mod passthrough;
mod requests;

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};
use sluice_e2e::{Envoy, envoy_is_of, is_native, until, workspace};
use sluice_policy::sni::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A ClientHello of a real client, with the name `recorded.example.com`.
macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../conformance/client_hellos/", $name, ".bin"))
    };
}
pub(crate) use recorded;

/// The filter with this document, as a network filter or as an HTTP filter.
fn plugin(kind: &str, name: &str, document: &Value) -> Value {
    let document = document.to_string();
    // Envoy 1.38 tells a dynamic module no server name of a request.
    match kind == "http" && is_native() && envoy_is_of("1.38.") {
        true => sluice_e2e::plugin(kind, "sni", name, &document),
        false => sluice_e2e::filter(kind, "sni", name, &document),
    }
}

/// A listener whose network filters are these, behind the TLS inspector.
fn listener(name: &str, filters: Value, transport_socket: Option<Value>) -> Value {
    let mut chain = json!({ "filters": filters });
    if let Some(socket) = transport_socket {
        chain["transport_socket"] = socket;
    }
    json!({
        "name": name,
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            },
        }],
        "filter_chains": [chain],
    })
}

/// A listener that routes connections, by default to `fallback`; `socket` terminates their TLS.
fn tcp_listener(name: &str, document: &Value, fallback: &str, socket: Option<Value>) -> Value {
    let proxy = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name,
            "cluster": fallback,
            "access_log": [{
                "name": "envoy.access_loggers.stdout",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": { "json_format": {
                        "path": name,
                        "sni": "%FILTER_STATE(wasm.sluice.sni:PLAIN)%",
                        "cluster": "%UPSTREAM_CLUSTER%",
                    } },
                },
            }],
        },
    });
    listener(name, json!([plugin("network", name, document), proxy]), socket)
}

/// Envoy's TLS settings, with this certificate; `is_mutual` requires a client certificate.
fn tls_socket(certificate: &str, is_mutual: bool) -> Value {
    let folder = workspace().join("dist/certificates");
    let file = |name: String| json!({ "filename": folder.join(name) });
    let mut context = json!({
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [{
            "certificate_chain": file(format!("{certificate}.pem")),
            "private_key": file(format!("{certificate}.key")),
        }],
    });
    if is_mutual {
        context["validation_context"] = json!({ "trusted_ca": file("ca.pem".to_owned()) });
        context["alpn_protocols"] = json!([]);
    }
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": is_mutual,
            "common_tls_context": context,
        },
    })
}

/// A TLS route from these names to a cluster, for every host.
fn document(names: Value, cluster: &str, settings: Value) -> Value {
    json!({
        "clusterName": "{host}",
        "virtualServices": [{
            "hosts": ["*"],
            "gateways": ["gateway"],
            "tls": [{
                "match": [{ "sniHosts": names }],
                "route": [{ "destination": { "host": cluster } }],
            }],
        }],
        "sni": settings,
    })
}

/// A service without TLS that answers the first bytes with its name and closes.
async fn service(name: &'static str) -> std::net::SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let mut first = [0; 16_384];
                let size = stream.read(&mut first).await.unwrap_or_default();
                if size > 0 {
                    let _ = stream.write_all(name.as_bytes()).await;
                }
            });
        }
    });
    address
}

/// Sends bytes and returns the answer; empty if the connection is closed without one.
async fn send(envoy: &Envoy, listener: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(envoy.listener(listener).address()).await.unwrap();
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(bytes).await?;
        stream.read_to_end(&mut answer).await
    };
    // A refused connection is reset if it has unread bytes of the client.
    let _: io::Result<usize> =
        tokio::time::timeout(std::time::Duration::from_secs(10), talk).await.expect("an end");
    String::from_utf8(answer).unwrap()
}

/// Returns all counters that are not 0. Asserts that all counters of the filter exist.
async fn counts(envoy: &Envoy) -> BTreeMap<String, u64> {
    let stats = envoy.admin("/stats?format=json&filter=sluice.sni").await.json();
    let stats = stats["stats"].as_array().expect("a list of stats");
    let names = Outcome::ALL.map(Outcome::counter);
    let names = names.into_iter().chain(["sluice.sni.refused", "sluice.sni.reported"]);
    let count = |name: &str| {
        let stat = stats.iter().find(|stat| stat["name"] == format!("wasmcustom.{name}").as_str());
        let value = &stat.unwrap_or_else(|| panic!("no {name} in {stats:?}"))["value"];
        (name.replace("sluice.sni.", ""), value.as_u64().unwrap())
    };
    names.map(count).filter(|(_, value)| *value > 0).collect()
}

/// Waits until the counters have exactly these values, and checks after a moment that they have not
/// changed.
async fn assert_counts(envoy: &Envoy, expected: &[(&str, u64)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let total = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    let what = format!("{expected:?}");
    let found = until(&what, async || {
        let found = counts(envoy).await;
        (total(&found) >= total(&expected)).then_some(found)
    });
    assert_eq!(found.await, expected);
    assert_eq!(envoy.traps(), [""; 0]);
}
