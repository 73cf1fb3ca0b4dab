//! Hosts that fail, under DestinationRules with `outlierDetection`: istiod's routes and the filters
//! must stop to send requests to the same hosts. With the router filter, Envoy ejects in both; with
//! the outlier filter, the filter does.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use sluice_e2e::{Answer, Client, Upstream};

use crate::istiod::Istiod;
use crate::mesh;
use crate::proxy::{Proxy, Workload};

const SEED: u64 = 2030;
const POOLS: usize = 24;
/// Requests to each host of a pool before and after the ejections.
const REQUESTS_EACH: usize = 12;
/// Requests by which the outlier filter finds new hosts, and which an ejected host may get. An
/// interval is longer than this test, and at most two intervals are in it.
const TRIES: usize = 2;
/// Time in which Envoy's main thread ejects, and the balancer of each worker has it.
const PAUSE: Duration = Duration::from_millis(1500);

/// The sidecars: the label of each, and what it has.
const SIDECARS: [(&str, &str); 3] =
    [("native", "istiod's routes"), ("router", "router"), ("outlier", "outlier")];

/// A service with hosts of which some fail.
struct Pool {
    name: String,
    hosts: Vec<Upstream>,
    /// The status of each host
    statuses: Vec<u16>,
    /// `outlierDetection`
    detection: Value,
}

impl Pool {
    fn new(rng: &mut Rng, index: usize) -> Self {
        let count = rng.usize(2..=4);
        let pick = |rng: &mut Rng| [200, 200, 200, 500, 502, 503, 404][rng.usize(..7)];
        let statuses: Vec<u16> = (0..count).map(|_| pick(rng)).collect();
        let hosts = statuses.iter().enumerate().map(|(host, status)| {
            let status = *status;
            let answer =
                move |_: &_| Answer { status, body: Some("answered"), ..Answer::default() };
            Upstream::answering(&format!("{index}-{host}"), answer)
        });
        let limit = rng.u32(1..=5);
        let mut detection = json!({
            "interval": "30s", "baseEjectionTime": "60s", "maxEjectionPercent": 100,
        });
        match rng.u32(..3) {
            0 => {
                detection["consecutive5xxErrors"] = 0.into();
                detection["consecutiveGatewayErrors"] = limit.into();
            }
            1 => {
                detection["consecutive5xxErrors"] = (limit + 1).into();
                detection["consecutiveGatewayErrors"] = limit.into();
            }
            _ => detection["consecutive5xxErrors"] = limit.into(),
        }
        Self { name: format!("pool{index}"), hosts: hosts.collect(), statuses, detection }
    }

    /// The DestinationRule for a sidecar.
    fn rule(&self, detection: Option<&Value>) -> Value {
        let mut policy = json!({ "loadBalancer": { "simple": "ROUND_ROBIN" } });
        if let Some(detection) = detection {
            policy["outlierDetection"] = detection.clone();
        }
        json!({ "host": self.host(), "trafficPolicy": policy })
    }

    fn host(&self) -> String {
        format!("{}.default.svc.cluster.local", self.name)
    }
}

/// Compares the sidecars.
///
/// # Panics
/// If they do not send requests to the same hosts.
pub async fn run() {
    let mut rng = Rng::with_seed(SEED);
    let pools: Vec<_> = (0..POOLS).map(|index| Pool::new(&mut rng, index)).collect();
    let mut configuration = Vec::new();
    for pool in &pools {
        let endpoints: Vec<_> = pool.hosts.iter().map(|host| ("v1", host.address())).collect();
        let [entry, _] = mesh::service(&pool.name, &endpoints);
        configuration.push(entry);
        let route = json!({
            "hosts": [pool.name],
            "http": [{
                "route": [{ "destination": { "host": pool.name } }],
                "retries": { "attempts": 0 },
            }],
        });
        configuration.push(mesh::networking("VirtualService", &pool.name, "default", &route));
        for (label, _) in SIDECARS {
            let detection = Some(&pool.detection).filter(|_| label != "outlier");
            let mut rule = pool.rule(detection);
            rule["workloadSelector"] = json!({ "matchLabels": { "compared": label } });
            let name = format!("{}-{label}", pool.name);
            configuration.push(mesh::networking("DestinationRule", &name, "default", &rule));
        }
    }
    for (index, (label, _)) in SIDECARS.iter().enumerate() {
        configuration.push(sidecar(label, address(index)));
    }
    configuration.push(envoy_filter("router", router(&pools)));
    configuration.push(envoy_filter("outlier", outlier(&pools)));
    let istiod = Istiod::start(&configuration).await;
    let (mut proxies, mut clients) = (Vec::new(), Vec::new());
    for (index, (label, _)) in SIDECARS.iter().enumerate() {
        let workload = Workload {
            kind: "sidecar",
            name: label,
            namespace: "default",
            label: ("compared", label),
        };
        let proxy = Proxy::start(&istiod, workload).await;
        assert_eq!(proxy.refusals().await, [""; 0]);
        clients.push(proxy.listener(&mesh::listener_name(address(index))));
        proxies.push(proxy);
    }
    assert_eq!(istiod.complaints(), [""; 0]);
    for (index, client) in clients.iter().enumerate() {
        send(client, &pools, &format!("/before-{index}")).await;
    }
    tokio::time::sleep(PAUSE).await;
    let mut ejected = [0; SIDECARS.len()];
    let mut differences = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        send(client, &pools, &format!("/after-{index}")).await;
    }
    for pool in &pools {
        let reached = |index: usize| -> BTreeSet<usize> {
            let path = format!("/after-{index}");
            let hosts = pool.hosts.iter().enumerate();
            hosts
                .filter(|(_, host)| host.received(&path).len() > TRIES)
                .map(|(own, _)| own)
                .collect()
        };
        let native = reached(0);
        for (index, (_, name)) in SIDECARS.iter().enumerate() {
            let own = reached(index);
            ejected[index] += pool.hosts.len() - own.len();
            if own != native {
                let Pool { name: pool, statuses, detection, .. } = pool;
                differences.push(format!(
                    "{pool} {statuses:?} {detection}: istiod {native:?}, {name} {own:?}"
                ));
            }
        }
    }
    let hosts: usize = pools.iter().map(|pool| pool.hosts.len()).sum();
    println!("ejections: {POOLS} services with {hosts} hosts; without requests are {ejected:?}");
    assert!(ejected[0] > POOLS / 2, "too few hosts fail");
    assert!(differences.is_empty(), "other hosts get requests:\n{}", differences.join("\n"));
}

