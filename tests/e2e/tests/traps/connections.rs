//! Traps in the callbacks of connections, in the modules that have network filters.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::module::{Place, Trapping};
use crate::{Policy, document_of, trapping};

/// A ClientHello with the server name `recorded.example.com`.
const HELLO: &[u8] = include_bytes!("../../../conformance/client_hellos/curl.bin");
const KNOWN: &str = "recorded.example.com";
/// A name of the same length that no document has.
const UNKNOWN: &str = "mistaken.example.com";

/// What a client sees of its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    /// The filter did its work.
    Filtered,
    /// The connection passed without it.
    Unfiltered,
    /// Envoy closed it.
    Closed,
}

/// Returns the ClientHello with another name.
fn hello(name: &str) -> Vec<u8> {
    let found = HELLO.windows(KNOWN.len()).position(|window| window == KNOWN.as_bytes());
    let begin = found.expect("the name");
    let mut hello = HELLO.to_vec();
    hello[begin..begin + name.len()].copy_from_slice(name.as_bytes());
    hello
}

/// A service without TLS that answers all bytes with its name.
async fn service(name: &'static str) -> std::net::SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 16_384];
                while let Ok(1..) = stream.read(&mut bytes).await {
                    let _ = stream.write_all(name.as_bytes()).await;
                }
            });
        }
    });
    address
}

/// Sends bytes and returns the answer; empty if the connection is closed without one.
async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> String {
    let talk = async {
        let mut answer = [0; 64];
        if stream.write_all(bytes).await.is_err() {
            return String::new();
        }
        let length = stream.read(&mut answer).await.unwrap_or_default();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), talk).await.expect("an end")
}

async fn connect(envoy: &Envoy) -> TcpStream {
    TcpStream::connect(envoy.listener("tcp").address()).await.unwrap()
}

/// What a new connection sees. `egress` lets registered names pass, and `sni` routes them.
async fn look(envoy: &Envoy, filter: &str) -> Seen {
    let known = exchange(&mut connect(envoy).await, &hello(KNOWN)).await;
    let unknown = exchange(&mut connect(envoy).await, &hello(UNKNOWN)).await;
    match (filter, known.as_str(), unknown.as_str()) {
        (_, "", "") => Seen::Closed,
        ("egress", "fallback", "") | ("sni", "named", "") => Seen::Filtered,
        (_, "fallback", "fallback") => Seen::Unfiltered,
        other => panic!("{other:?}: {}", envoy.log()),
    }
}

fn document(filter: &str) -> Value {
    match filter {
        "egress" => json!({
            "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" },
            "egress": { "port": 443 },
            "serviceEntries": [{ "hosts": [KNOWN], "ports": [
                { "number": 443, "name": "tls", "protocol": "TLS" },
            ] }],
        }),
        _ => json!({
            "clusterName": "{host}",
            "virtualServices": [{
                "hosts": ["*"],
                "gateways": ["gateway"],
                "tls": [{
                    "match": [{ "sniHosts": [KNOWN] }],
                    "route": [{ "destination": { "host": "named" } }],
                }],
            }],
        }),
    }
}

async fn start(trap: &Trapping, policy: Policy) -> (Envoy, Upstream) {
    let filter = |kind: &str, document: Value| {
        trapping(kind, &trap.file, kind, "", policy, &document.to_string())
    };
    let inspector = json!({
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        },
    });
    let proxy = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": "fallback",
        },
    });
    let tcp = json!({
        "name": "tcp",
        "listener_filters": [inspector],
        "filter_chains": [{ "filters": [filter("network", document(trap.filter)), proxy] }],
    });
    let http = filter("http", document_of(trap.filter));
    let upstream = Upstream::echo("service");
    let bootstrap = Bootstrap::new()
        .listener(Listener::new("http").first(http).max_headers(64, 500).cluster("service"))
        .raw_listener(tcp)
        .cluster("service", &[upstream.address()])
        .cluster("fallback", &[service("fallback").await])
        .cluster("named", &[service("named").await]);
    (Envoy::start(&bootstrap).await, upstream)
}

#[tokio::test]
async fn a_trap_of_a_connection_ends_it_and_the_policy_says_what_follows() {
    for (filter, policy) in
        ["egress", "sni"].into_iter().flat_map(|filter| Policy::ALL.map(|policy| (filter, policy)))
    {
        let folder = tempfile::tempdir().unwrap();
        let trap = Trapping::write(filter, folder.path());
        let (envoy, _upstream) = start(&trap, policy).await;
        assert_eq!(look(&envoy, filter).await, Seen::Filtered, "{filter}");
        let mut open = connect(&envoy).await;
        let answered = exchange(&mut open, &hello(KNOWN)).await;
        assert_ne!(answered, "");

        let chosen = Place::NewConnection.chosen_by(envoy.listener("http").get("/"));
        let status = chosen.send().await.status;
        assert!([200, 421].contains(&status), "{filter}: {status}, {}", envoy.log());
        assert_eq!(envoy.traps(), [""; 0]);
        let trapped = exchange(&mut connect(&envoy).await, &hello(KNOWN)).await;
        assert_eq!(envoy.traps().len(), 1, "{filter}: {:#?}", envoy.traps());

        let expected = match policy {
            Policy::Closed => Seen::Closed,
            Policy::Open => Seen::Unfiltered,
            Policy::Reload => Seen::Filtered,
        };
        if policy == Policy::Reload {
            until("the module is loaded again", async || {
                (look(&envoy, filter).await != Seen::Closed).then_some(())
            })
            .await;
        }
        let later = look(&envoy, filter).await;
        let before = exchange(&mut open, b"more").await;
        assert_eq!(
            before, "",
            "{filter} {policy:?}: Envoy closes the connection at its next bytes"
        );
        assert_eq!(trapped, "", "{filter} {policy:?}: Envoy closes the connection");
        assert_eq!(later, expected, "{filter} {policy:?}");
        assert_eq!(envoy.traps().len(), 1, "{filter}: {:#?}", envoy.traps());
    }
}
