//! Comparison of clusters: those that istiod writes for DestinationRules, and those that
//! `sluice render --to envoy` writes for the same.

use std::process::Command;

use serde::Deserialize as _;
use serde_json::{Value, json};
use sluice_e2e::{Envoy, Scenario, workspace};

use crate::istiod::Istiod;
use crate::mesh;
use crate::proxy::{INGRESS_GATEWAY, Proxy};

/// The folder with the DestinationRules.
const FOLDER: &str = "cli/tests/golden/render-envoy-policies";

/// The services of the rules, with their ports.
const SERVICES: [(&str, &[(u16, &str)]); 5] = [
    ("simple.example.com", &[(80, "HTTP"), (443, "HTTP")]),
    ("mutual.example.com", &[(443, "HTTP")]),
    ("pool.default.svc.cluster.local", &[(80, "HTTP")]),
    ("database.default.svc.cluster.local", &[(9000, "TCP")]),
    ("replica.default.svc.cluster.local", &[(9000, "TCP")]),
];

/// Compares the clusters, and panics if there is a difference.
pub async fn run() {
    let path = workspace().join(FOLDER);
    let input = std::fs::read_to_string(path.join("input.yaml")).unwrap();
    let address = mesh::address(9, 8080);
    let mut configuration = vec![input.clone(), mesh::gateway("clusters", address)];
    let route =
        json!({ "destination": { "host": "simple.example.com", "port": { "number": 80 } } });
    let service = json!({
        "hosts": ["*"], "gateways": ["clusters"], "http": [{ "route": [route] }],
    });
    configuration.push(mesh::networking("VirtualService", "clusters", "default", &service));
    configuration.extend(SERVICES.iter().enumerate().map(|(index, (host, ports))| {
        let port = |(number, protocol): &(u16, &str)| {
            let name = format!("{}-{number}", protocol.to_lowercase());
            json!({ "number": number, "name": name, "protocol": protocol })
        };
        let workload = |version: u8| {
            let labels = json!({ "version": format!("v{version}") });
            json!({ "address": format!("192.0.2.{version}"), "labels": labels })
        };
        let entry = json!({
            "hosts": [host], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": ports.iter().map(port).collect::<Vec<_>>(),
            "endpoints": (1..=3).map(workload).collect::<Vec<_>>(),
        });
        mesh::networking("ServiceEntry", &format!("entry-{index}"), "default", &entry)
    }));
    let istiod = Istiod::start(&configuration).await;
    let proxy = Proxy::start(&istiod, INGRESS_GATEWAY).await;
    assert_eq!(proxy.refusals().await, [""; 0]);
    let native = clusters(proxy.envoy()).await;
    let rendered = clusters(&rendered_envoy().await).await;
    let mut differences = Vec::new();
    for (name, own) in &rendered {
        let Some((_, native)) = native.iter().find(|(known, _)| known == name) else {
            panic!("istiod has no cluster {name}");
        };
        let (own, native) = (compared(own), compared(native));
        if own != native {
            differences.push(format!("{name}\n  istiod   {native}\n  rendered {own}"));
        }
    }
    assert!(rendered.len() >= 8, "{} clusters", rendered.len());
    println!("{} clusters are as istiod writes them", rendered.len() - differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// An Envoy with the rendered configuration.
async fn rendered_envoy() -> Envoy {
    let scenario = Scenario::new();
    let arguments = std::fs::read_to_string(workspace().join(FOLDER).join("command")).unwrap();
    let output = Command::new(workspace().join("target/debug/sluice"))
        .current_dir(workspace().join(FOLDER))
        .args(arguments.split_whitespace())
        .args(["--cluster-name", "outbound|{port}|{subset}|{host}"])
        .output()
        .expect("sluice, built by cargo build --package sluice-cli");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = scenario.own(&String::from_utf8(output.stdout).unwrap());
    let built = format!("{}/", workspace().join("dist").display());
    let text = text.replace("dist/", &built);
    // The machine may have its certificate authorities elsewhere.
    let authorities = format!("{built}certificates/ca.pem");
    let text = text.replace("/etc/ssl/certs/ca-certificates.crt", &authorities);
    scenario.envoy_of(&text, 1).await
}

/// The clusters of an Envoy for services, with their names.
async fn clusters(envoy: &Envoy) -> Vec<(String, Value)> {
    let dump = envoy.admin("/config_dump").await.json();
    let configs = dump["configs"].as_array().expect("a list").clone();
    let lists = ["static_clusters", "dynamic_active_clusters"];
    let all = configs.iter().flat_map(|config| {
        lists.iter().flat_map(|list| config[list].as_array().into_iter().flatten())
    });
    let own = all.map(|entry| &entry["cluster"]);
    let named = own.map(|own| (own["name"].as_str().unwrap_or_default().to_owned(), own.clone()));
    named.filter(|(name, _)| name.starts_with("outbound|")).collect()
}

/// The fields of a cluster that a DestinationRule decides. istiod serves certificates by SDS, so
/// only the rest of TLS is compared.
fn compared(cluster: &Value) -> Value {
    const FIELDS: [&str; 9] = [
        "connect_timeout",
        "circuit_breakers",
        "lb_policy",
        "round_robin_lb_config",
        "least_request_lb_config",
        "ring_hash_lb_config",
        "maglev_lb_config",
        "upstream_connection_options",
        "outlier_detection",
    ];
    let mut own = json!({});
    for name in FIELDS {
        own[name] = cluster[name].clone();
    }
    // A statistic.
    if let Some(limits) = own["circuit_breakers"]["thresholds"][0].as_object_mut() {
        limits.remove("track_remaining");
    }
    for field in ["round_robin_lb_config", "least_request_lb_config"] {
        if let Some(aggression) = own[field]["slow_start_config"]["aggression"].as_object_mut() {
            aggression.remove("runtime_key");
        }
    }
    let options = &cluster["typed_extension_protocol_options"];
    own["http"] = options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].clone();
    let is_empty = own["http"]["common_http_protocol_options"] == json!({});
    if let Some(http) = own["http"].as_object_mut().filter(|_| is_empty) {
        http.remove("common_http_protocol_options");
    }
    let socket = &cluster["transport_socket"];
    own["socket"] = socket["name"].clone();
    let config = &socket["typed_config"];
    own["proxy"] = config["config"].clone();
    let tls = match &config["transport_socket"]["typed_config"] {
        Value::Null => config,
        inner => inner,
    };
    own["sni"] = tls["sni"].clone();
    let common = &tls["common_tls_context"];
    for name in ["tls_params", "alpn_protocols"] {
        own[name] = common[name].clone();
    }
    own["names"] = names(common).into();
    own
}

/// The names that certificates must have.
fn names(common: &Value) -> Vec<String> {
    let combined = &common["combined_validation_context"]["default_validation_context"];
    let typed = &common["validation_context"]["match_typed_subject_alt_names"];
    let exact = |matcher: &Value| Some(matcher["exact"].as_str()?.to_owned());
    let list = |value: &Value| Vec::<Value>::deserialize(value).unwrap_or_default();
    let of_istiod = list(&combined["match_subject_alt_names"]);
    let own = list(typed).into_iter().map(|own| own["matcher"].clone());
    of_istiod.into_iter().chain(own).filter_map(|own| exact(&own)).collect()
}
