//! One gateway with the same VirtualServices twice: translated by istiod on one port, applied by
//! the filters on another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use fastrand::Rng;
use serde_json::{Value, json};
use sluice_e2e::{Answer, Connection, Response, Upstream};

use crate::generate::{self, SERVICE, SERVICE_ON_TWO_PORTS, Sent};
use crate::headers;
use crate::istiod::Istiod;
use crate::mesh;
use crate::proxy::{INGRESS_GATEWAY, Proxy};

const SEED: u64 = 2026;
const SERVICES: usize = 200;
const ROOTS: usize = 100;
const DELEGATES: usize = 40;
const REQUESTS_EACH: usize = 25;

/// Headers that differ between runs or requests.
const UNEQUAL: [&str; 4] =
    ["date", "x-envoy-upstream-service-time", "x-request-id", "content-length"];

/// Known differences; the README explains them.
const KNOWN: [&str; 4] = [
    "request x-envoy-attempt-count: natively only",
    "request x-envoy-original-host: natively only",
    "response edits of an abort: natively only",
    "response x-sluice-fault of an abort: through the filters only",
];

/// Outcome of a request.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
    received: Option<BTreeMap<String, String>>,
}

/// Compares both, for single modules and for the module that replaces them.
pub async fn run() {
    for filters in [&["fault", "router"][..], &["sluice"]] {
        println!("{}:", filters.join(" and "));
        compare_with(filters).await;
    }
}

/// Compares istiod's routes with these filters, and panics if there are unknown differences.
async fn compare_with(filters: &[&str]) {
    let upstreams = ["v1", "v2", "v3"].map(|version| {
        Upstream::answering(version, |_| Answer {
            headers: vec![("x-upstream", "yes"), ("server", "upstream")],
            ..Answer::default()
        })
    });
    let endpoints: Vec<_> =
        ["v1", "v2", "v3"].into_iter().zip(upstreams.iter().map(Upstream::address)).collect();
    let mut rng = Rng::with_seed(SEED);
    let mut hosts: Vec<_> = (0..SERVICES).map(|index| format!("h{index}.example.com")).collect();
    let mut services: Vec<_> = hosts
        .iter()
        .map(|host| generate::virtual_service(&mut rng, host, "default/native"))
        .collect();
    let native: SocketAddr = mesh::address(8, 8080);
    let filtered: SocketAddr = mesh::address(8, 8081);
    let mut configuration: Vec<String> = mesh::service("echo", &endpoints).into();
    configuration.extend(mesh::service_on_two_ports("echoes", &endpoints));
    configuration.push(mesh::gateway("native", native));
    configuration.push(mesh::gateway("filtered", filtered));
    for (index, service) in services.iter().enumerate() {
        let name = format!("h{index}");
        configuration.push(mesh::networking("VirtualService", &name, "default", service));
    }
    // A generator of their own keeps the other choices.
    let mut of_roots = Rng::with_seed(SEED + 1);
    let namespace = |index: usize| if index.is_multiple_of(2) { "default" } else { "team" };
    let names: Vec<_> =
        (0..DELEGATES).map(|index| (namespace(index), format!("d{index}"))).collect();
    let mut delegates = Vec::new();
    for (namespace, name) in &names {
        let mut spec = generate::delegate(&mut of_roots);
        configuration.push(mesh::networking("VirtualService", name, namespace, &spec));
        spec["name"] = name.as_str().into();
        spec["namespace"] = (*namespace).into();
        delegates.push(spec);
    }
    for index in 0..ROOTS {
        let host = format!("r{index}.example.com");
        let root = generate::root(&mut of_roots, &host, "default/native", &names);
        let name = format!("r{index}");
        configuration.push(mesh::networking("VirtualService", &name, "default", &root));
        hosts.push(host);
        services.push(root);
    }
    let documented = [delegates, services.clone()].concat();
    configuration.push(envoy_filter(filtered.port(), filters, &documented));
    let istiod = Istiod::start(&configuration).await;
    let proxy = Proxy::start(&istiod, INGRESS_GATEWAY).await;
    assert_eq!(proxy.refusals().await, [""; 0]);
    assert_eq!(istiod.complaints(), [""; 0]);
    let clients = [native, filtered].map(|address| proxy.listener(&mesh::listener_name(address)));
    let mut one = clients[0].connect().await;
    let mut other = clients[1].connect().await;
    let mut differences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut pairs, mut kinds) = (0, BTreeSet::new());
    for (host, service) in hosts.iter().zip(&services) {
        for _ in 0..REQUESTS_EACH {
            let sent = generate::request(&mut rng);
            let native = see(&clients[0], &mut one, host, &sent).await;
            let filtered = see(&clients[1], &mut other, host, &sent).await;
            pairs += 1;
            kinds.insert(native.status);
            for difference in compare(&native, &filtered) {
                let example =
                    format!("{host} {sent:?}\n    {service}\n    {native:?}\n    {filtered:?}");
                differences.entry(difference).or_default().push(example);
            }
        }
    }
    println!("{pairs} pairs, with the statuses {kinds:?}; of them differ");
    for (difference, examples) in &differences {
        println!("{:6} {difference}", examples.len());
    }
    assert!(kinds.len() >= 8, "the requests are too much alike");
    let unknown = differences.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str()));
    let unknown: Vec<_> = unknown.collect();
    for (difference, examples) in &unknown {
        println!("{difference}, such as\n    {}", examples[0]);
    }
    assert!(unknown.is_empty(), "{} kinds of differences are not known", unknown.len());
}

