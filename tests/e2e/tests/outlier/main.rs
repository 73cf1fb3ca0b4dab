//! The outlier filter in a real Envoy: hosts that fail get no more traffic, and come back.

mod attempts;
mod hosts;
mod misconfigured;
mod shadow;
mod sharing;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Response, Upstream};

/// Returns a document with a host `pool` with these settings, for the cluster of the same name.
fn document(detection: &Value) -> Value {
    json!({
        "clusterName": "{host}[-{subset}]",
        "outlier": { "enforcement": "filter" },
        "destinationRules": [{
            "host": "pool", "trafficPolicy": { "outlierDetection": detection },
        }],
    })
}

/// Returns the document with a rule that sends all requests to `pool`.
fn routed(detection: &Value) -> (Value, Value) {
    let document = document(detection);
    let mut router = sluice_e2e::any_host(json!([
        { "route": [{ "destination": { "host": "pool" } }] }
    ]));
    router["destinationRules"] = document["destinationRules"].clone();
    (document, router)
}

/// An Envoy with one listener, `edge`, that sends all requests to the cluster `pool`.
struct Edge {
    envoy: Envoy,
    hosts: Vec<Upstream>,
}

impl Edge {
    async fn start(detection: Value, hosts: Vec<Upstream>) -> Self {
        Self::start_with(detection, hosts, |bootstrap| bootstrap, |listener| listener).await
    }

    async fn start_with(
        detection: Value,
        hosts: Vec<Upstream>,
        bootstrap: impl Fn(Bootstrap) -> Bootstrap,
        listener: impl Fn(Listener) -> Listener,
    ) -> Self {
        let (document, router) = routed(&detection);
        let addresses: Vec<_> = hosts.iter().map(Upstream::address).collect();
        let base = Bootstrap::new().cluster("pool", &addresses).outlier_plugin(&document);
        let edge = Listener::new("edge").plugin(&router).outlier(&document);
        let envoy = Envoy::start(&bootstrap(base).listener(listener(edge))).await;
        Self { envoy, hosts }
    }

    fn client(&self) -> Client {
        self.envoy.listener("edge")
    }

    /// Sends `count` requests in sequence, with paths `/PREFIX/N`.
    async fn send(&self, prefix: &str, count: usize) -> Vec<Response> {
        let client = self.client();
        let mut connection = client.connect().await;
        let mut responses = Vec::new();
        for number in 0..count {
            responses.push(connection.send(client.get(&format!("/{prefix}/{number}"))).await);
        }
        responses
    }

    /// Returns the number of requests with this prefix by host.
    fn shares(&self, prefix: &str) -> Vec<usize> {
        let prefix = format!("/{prefix}/");
        self.hosts.iter().map(|host| host.received(&prefix).len()).collect()
    }

    async fn stat(&self, name: &str) -> u64 {
        stat(&self.envoy, name).await
    }

    /// The lines of the log about hosts, from `event=` on.
    fn events(&self) -> Vec<String> {
        let log = self.envoy.log();
        let lines = log.lines().filter_map(|line| line.split_once("outlier event="));
        lines.map(|(_, event)| event.to_owned()).collect()
    }
}

/// Envoy 1.36 reports the statistics of a module under the name of the cluster that loaded it
/// first.
async fn stat(envoy: &Envoy, name: &str) -> u64 {
    let name = format!("wasmcustom.sluice.outlier.{name}");
    let stats = envoy.admin("/stats?format=json").await.json();
    let stats = stats["stats"].as_array().expect("a list of stats");
    let stat = stats.iter().find(|stat| stat["name"].as_str().is_some_and(|n| n.ends_with(&name)));
    stat.and_then(|stat| stat["value"].as_u64()).unwrap_or(0)
}

fn statuses(responses: &[Response]) -> Vec<u16> {
    responses.iter().map(|response| response.status).collect()
}