/// Sends requests to all pools, one after the other.
async fn send(client: &Client, pools: &[Pool], path: &str) {
    let mut connection = client.connect().await;
    for pool in pools {
        for _ in 0..REQUESTS_EACH * pool.hosts.len() {
            let request = client.get(path).host(&pool.name);
            // Envoy closes the connection after some of its own responses.
            if connection.try_send(request).await.is_err() {
                connection = client.connect().await;
            }
        }
    }
}

fn address(index: usize) -> SocketAddr {
    mesh::address(16 + u8::try_from(index).expect("few sidecars"), 8080)
}

fn sidecar(label: &str, address: SocketAddr) -> String {
    let spec = json!({
        "workloadSelector": { "labels": { "compared": label } },
        "egress": [{
            "port": { "number": 8080, "name": "http", "protocol": "HTTP" },
            "bind": address.ip(),
            "captureMode": "NONE",
            "hosts": ["*/*"],
        }],
    });
    mesh::networking("Sidecar", label, "default", &spec)
}

fn envoy_filter(label: &str, patches: Vec<Value>) -> String {
    let selector = json!({ "labels": { "compared": label } });
    let spec = json!({ "workloadSelector": selector, "configPatches": patches });
    mesh::document("networking.istio.io/v1alpha3", "EnvoyFilter", label, "default", &spec)
}

/// A filter in the listener.
fn plugin(filter: &str, document: &Value) -> Value {
    let mut plugin = mesh::http_plugin("SIDECAR_OUTBOUND", 8080, filter, document);
    if let Some(listener) = plugin["match"]["listener"].as_object_mut() {
        listener.remove("portNumber");
    }
    plugin
}

/// The router filter and its route.
fn router(pools: &[Pool]) -> Vec<Value> {
    let rules = pools.iter().map(|pool| {
        json!({
            "hosts": [pool.name],
            "http": [{
                "route": [{ "destination": { "host": pool.name, "port": { "number": 8080 } } }],
                "retries": { "attempts": 0 },
            }],
        })
    });
    let document = json!({ "namespace": "default", "virtualServices": rules.collect::<Vec<_>>() });
    let route = json!({
        "applyTo": "HTTP_ROUTE",
        "match": { "context": "SIDECAR_OUTBOUND" },
        "patch": { "operation": "INSERT_FIRST", "value": {
            "name": "sluice",
            "match": {
                "prefix": "/",
                "headers": [{ "name": "x-sluice-cluster", "present_match": true }],
            },
            "route": { "cluster_header": "x-sluice-cluster", "timeout": "0s" },
        } },
    });
    vec![plugin("router", &document), route]
}

/// The outlier filter in the listener and in the clusters of the services, as in
/// `envoy/istio/outlier/sidecar-outbound-filter.yaml`.
fn outlier(pools: &[Pool]) -> Vec<Value> {
    let rules: Vec<_> = pools.iter().map(|pool| pool.rule(Some(&pool.detection))).collect();
    let document = json!({
        "namespace": "default",
        "destinationRules": rules,
        "outlier": { "enforcement": "filter" },
    });
    let listener = plugin("outlier", &document);
    let mut upstream = listener["patch"]["value"].clone();
    upstream["typed_config"]["config"]["root_id"] = "upstream".into();
    let round_robin = json!({ "typed_extension_config": {
        "name": "envoy.load_balancing_policies.round_robin",
        "typed_config": { "@type": format!("{POLICIES}.round_robin.v3.RoundRobin") },
    } });
    let balancer = json!({ "typed_extension_config": {
        "name": "envoy.load_balancing_policies.override_host",
        "typed_config": {
            "@type": format!("{POLICIES}.override_host.v3.OverrideHost"),
            "override_host_sources": [{ "header": "x-sluice-host" }],
            "fallback_policy": { "policies": [round_robin] },
        },
    } });
    let codec = json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": { "@type": CODEC },
    });
    let value = json!({
        "load_balancing_policy": { "policies": [balancer] },
        "typed_extension_protocol_options": { OPTIONS: {
            "@type": format!("type.googleapis.com/{OPTIONS}"),
            "explicit_http_config": { "http_protocol_options": {} },
            "http_filters": [upstream, codec],
        } },
    });
    let clusters = pools.iter().map(|pool| {
        json!({
            "applyTo": "CLUSTER",
            "match": { "context": "SIDECAR_OUTBOUND", "cluster": { "service": pool.host() } },
            "patch": { "operation": "MERGE", "value": value },
        })
    });
    clusters.chain([listener]).collect()
}

const POLICIES: &str = "type.googleapis.com/envoy.extensions.load_balancing_policies";
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const CODEC: &str =
    "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
