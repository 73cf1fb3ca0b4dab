//! Which of several matches decides: the sni filter beside the filter chains that istiod makes of
//! the same matches.

use serde_json::{Value, json};
use sluice_conformance::Client;
use sluice_e2e::{Bootstrap, Envoy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{listener, service, tcp_listener};

/// The matches, each with its cluster. Envoy refuses two filter chains with the same names and
/// subnets, so no match repeats another one.
const MATCHES: [(&[&str], &[&str], &str); 8] = [
    (&["*"], &[], "any"),
    (&["*.com"], &[], "com"),
    (&["*.foo.com"], &[], "foo"),
    (&["bar.foo.com", "x.org"], &[], "exact"),
    (&["*.com"], &["127.0.1.0/24"], "near-com"),
    (&["*.foo.com", "y.org"], &["127.0.1.0/24", "127.0.2.0/24"], "near-foo"),
    (&["bar.foo.com"], &["127.0.1.1"], "host"),
    (&["x.org"], &["127.0.0.0/16"], "wide"),
];

fn tcp_proxy(cluster: &str) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": cluster,
            "cluster": cluster,
        },
    })
}

fn filter_chain((names, subnets, cluster): (&[&str], &[&str], &str)) -> Value {
    let mut rule = json!({});
    // istiod writes no server names for the pattern `*`.
    if names != ["*"] {
        rule["server_names"] = json!(names);
    }
    let range = |subnet: &&str| {
        let (address, length) = subnet.split_once('/').unwrap_or((subnet, "32"));
        json!({ "address_prefix": address, "prefix_len": length.parse::<u32>().unwrap() })
    };
    rule["prefix_ranges"] = subnets.iter().map(range).collect();
    json!({ "filter_chain_match": rule, "filters": [tcp_proxy(cluster)] })
}

fn document(matches: &[(&[&str], &[&str], &str)]) -> Value {
    let service = |(names, subnets, cluster): &(&[&str], &[&str], &str)| {
        json!({
            "hosts": ["*"],
            "gateways": ["gateway"],
            "tls": [{
                "match": [{ "sniHosts": names, "destinationSubnets": subnets }],
                "route": [{ "destination": { "host": cluster } }],
            }],
        })
    };
    json!({
        "clusterName": "{host}",
        "virtualServices": matches.iter().map(service).collect::<Vec<_>>(),
    })
}

/// The cluster that gets a connection to an address of this machine; empty if it is closed.
async fn reached(envoy: &Envoy, listener: &str, address: &str, sni: &str) -> String {
    let port = envoy.listener(listener).address().port();
    let mut stream = TcpStream::connect((address, port)).await.unwrap();
    let hello = Client { sni: Some(sni.to_owned()), ..Client::default() };
    let mut answer = Vec::new();
    // A closed connection is reset if it has unread bytes of the client.
    let _ = stream.write_all(&hello.bytes()).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_chooses_like_filter_chains_in_any_order() {
    let mut native = listener("native", json!([]), None);
    native["filter_chains"] = MATCHES.into_iter().map(filter_chain).collect();
    let mut reversed = MATCHES;
    reversed.reverse();
    let mut bootstrap = Bootstrap::new()
        .wildcard_listener(native)
        .wildcard_listener(tcp_listener("ordered", &document(&MATCHES), "fallback", None))
        .wildcard_listener(tcp_listener("reversed", &document(&reversed), "fallback", None));
    for (_, _, cluster) in MATCHES {
        bootstrap = bootstrap.cluster(cluster, &[service(cluster).await]);
    }
    let envoy = Envoy::start(&bootstrap).await;
    let mut clusters = std::collections::BTreeSet::new();
    for address in ["127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.2.1", "127.1.0.1"] {
        for name in ["bar.foo.com", "a.foo.com", "foo.com", "a.com", "x.org", "y.org", "z.net"] {
            let expected = reached(&envoy, "native", address, name).await;
            for listener in ["ordered", "reversed"] {
                let found = reached(&envoy, listener, address, name).await;
                assert_eq!(found, expected, "{listener}: {name} at {address}");
            }
            clusters.insert(expected);
        }
    }
    // Each match decides once, and so does the absence of a match.
    assert_eq!(clusters.len(), MATCHES.len() + 1, "{clusters:?}");
    assert_eq!(envoy.traps(), [""; 0]);
}
