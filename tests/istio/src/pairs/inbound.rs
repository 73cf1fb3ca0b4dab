//! Sidecars for requests that a workload receives: one with Envoy's own fault filter, one with the
//! fault filter of this repository.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::{Value, json};

use super::known::asked_pairs;
use super::ways::{Asked, Way, compare_all, upstream};
use crate::behaviour::observe::NOTE;
use crate::behaviour::services::Upstreams;
use crate::generate::sidecar::{Host, asked, host};
use crate::generate::{self, inbound::add_faults};
use crate::istiod::Istiod;
use crate::mesh;
use crate::proxy::{Proxy, Workload};

const SEED: u64 = 2029;
const SERVICES: usize = 200;
/// Requests for each VirtualService, unless `SLUICE_PAIRS` has the number of all.
const REQUESTS_EACH: usize = 25;
/// The sidecars.
const SIDECARS: [&str; 2] = ["native", "fault"];
/// The name of Envoy's fault filter in this test.
const NATIVE_FILTER: &str = "test.fault";

/// Compares the sidecars.
pub async fn run() {
    let mut rng = Rng::with_seed(SEED);
    let hosts: Vec<_> = (0..SERVICES).map(host).collect();
    let rules = hosts.iter().map(|host| {
        let mut spec = generate::virtual_service(&mut rng, &host.name, "mesh");
        add_faults(&mut rng, &mut spec);
        spec
    });
    let rules: Vec<_> = rules.collect();
    let upstreams = Upstreams([upstream("own")].into());
    let workload = upstreams.0["own"].address();
    // This mesh has no certificates, so it has no TLS.
    let plaintext = json!({ "mtls": { "mode": "DISABLE" } });
    let api = "security.istio.io/v1";
    let mut configuration =
        vec![mesh::document(api, "PeerAuthentication", "default", "istio-system", &plaintext)];
    for (index, name) in SIDECARS.iter().enumerate() {
        let spec = json!({
            "workloadSelector": { "labels": { "compared": name } },
            "ingress": [{
                "port": { "number": 8080, "name": "http", "protocol": "HTTP" },
                "bind": address(index).ip(),
                "captureMode": "NONE",
                "defaultEndpoint": workload.to_string(),
            }],
        });
        configuration.push(mesh::networking("Sidecar", name, "default", &spec));
        configuration.push(envoy_filter(name, &hosts, &rules));
    }
    let istiod = Istiod::start(&configuration).await;
    let (mut proxies, mut ways) = (Vec::new(), Vec::new());
    for (index, name) in SIDECARS.iter().enumerate() {
        let workload =
            Workload { kind: "sidecar", name, namespace: "default", label: ("compared", name) };
        let proxy = Proxy::start(&istiod, workload).await;
        assert_eq!(proxy.refusals().await, [""; 0]);
        ways.push(Way(name, proxy.listener(&mesh::listener_name(address(index)))));
        proxies.push(proxy);
    }
    assert_eq!(istiod.complaints(), [""; 0]);
    let each = asked_pairs().map_or(REQUESTS_EACH, |count| count / SERVICES);
    let mut requests = Vec::new();
    for (host, spec) in hosts.iter().zip(&rules) {
        for _ in 0..each.max(1) {
            let mut sent = asked(&mut rng, host);
            // Nothing here ends a request that takes long.
            sent.headers.retain(|(name, _)| name != "x-test-delay");
            requests.push(Asked { sent, rules: spec.to_string() });
        }
    }
    compare_all("inbound", &ways, &upstreams, &requests).await;
}

fn address(index: usize) -> std::net::SocketAddr {
    mesh::address(14 + u8::try_from(index).expect("few sidecars"), 8080)
}

/// The filter of a sidecar, and in responses the name of the cluster.
fn envoy_filter(name: &str, hosts: &[Host], rules: &[Value]) -> String {
    let context = "SIDECAR_INBOUND";
    let document = json!({ "namespace": "default", "virtualServices": rules });
    let mut plugin = mesh::http_plugin(context, 8080, "fault", &document);
    if let Some(listener) = plugin["match"]["listener"].as_object_mut() {
        listener.remove("portNumber");
    }
    let matched = json!({ "context": context });
    let headers = json!({ "response_headers_to_add": [
        { "header": { "key": "x-test-cluster", "value": "%UPSTREAM_CLUSTER_RAW%" } },
        { "header": { "key": NOTE, "value": "%FILTER_STATE(wasm.sluice.route:PLAIN)%" } },
    ] });
    let mut patches = vec![json!({
        "applyTo": "ROUTE_CONFIGURATION",
        "match": matched,
        "patch": { "operation": "MERGE", "value": headers },
    })];
    if name == "native" {
        plugin["patch"]["value"] = json!({
            "name": NATIVE_FILTER,
            "typed_config": { "@type": format!("type.googleapis.com/{FAULT}") },
        });
        let added = hosts.iter().zip(rules).map(|(host, spec)| {
            json!({
                "applyTo": "VIRTUAL_HOST",
                "match": matched,
                "patch": { "operation": "ADD", "value": virtual_host(host, spec) },
            })
        });
        patches.extend(added);
    }
    patches.push(plugin);
    let selector = json!({ "labels": { "compared": name } });
    let spec = json!({ "workloadSelector": selector, "configPatches": patches });
    mesh::document("networking.istio.io/v1alpha3", "EnvoyFilter", name, "default", &spec)
}