/// Sends a request and records the response and the request at the upstream.
async fn see(
    client: &sluice_e2e::Client,
    connection: &mut Connection,
    host: &str,
    sent: &Sent,
) -> Seen {
    let mut request = client.request(sent.method.parse().unwrap(), &sent.target).host(host);
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    // Envoy closes the connection after some of its own responses.
    let response = match connection.try_send(request.clone()).await {
        Ok(response) => response,
        Err(_) => {
            *connection = client.connect().await;
            connection.send(request).await
        }
    };
    let (body, received) = match received(&response) {
        Some(received) => (String::new(), Some(received)),
        None => (response.text(), None),
    };
    Seen { status: response.status, headers: headers(&response), body, received }
}

fn headers(response: &Response) -> BTreeMap<String, String> {
    let names: BTreeSet<_> = response.headers.keys().map(|name| name.as_str()).collect();
    let names = names.into_iter().filter(|name| !UNEQUAL.contains(name));
    names.map(|name| (name.to_owned(), response.header(name).unwrap_or_default())).collect()
}

/// The request that the upstream received.
fn received(response: &Response) -> Option<BTreeMap<String, String>> {
    let echo: Value = serde_json::from_slice(&response.body).ok()?;
    let mut received = BTreeMap::new();
    for field in ["upstream", "method", "path", "body"] {
        received.insert(format!(":{field}"), echo[field].as_str()?.to_owned());
    }
    for header in echo["headers"].as_array()? {
        let (name, value) = (header[0].as_str()?, header[1].as_str()?);
        if !UNEQUAL.contains(&name) {
            let values: &mut String = received.entry(name.to_owned()).or_default();
            values.push_str(value);
            values.push(';');
        }
    }
    Some(received)
}

/// Returns the differences by kind.
fn compare(native: &Seen, filtered: &Seen) -> Vec<String> {
    let mut differences = Vec::new();
    if native.status != filtered.status {
        return vec![format!("status {} {}", native.status, filtered.status)];
    }
    let is_abort = filtered.headers.contains_key("x-sluice-fault");
    for difference in headers::differences("response", &native.headers, &filtered.headers) {
        differences.push(match difference.split_once(": ") {
            Some((name, side)) if is_abort && name.ends_with("x-sluice-fault") => {
                format!("{name} of an abort: {side}")
            }
            Some((name, side))
                if is_abort && (name.contains(" x-set-") || name.contains(" x-added-")) =>
            {
                format!("response edits of an abort: {side}")
            }
            _ => difference,
        });
    }
    differences.dedup();
    if native.body != filtered.body {
        differences.push("body".to_owned());
    }
    match (&native.received, &filtered.received) {
        (Some(native), Some(filtered)) => {
            differences.extend(headers::differences("request", native, filtered))
        }
        (None, None) => {}
        _ => differences.push("received".to_owned()),
    }
    differences
}

/// The filters on the gateway's port, and the routes by their header.
fn envoy_filter(port: u16, filters: &[&str], services: &[Value]) -> String {
    let known = json!([
        { "host": SERVICE, "ports": [8080] },
        { "host": SERVICE_ON_TWO_PORTS, "ports": [8080, 8081] },
    ]);
    let document =
        json!({ "namespace": "default", "virtualServices": services, "services": known });
    let routes = json!({ "context": "GATEWAY", "routeConfiguration": { "portNumber": port } });
    let plugin = |filter: &&str| mesh::http_plugin("GATEWAY", port, filter, &document);
    let mut patches: Vec<_> = filters.iter().map(plugin).collect();
    patches.extend([
        json!({ "applyTo": "HTTP_ROUTE", "match": routes, "patch": {
                "operation": "INSERT_FIRST",
                "value": mesh::steered_route(0),
            } }),
        json!({ "applyTo": "VIRTUAL_HOST", "match": routes, "patch": {
                "operation": "MERGE",
                "value": { "request_headers_to_remove": ["x-sluice-cluster"] },
            } }),
    ]);
    let selector = json!({ "labels": { "istio": "ingressgateway" } });
    let spec = json!({ "workloadSelector": selector, "configPatches": patches });
    mesh::document("networking.istio.io/v1alpha3", "EnvoyFilter", "sluice", "istio-system", &spec)
}
