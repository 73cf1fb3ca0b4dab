//! HTTPRoutes and GRPCRoutes of the Gateway API: a gateway has the same routes three times, as
//! istiod translates them and as two sets of filters apply them, each on a port of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use sluice_e2e::{Client, until};

use crate::behaviour::observe::NOTE;
use crate::behaviour::services::Upstreams;
use crate::generate::gateway_api::{BACKENDS, COPIES, Group, NAMESPACES, PORT, asked, group};
use crate::kubernetes::cluster::Cluster;
use crate::kubernetes::control_plane::ControlPlane;
use crate::kubernetes::controllers::{address, reconcile};
use crate::mesh;
use crate::pairs::known::asked_pairs;
use crate::pairs::ways::{Asked, Way, compare_all, upstream_at};
use crate::proxy::{ISTIO_VERSION, Proxy};
use crate::verdicts::{module, sluice};

const SEED: u64 = 2028;
const GROUPS: usize = 60;
/// Requests for each group, unless `SLUICE_PAIRS` has the number of all.
const REQUESTS_EACH: usize = 25;
/// The groups that are created at the same time. The API has whole seconds.
const GROUPS_AT_ONCE: usize = 20;

/// The namespace of the gateway and of the Services.
const NAMESPACE: &str = NAMESPACES[0];
/// The port of the workloads of Services.
const WORKLOAD: u16 = 9000;
/// The listeners: the name of each, its port, and its filters. The first is istiod's.
const LISTENERS: [(&str, u16, &[&str]); 3] = [
    ("native", 8090, &[]),
    ("mirror, router", 8091, &["mirror", "router"]),
    ("sluice", 8092, &["sluice"]),
];

/// Gives the API the resources of the Gateway API. They have to be there before istiod starts.
pub fn define(cluster: &Cluster) {
    let module = module("sigs.k8s.io/gateway-api").expect("the module of the Gateway API");
    let mut count = 0;
    for entry in fs::read_dir(module.join("config/crd/experimental")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        // The policy of `vap` is for upgrades of these resources.
        if name.starts_with("gateway.networking.k8s.io_") && !name.contains("_vap_") {
            cluster.kubectl(["apply", "--server-side", "--filename", path.to_str().unwrap()]);
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} resources of the Gateway API");
    println!("Gateway API: {count} resources");
}

/// Compares the listeners.
pub async fn run(cluster: &Cluster, control_plane: &ControlPlane) {
    let mut rng = Rng::with_seed(SEED);
    for namespace in NAMESPACES {
        cluster.kubectl(["create", "namespace", namespace]);
    }
    services(cluster);
    cluster.give(&["apply"], &gateway());
    let parent = json!({ "name": "gateway", "namespace": NAMESPACE, "sectionName": "native" });
    let groups: Vec<_> = (0..GROUPS).map(|index| group(&mut rng, index, &parent)).collect();
    apply(cluster, &mut rng, &groups).await;
    accepted(cluster).await;
    let document = document(cluster);
    // Too large for the annotation of `kubectl apply`.
    cluster.give(&["create"], &envoy_filter(&document));
    let names = BACKENDS.into_iter().chain(COPIES);
    let at = |name: &str| upstream_at(SocketAddr::from((address(name), WORKLOAD)), name);
    let upstreams = Upstreams(names.map(at).collect());
    let proxy = start(cluster, control_plane).await;
    let ways = LISTENERS.map(|(name, port, _)| {
        Way(name, Client::new(SocketAddr::from((address("gateway"), port))))
    });
    has_routes(&proxy, &groups).await;
    let each = asked_pairs().map_or(REQUESTS_EACH, |count| count / GROUPS);
    let mut requests = Vec::new();
    for group in &groups {
        let specs: Vec<_> = group.routes.iter().map(|(_, _, spec)| spec.to_string()).collect();
        for _ in 0..each.max(1) {
            requests.push(Asked { sent: asked(&mut rng, group), rules: specs.join("\n      ") });
        }
    }
    compare_all("routes", &ways, &upstreams, &requests).await;
    assert_eq!(proxy.refusals().await, [""; 0]);
}

/// The Services, with a Deployment each, and one for the gateway.
fn services(cluster: &Cluster) {
    let mut documents = Vec::new();
    let gateway: Vec<_> = LISTENERS.iter().map(|(_, port, _)| (*port, *port)).collect();
    let backends = BACKENDS.iter().chain(&COPIES).map(|name| (*name, vec![(PORT, WORKLOAD)]));
    for (name, ports) in backends.chain([("gateway", gateway)]) {
        let port = |(port, target): &(u16, u16)| {
            let name = format!("http-{port}");
            json!({ "name": name, "port": port, "targetPort": target })
        };
        let labels = json!({ "app": name });
        let metadata = json!({ "name": name, "namespace": NAMESPACE });
        documents.push(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": { "selector": labels, "ports": ports.iter().map(port).collect::<Vec<_>>() },
        }));
        let container =
            json!({ "name": "service", "image": format!("registry.example.com/{name}") });
        documents.push(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [container] },
                },
            },
        }));
    }
    for kind in ["HTTPRoute", "GRPCRoute"] {
        let from = json!({
            "group": "gateway.networking.k8s.io", "kind": kind, "namespace": NAMESPACES[1],
        });
        documents.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": { "name": kind.to_lowercase(), "namespace": NAMESPACE },
            "spec": { "from": [from], "to": [{ "group": "", "kind": "Service" }] },
        }));
    }
    give_all(cluster, &documents);
    reconcile(cluster, NAMESPACE, |_| true);
}

