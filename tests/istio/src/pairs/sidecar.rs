//! Sidecars that call services: one with istiod's routes, one with the fault, the mirror and the
//! router filter, and one with `sluice.wasm`.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use super::known::asked_pairs;
use super::ways::{Asked, Way, compare_all, upstream};
use crate::behaviour::observe::NOTE;
use crate::behaviour::services::Upstreams;
use crate::generate::sidecar::{COPIED, COPIES, Host, asked, extend, host};
use crate::generate::{self, SERVICE, SERVICE_ON_TWO_PORTS};
use crate::istiod::Istiod;
use crate::mesh;
use crate::proxy::{Proxy, Workload};

const SEED: u64 = 2027;
const SERVICES: usize = 200;
const ROOTS: usize = 100;
const DELEGATES: usize = 40;
/// The namespace of all objects except VirtualServices.
const NAMESPACE_OF_SERVICES: &str = "services";
/// Requests for each VirtualService, unless `SLUICE_PAIRS` has the number of all.
const REQUESTS_EACH: usize = 9;

/// The sidecars: the label of each, and its filters.
const SIDECARS: [(&str, &[&str]); 3] = [
    ("native", &[]),
    ("fault, mirror, router", &["fault", "mirror", "router"]),
    ("sluice", &["sluice"]),
];

/// The rules and the hosts that they are for.
struct Rules {
    hosts: Vec<Host>,
    roots: Vec<Value>,
    delegates: Vec<Value>,
    configuration: Vec<String>,
}

/// Compares the sidecars.
pub async fn run() {
    let mut rng = Rng::with_seed(SEED);
    let rules = rules(&mut rng);
    let names = ["v1", "v2", "v3"].into_iter().chain(COPIES).chain(["own"]);
    let upstreams = Upstreams(names.map(upstream).collect());
    let mut configuration = services(&rules.hosts, &upstreams);
    configuration.extend(rules.configuration);
    let documented = [&*rules.delegates, &rules.roots].concat();
    let known = json!([
        { "host": SERVICE, "ports": [8080] },
        { "host": SERVICE_ON_TWO_PORTS, "ports": [8080, 8081] },
        { "host": COPIED, "ports": [8080] },
    ]);
    let document = json!({
        "namespace": "default",
        "virtualServices": documented,
        "services": known,
        "unmatchedHosts": "pass",
        "proxy": { "gateways": ["mesh"] },
    });
    for (index, (_, filters)) in SIDECARS.iter().enumerate() {
        configuration.push(sidecar(index));
        configuration.push(envoy_filter(index, filters, &document));
    }
    let istiod = Istiod::start(&configuration).await;
    let (mut proxies, mut ways) = (Vec::new(), Vec::new());
    for (index, (name, _)) in SIDECARS.iter().enumerate() {
        let label = label(index);
        let workload = Workload {
            kind: "sidecar",
            name: &label,
            namespace: "default",
            label: ("compared", &label),
        };
        let caller = BTreeMap::from([("app".to_owned(), "caller".to_owned())]);
        let proxy = Proxy::with_labels(&istiod, workload, &caller).await;
        assert_eq!(proxy.refusals().await, [""; 0]);
        ways.push(Way(name, proxy.listener(&mesh::listener_name(address(index)))));
        proxies.push(proxy);
    }
    assert_eq!(istiod.complaints(), [""; 0]);
    let each = asked_pairs().map_or(REQUESTS_EACH, |count| count / rules.hosts.len());
    let mut requests = Vec::new();
    for (host, spec) in rules.hosts.iter().zip(&rules.roots) {
        for _ in 0..each.max(1) {
            requests.push(Asked { sent: asked(&mut rng, host), rules: spec.to_string() });
        }
    }
    compare_all("sidecar", &ways, &upstreams, &requests).await;
}

fn rules(rng: &mut Rng) -> Rules {
    let hosts: Vec<_> = (0..SERVICES + ROOTS).map(host).collect();
    let mut configuration = Vec::new();
    let namespace = |index: usize| if index.is_multiple_of(2) { "default" } else { "team" };
    let names: Vec<_> =
        (0..DELEGATES).map(|index| (namespace(index), format!("d{index}"))).collect();
    let mut delegates = Vec::new();
    for (namespace, name) in &names {
        let mut spec = generate::delegate(rng);
        extend(rng, &mut spec);
        configuration.push(mesh::networking("VirtualService", name, namespace, &spec));
        spec["name"] = name.as_str().into();
        spec["namespace"] = (*namespace).into();
        delegates.push(spec);
    }
    let mut roots = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let mut spec = match index < SERVICES {
            true => generate::virtual_service(rng, &host.name, "mesh"),
            false => generate::root(rng, &host.name, "mesh", &names),
        };
        extend(rng, &mut spec);
        match rng.u32(..12) {
            0 => spec["gateways"] = json!(["default/other"]),
            1 => spec["gateways"] = json!(["default/other", "mesh"]),
            2..=6 => _ = spec.as_object_mut().and_then(|own| own.remove("gateways")),
            _ => {}
        }
        let name = format!("h{index}");
        configuration.push(mesh::networking("VirtualService", &name, "default", &spec));
        roots.push(spec);
    }
    Rules { hosts, roots, delegates, configuration }
}