/// The type of the configuration of Envoy's fault filter.
const FAULT: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

/// A virtual host of Envoy with the faults of a VirtualService, all of whose requests go to the
/// workload.
fn virtual_host(host: &Host, spec: &Value) -> Value {
    let domains = host.services.iter().chain(&host.asked).chain([&host.name]);
    let domains = domains.map(|own| own.split(':').next().unwrap_or(own).to_lowercase());
    let mut domains: BTreeSet<_> = domains.collect();
    // The short name of a service in another namespace is no name of it.
    if host.name.contains(".team.") {
        domains.retain(|own| own.contains('.'));
    }
    let ports = domains.iter().map(|own| format!("{own}:8080"));
    let domains: Vec<_> = domains.iter().cloned().chain(ports).collect();
    let mut routes = Vec::new();
    for route in spec["http"].as_array().expect("routes") {
        let always = [json!({})];
        let conditions = route["match"].as_array().map_or(&always[..], Vec::as_slice);
        for condition in conditions {
            let mut own = passed(envoy_match(condition));
            if let Some(fault) = envoy_fault(&route["fault"]) {
                own["typed_per_filter_config"] = json!({ NATIVE_FILTER: fault });
            }
            routes.push(own);
        }
    }
    routes.push(passed(json!({ "prefix": "/" })));
    json!({ "name": host.name, "domains": domains, "routes": routes })
}

fn passed(matched: Value) -> Value {
    json!({ "match": matched, "route": { "cluster": "inbound|8080||", "timeout": "0s" } })
}

/// The faults in the words of Envoy.
fn envoy_fault(fault: &Value) -> Option<Value> {
    fault.as_object()?;
    let share = |own: &Value| json!({ "numerator": own["percentage"]["value"] });
    let mut own = json!({ "@type": format!("type.googleapis.com/{FAULT}") });
    let (delay, abort) = (&fault["delay"], &fault["abort"]);
    if delay.is_object() {
        let fixed: f64 = delay["fixedDelay"].as_str()?.strip_suffix("ms")?.parse().ok()?;
        let fixed = format!("{}s", fixed / 1000.0);
        own["delay"] = json!({ "fixed_delay": fixed, "percentage": share(delay) });
    }
    if abort.is_object() {
        own["abort"] = json!({ "http_status": abort["httpStatus"], "percentage": share(abort) });
    }
    Some(own)
}

/// A condition in the words of Envoy.
fn envoy_match(condition: &Value) -> Value {
    let uri = &condition["uri"];
    let mut own = match (uri["exact"].as_str(), uri["prefix"].as_str(), uri["regex"].as_str()) {
        (Some(path), _, _) => json!({ "path": path }),
        (_, Some(prefix), _) => json!({ "prefix": prefix }),
        (_, _, Some(regex)) => json!({ "safe_regex": { "regex": regex } }),
        _ => json!({ "prefix": "/" }),
    };
    if condition["ignoreUriCase"] == true && uri["regex"].is_null() && uri.is_object() {
        own["case_sensitive"] = false.into();
    }
    let mut headers = Vec::new();
    for (field, is_inverted) in [("headers", false), ("withoutHeaders", true)] {
        for (name, value) in condition[field].as_object().into_iter().flatten() {
            let mut header = match text_match(value) {
                Some(text) => json!({ "name": name, "string_match": text }),
                None => json!({ "name": name, "present_match": true }),
            };
            header["invert_match"] = is_inverted.into();
            headers.push(header);
        }
    }
    if let Some(text) = text_match(&condition["method"]) {
        headers.push(json!({ "name": ":method", "string_match": text }));
    }
    let parameters = condition["queryParams"].as_object().into_iter().flatten();
    let parameters =
        parameters.map(|(name, value)| json!({ "name": name, "string_match": text_match(value) }));
    own["query_parameters"] = parameters.collect();
    own["headers"] = headers.into();
    own
}

fn text_match(value: &Value) -> Option<Value> {
    if let Some(regex) = value["regex"].as_str() {
        return Some(json!({ "safe_regex": { "regex": regex } }));
    }
    let (kind, text) = value.as_object()?.iter().next()?;
    Some(json!({ kind: text }))
}