fn give_all(cluster: &Cluster, documents: &[Value]) {
    let texts: Vec<_> = documents.iter().map(Value::to_string).collect();
    cluster.give(&["create"], &texts.join("\n---\n"));
}

/// A Gateway for a proxy that is there already. Routes are attached to its first listener only.
fn gateway() -> String {
    let listener = |(name, port, filters): &(&str, u16, &[&str])| {
        let name = if filters.is_empty() { (*name).to_owned() } else { format!("filters-{port}") };
        json!({
            "name": name,
            "port": port,
            "protocol": "HTTP",
            "allowedRoutes": { "namespaces": { "from": "All" } },
        })
    };
    let service = format!("gateway.{NAMESPACE}.svc.cluster.local");
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": { "name": "gateway", "namespace": NAMESPACE },
        "spec": {
            "gatewayClassName": "istio",
            "addresses": [{ "type": "Hostname", "value": service }],
            "listeners": LISTENERS.iter().map(listener).collect::<Vec<_>>(),
        },
    })
    .to_string()
}

/// Creates the routes in several steps, so that they differ in age, with names in any order.
async fn apply(cluster: &Cluster, rng: &mut Rng, groups: &[Group]) {
    let mut count = 0;
    // The routes of a group are in different steps.
    let mut steps: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        for (kind, namespace, spec) in &group.routes {
            count += 1;
            let name = format!("r{}-{count}", rng.u32(100..1000));
            steps.entry((index + rng.usize(..3)) / GROUPS_AT_ONCE).or_default().push(json!({
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": kind,
                "metadata": { "name": name, "namespace": namespace },
                "spec": spec,
            }));
        }
    }
    for routes in steps.values_mut() {
        // A step may take longer than a second. The order by age is then that by name.
        routes.sort_by_key(|own| {
            let metadata = &own["metadata"];
            [metadata["namespace"].to_string(), metadata["name"].to_string()]
        });
        give_all(cluster, routes);
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    println!("{count} routes for {} hosts: created", groups.len());
}

/// Waits until istiod has accepted all routes, and found all their backends.
async fn accepted(cluster: &Cluster) {
    let mut refused = Vec::new();
    let is_true = |route: &Value, kind: &str| {
        let conditions = route["status"]["parents"][0]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|own| own["type"] == kind && own["status"] == "True")
    };
    for _ in 0..60 {
        let routes = cluster.get(&["httproutes,grpcroutes", "--all-namespaces"]);
        let routes = routes["items"].as_array().expect("a list");
        let is_open =
            |route: &&Value| !is_true(route, "Accepted") || !is_true(route, "ResolvedRefs");
        refused = routes.iter().filter(is_open).cloned().collect();
        if refused.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let example = refused.first().map(Value::to_string);
    panic!("{} routes are not accepted, such as {example:?}", refused.len());
}

