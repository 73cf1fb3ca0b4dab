//! The mirror filter in a real Envoy: requests at both upstreams, and independence of the original
//! from the mirror.

mod compare;
mod copies;
mod hostile;
mod ports;
mod shares;

use std::net::SocketAddr;

use serde_json::{Value, json};
use sluice_e2e::{
    Bootstrap, Client, Envoy, Listener, Mirroring, Received, Upstream, any_host, until,
};

/// An Envoy with one listener, `edge`, that sends all requests to `primary` and copies them to
/// `copy` according to the rules.
struct Edge {
    envoy: Envoy,
    primary: Upstream,
    copy: Upstream,
}

/// Rules that send all requests to `primary`, with these additional fields of the route.
fn rule(fields: Value) -> Value {
    let mut rule = json!({ "route": [{ "destination": { "host": "primary" } }] });
    for (name, value) in fields.as_object().expect("fields") {
        rule[name] = value.clone();
    }
    rule
}

/// A document with one rule that mirrors to `copy`, and these `mirroring` settings.
fn mirror_all(mirroring: Value) -> Value {
    let mut document = any_host(json!([rule(json!({ "mirror": { "host": "copy" } }))]));
    document["mirroring"] = mirroring;
    document
}

fn to_copy() -> Mirroring {
    Mirroring::ByRoute(vec![vec![(0, "copy")]])
}

impl Edge {
    async fn start(document: &Value) -> Self {
        Self::start_with(document, |listener| listener.mirroring(to_copy())).await
    }

    async fn start_with(document: &Value, with: impl Fn(Listener) -> Listener) -> Self {
        let (primary, copy) = (Upstream::echo("primary"), Upstream::echo("copy"));
        let bootstrap = bootstrap(&primary, copy.address())
            .listener(with(Listener::new("edge").mirror(document).plugin(document)));
        Self { envoy: Envoy::start(&bootstrap).await, primary, copy }
    }

    fn client(&self) -> Client {
        self.envoy.listener("edge")
    }

    /// Returns the original and the copy of the only request with this path.
    async fn pair(&self, path: &str) -> (Received, Received) {
        let copy = until("the copy arrives", async || self.copy.received(path).pop()).await;
        let originals = self.primary.received(path);
        assert_eq!((originals.len(), self.copy.received(path).len()), (1, 1), "{path}");
        (originals[0].clone(), copy)
    }

    async fn count(&self, name: &str) -> u64 {
        count(&self.envoy, name).await
    }
}

/// Clusters `primary` and `copy`, the latter at any address.
fn bootstrap(primary: &Upstream, copy: SocketAddr) -> Bootstrap {
    let bootstrap = Bootstrap::new().calling();
    bootstrap.cluster("primary", &[primary.address()]).cluster("copy", &[copy])
}

async fn count(envoy: &Envoy, name: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.sluice.mirror.{name}")).await
}

/// Names and values of the headers, sorted.
fn headers(received: &Received) -> Vec<(String, Vec<u8>)> {
    let pairs = received.headers.iter();
    let mut pairs: Vec<_> =
        pairs.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    pairs.sort();
    pairs
}

/// Headers that Envoy adds to requests of the filter.
const ADDED: [&str; 2] = ["x-envoy-internal", "x-forwarded-for"];

/// Asserts that a copy equals its original byte for byte, except for these headers and those that
/// Envoy adds.
fn assert_copied(original: &Received, copy: &Received, but: &[&str]) {
    assert_eq!((&original.method, &original.path), (&copy.method, &copy.path));
    let kept = |received| {
        let mut headers = headers(received);
        headers
            .retain(|(name, _)| !ADDED.contains(&name.as_str()) && !but.contains(&name.as_str()));
        headers
    };
    assert_eq!(kept(original), kept(copy));
    assert!(original.body == copy.body, "{} and {} bytes", original.body.len(), copy.body.len());
    for received in [original, copy] {
        let own = headers(received).into_iter().find(|(name, _)| name.starts_with("x-sluice-"));
        assert_eq!(own, None);
    }
}