/// The services of destinations, and those of the hosts, which all have the upstream `own`.
fn services(hosts: &[Host], upstreams: &Upstreams) -> Vec<String> {
    let endpoints = |names: &[&'static str]| -> Vec<_> {
        names.iter().map(|name| (*name, upstreams.0[*name].address())).collect()
    };
    let versions = endpoints(&["v1", "v2", "v3"]);
    let mut configuration: Vec<_> = mesh::service("echo", &versions).into();
    configuration.extend(mesh::service_on_two_ports("echoes", &versions));
    configuration.extend(mesh::service("copies", &endpoints(&COPIES)));
    let address = upstreams.0["own"].address();
    let spec = json!({
        "hosts": hosts.iter().flat_map(|host| &host.services).collect::<Vec<_>>(),
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{ "number": 8080, "name": "http", "protocol": "HTTP" }],
        "endpoints": [{ "address": address.ip(), "ports": { "http": address.port() } }],
    });
    configuration.push(mesh::networking("ServiceEntry", "hosts", "default", &spec));
    configuration.iter().map(|text| in_namespace_of_services(text)).collect()
}

fn in_namespace_of_services(text: &str) -> String {
    let mut object: Value = serde_json::from_str(text).expect("JSON");
    object["metadata"]["namespace"] = NAMESPACE_OF_SERVICES.into();
    object.to_string()
}

fn label(index: usize) -> String {
    format!("way-{index}")
}

fn address(index: usize) -> std::net::SocketAddr {
    mesh::address(10 + u8::try_from(index).expect("few ways"), 8080)
}

/// A sidecar. Only that of istiod imports the VirtualServices: otherwise the filters would get what
/// Envoy's own filters have left over.
fn sidecar(index: usize) -> String {
    let imported = if index == 0 { "*/*".to_owned() } else { format!("{NAMESPACE_OF_SERVICES}/*") };
    let spec = json!({
        "workloadSelector": { "labels": { "compared": label(index) } },
        "egress": [{
            "port": { "number": 8080, "name": "http", "protocol": "HTTP" },
            "bind": address(index).ip(),
            "captureMode": "NONE",
            "hosts": [imported],
        }],
    });
    mesh::networking("Sidecar", &label(index), "default", &spec)
}

/// The filters in a sidecar and their routes, and in responses the name of the cluster and the note
/// of the router filter.
fn envoy_filter(index: usize, filters: &[&str], document: &Value) -> String {
    let context = "SIDECAR_OUTBOUND";
    let matched = json!({ "context": context });
    let mut patches: Vec<_> =
        filters.iter().map(|filter| mesh::http_plugin(context, 8080, filter, document)).collect();
    for patch in &mut patches {
        patch["match"]["listener"]["name"] = mesh::listener_name(address(index)).into();
        patch["match"]["listener"].as_object_mut().and_then(|own| own.remove("portNumber"));
    }
    if !filters.is_empty() {
        patches.push(json!({ "applyTo": "HTTP_ROUTE", "match": matched, "patch": {
            "operation": "INSERT_FIRST",
            "value": mesh::steered_route(2),
        } }));
        patches.push(json!({ "applyTo": "VIRTUAL_HOST", "match": matched, "patch": {
            "operation": "MERGE",
            "value": { "request_headers_to_remove": ["x-sluice-cluster"] },
        } }));
    }
    patches.push(json!({ "applyTo": "ROUTE_CONFIGURATION", "match": matched, "patch": {
        "operation": "MERGE",
        "value": { "response_headers_to_add": [
            { "header": { "key": "x-test-cluster", "value": "%UPSTREAM_CLUSTER_RAW%" } },
            { "header": { "key": NOTE, "value": "%FILTER_STATE(wasm.sluice.route:PLAIN)%" } },
        ] },
    } }));
    let selector = json!({ "labels": { "compared": label(index) } });
    let spec = json!({ "workloadSelector": selector, "configPatches": patches });
    let api = "networking.istio.io/v1alpha3";
    mesh::document(api, "EnvoyFilter", &label(index), "default", &spec)
}