/// The plugin document that the command makes of the objects in the API.
fn document(cluster: &Cluster) -> Value {
    let kinds = "httproutes,grpcroutes,referencegrants,services";
    let objects = cluster.get(&[kinds, "--all-namespaces"]);
    let objects = objects["items"].as_array().expect("a list");
    let is_own = |own: &&Value| NAMESPACES.iter().any(|name| own["metadata"]["namespace"] == *name);
    let texts: Vec<_> = objects.iter().filter(is_own).map(Value::to_string).collect();
    let file = cluster.path("routes.yaml");
    fs::write(&file, texts.join("\n---\n")).unwrap();
    let mut command = Command::new(sluice());
    command.args(["render", "--to", "plugin-json", "--allow-partial", "-n", NAMESPACE]);
    command.args(["--gateway", &format!("{NAMESPACE}/gateway")]).arg(file);
    let output = command.output().expect("sluice");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // The pauses between retries are Envoy's. Nothing else may be left out.
    let mut left_out = errors.lines().filter(|line| line.contains(": left out: "));
    assert!(left_out.all(|line| line.contains(".retry.backoff: ")), "{errors}");
    let mut document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // The port that clients of the native listener call, for redirects without a port.
    document["proxy"]["port"] = LISTENERS[0].1.into();
    document
}

/// The filters of each listener and their routes, and in responses the name of the cluster.
fn envoy_filter(document: &Value) -> String {
    let mut patches = Vec::new();
    for (_, port, filters) in LISTENERS {
        let routes = json!({ "context": "GATEWAY", "routeConfiguration": { "portNumber": port } });
        let add = |patches: &mut Vec<Value>, kind: &str, operation: &str, value: Value| {
            let patch = json!({ "operation": operation, "value": value });
            patches.push(json!({ "applyTo": kind, "match": routes, "patch": patch }));
        };
        let plugins = filters.iter().map(|own| mesh::http_plugin("GATEWAY", port, own, document));
        patches.extend(plugins);
        let headers = json!({ "response_headers_to_add": [
            { "header": { "key": "x-test-cluster", "value": "%UPSTREAM_CLUSTER_RAW%" } },
            { "header": { "key": NOTE, "value": "%FILTER_STATE(wasm.sluice.route:PLAIN)%" } },
        ] });
        add(&mut patches, "ROUTE_CONFIGURATION", "MERGE", headers);
        if filters.is_empty() {
            continue;
        }
        add(&mut patches, "HTTP_ROUTE", "INSERT_FIRST", mesh::steered_route(2));
        // The second as in istiod's virtual hosts of routes.
        let removed = json!({
            "request_headers_to_remove": ["x-sluice-cluster"],
            "include_request_attempt_count": true,
        });
        add(&mut patches, "VIRTUAL_HOST", "MERGE", removed);
    }
    let selector = json!({ "labels": { "app": "gateway" } });
    let spec = json!({ "workloadSelector": selector, "configPatches": patches });
    mesh::document("networking.istio.io/v1alpha3", "EnvoyFilter", "sluice", NAMESPACE, &spec)
}

/// Starts the proxy of the gateway with the identity of its pod.
async fn start(cluster: &Cluster, control_plane: &ControlPlane) -> Proxy {
    let pods = cluster.get(&["pods", "--namespace", NAMESPACE, "--selector", "app=gateway"]);
    let pod = &pods["items"][0];
    let name = pod["metadata"]["name"].as_str().expect("a name");
    let ip = pod["status"]["podIP"].as_str().expect("an address");
    let node = json!({
        "id": format!("router~{ip}~{name}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"),
        "cluster": format!("gateway.{NAMESPACE}"),
        "metadata": {
            "NAME": name,
            "NAMESPACE": NAMESPACE,
            "LABELS": pod["metadata"]["labels"],
            "ISTIO_VERSION": ISTIO_VERSION,
            "CLUSTER_ID": "Kubernetes",
            "INSTANCE_IPS": ip,
        },
    });
    Proxy::of_node(control_plane.xds(), node).await
}

/// Waits until the proxy has the hosts of all routes and the filters: istiod may have answered it
/// before it had read the last object. Envoy does not answer while it compiles modules.
async fn has_routes(proxy: &Proxy, groups: &[Group]) {
    let admin = proxy.envoy().admin_client();
    let dump = async |resource: &str| {
        let request = admin.get(&format!("/config_dump?resource={resource}"));
        let response = admin.try_connect().await.ok()?.try_send(request).await.ok()?;
        Some(response.text())
    };
    until("the proxy has all routes", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let listeners = dump("dynamic_listeners").await?;
        let open = LISTENERS.iter().map(|(_, port, _)| format!("\"port_value\": {port}"));
        let is_open = open.into_iter().all(|port| listeners.contains(&port));
        if !is_open || !listeners.contains("sluice.sluice") {
            return None;
        }
        let routes = dump("dynamic_route_configs").await?;
        let has = |group: &Group| routes.contains(&format!("{}.example.com", group.name));
        (groups.iter().all(has) && routes.contains("x-sluice-cluster")).then_some(())
    })
    .await;
}
