//! One istiod and one proxy with the objects of a case, twice: translated by istiod, and carried
//! out by the filters. Each side has listeners on an address of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use sluice_e2e::{Client, Connection};

use super::objects::{Context, kind, virtual_services};
use super::observe::NOTE;
use super::prepare::{self};
use super::services::{Service, Upstreams};
use crate::istiod::Istiod;
use crate::mesh;
use crate::proxy::{Proxy, Workload};
use crate::verdicts::sluice;

/// The two ways through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Routes of istiod
    Native,
    /// The filters
    Filtered,
    /// The Envoy that the command renders
    Rendered,
}

/// A running proxy.
pub struct World {
    // Dropped before istiod, so that Envoy does not log lost connections.
    _proxies: Vec<Proxy>,
    _istiod: Istiod,
    clients: BTreeMap<(Side, u16), (Client, Option<Connection>)>,
}

/// The objects of a batch.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The objects
    pub objects: &'a [Value],
    /// The services of all objects
    pub services: &'a [Service],
    /// The endpoints
    pub upstreams: &'a Upstreams,
    /// The namespace
    pub namespace: &'a str,
    /// The proxy that the batch is compared in
    pub context: Context,
    /// The ports that clients call
    pub ports: &'a BTreeSet<u16>,
    /// The address of the listeners of the rendered Envoy
    pub bind: SocketAddr,
}

/// The loopback addresses of the sides, which no other running case has.
#[derive(Clone, Copy)]
pub struct Addresses(pub u8);

impl Addresses {
    fn of(self, side: Side, port: u16) -> SocketAddr {
        let number = 20 + 2 * self.0 + u8::from(side == Side::Filtered);
        mesh::address(number, port)
    }
}

/// Returns the plugin document that the command makes of the objects.
///
/// # Errors
/// The first error of the command.
pub fn document(
    objects: &[Value],
    services: &[Service],
    namespace: &str,
    context: Context,
) -> Result<Value, String> {
    let directory = tempfile::tempdir().expect("a folder");
    let file = directory.path().join("input.yaml");
    write_input(&file, objects, services);
    let mut command = Command::new(sluice());
    command.args(["render", "--to", "plugin-json", "--allow-partial", "-n", namespace]);
    match context {
        Context::Sidecar => {
            command.args(["--gateway", "mesh"]);
        }
        Context::Gateway => {
            for (namespace, name) in prepare::gateways(objects) {
                command.args(["--gateway", &format!("{namespace}/{name}")]);
            }
        }
    }
    let output = command.arg(&file).output().expect("sluice");
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let own = directory.path().display().to_string();
        let error = text.lines().find(|line| line.contains(": error: ")).or(text.lines().next());
        return Err(error.unwrap_or_default().replace(&own, ""));
    }
    let mut document: Value = serde_json::from_slice(&output.stdout).expect("one plugin document");
    // Sidecars call services without rules too.
    if context == Context::Sidecar {
        document["unmatchedHosts"] = "pass".into();
    }
    Ok(document)
}

/// Writes the objects and the services that they do not have.
fn write_input(file: &std::path::Path, objects: &[Value], services: &[Service]) {
    let made = services.iter().filter_map(Service::object);
    let texts: Vec<_> = objects.iter().cloned().chain(made).map(|own| own.to_string()).collect();
    std::fs::write(file, texts.join("\n---\n")).expect("a file");
}

impl World {
    /// Starts istiod and the proxy.
    ///
    /// # Errors
    /// What istiod or Envoy refused.
    pub async fn start(
        input: &Input<'_>,
        document: &Value,
        addresses: Addresses,
    ) -> Result<Self, String> {
        let Input { objects, services, upstreams, namespace, context, ports, .. } = *input;
        let mut configuration: Vec<String> = objects
            .iter()
            .filter(|own| matches!(kind(own), "VirtualService" | "DestinationRule"))
            .map(Value::to_string)
            .collect();
        let entries = services.iter().enumerate();
        configuration.extend(entries.map(|(index, own)| own.entry(index, upstreams)));
        let binds = [Side::Native, Side::Filtered].map(|side| addresses.of(side, 0));
        match context {
            Context::Gateway => configuration.extend(gateways(objects, namespace, ports, binds)),
            Context::Sidecar => configuration.extend(sidecars(namespace, ports, binds)),
        }
        let filtered = ports.iter().map(|port| addresses.of(Side::Filtered, *port));
        configuration.push(envoy_filter(context, filtered, document, objects));
        let istiod = Istiod::start(&configuration).await;
        // A sidecar cannot have a port twice, so each side has a proxy of its own.
        let kinds: &[_] = match context {
            Context::Gateway => &[("router", "gateway")],
            Context::Sidecar => &[("sidecar", "native"), ("sidecar", "filtered")],
        };
        let mut proxies = Vec::new();
        for (kind, name) in kinds {
            let workload = Workload { kind, name, namespace, label: ("compared", name) };
            let proxy = Proxy::with_labels(&istiod, workload, &prepare::labels(objects)).await;
            if let Some(refusal) = proxy.refusals().await.into_iter().next() {
                return Err(refusal);
            }
            proxies.push(proxy);
        }
        // Names of objects are in messages of another level, whatever they contain.
        let mut complaints =
            istiod.complaints().into_iter().filter(|own| !own.contains("\tinfo\t"));
        if let Some(complaint) = complaints.next() {
            return Err(complaint);
        }
        let mut clients = BTreeMap::new();
        for port in ports {
            for (proxy, side) in [(proxies.first(), Side::Native), (proxies.last(), Side::Filtered)]
            {
                let name = mesh::listener_name(addresses.of(side, *port));
                let client = proxy.expect("a proxy").listener(&name);
                clients.insert((side, *port), (client, None));
            }
        }
        Ok(Self { _proxies: proxies, _istiod: istiod, clients })
    }

    /// The client of a side and a port, with its connection if there is one.
    pub fn client(&mut self, side: Side, port: u16) -> &mut (Client, Option<Connection>) {
        self.clients.get_mut(&(side, port)).expect("a listener")
    }
}

/// The gateways of the VirtualServices, and the one of the filters.
fn gateways(
    objects: &[Value],
    namespace: &str,
    ports: &BTreeSet<u16>,
    binds: [SocketAddr; 2],
) -> Vec<String> {
    let gateway = |namespace: &str, name: &str, bind: SocketAddr| {
        let server = |port: &u16| {
            json!({
                "port": { "number": port, "name": format!("http-{port}"), "protocol": "HTTP" },
                "bind": bind.ip(),
                "hosts": ["*/*"],
            })
        };
        let spec = json!({
            "selector": { "compared": "gateway" },
            "servers": ports.iter().map(server).collect::<Vec<_>>(),
        });
        mesh::networking("Gateway", name, namespace, &spec)
    };
    let [native, filtered] = binds;
    let own = prepare::gateways(objects);
    let mut all: Vec<_> =
        own.iter().map(|(namespace, name)| gateway(namespace, name, native)).collect();
    all.push(gateway(namespace, "sluice-filtered", filtered));
    all
}

/// The outbound listeners of the sidecars.
fn sidecars(namespace: &str, ports: &BTreeSet<u16>, binds: [SocketAddr; 2]) -> [String; 3] {
    let sidecar = |(name, bind): (&str, SocketAddr)| {
        let listener = |port: &u16| {
            json!({
                "port": { "number": port, "name": format!("http-{port}"), "protocol": "HTTP" },
                "bind": bind.ip(),
                "captureMode": "NONE",
                "hosts": ["*/*"],
            })
        };
        let listeners: Vec<_> = ports.iter().map(listener).collect();
        let selector = json!({ "labels": { "compared": name } });
        let spec = json!({ "workloadSelector": selector, "egress": listeners });
        mesh::networking("Sidecar", name, namespace, &spec)
    };
    // istiod makes no listener for a port without a service.
    let port =
        |port: &u16| json!({ "number": port, "name": format!("http-{port}"), "protocol": "HTTP" });
    let spec = json!({
        "hosts": ["sluice-ports.internal"],
        "resolution": "STATIC",
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
    });
    let service = mesh::networking("ServiceEntry", "sluice-ports", namespace, &spec);
    [sidecar(("native", binds[0])), sidecar(("filtered", binds[1])), service]
}

/// The filters in their listeners, their routes, and in responses the name of the cluster and the
/// note of the router filter.
fn envoy_filter(
    context: Context,
    listeners: impl Iterator<Item = SocketAddr>,
    document: &Value,
    objects: &[Value],
) -> String {
    let name = match context {
        Context::Gateway => "GATEWAY",
        Context::Sidecar => "SIDECAR_OUTBOUND",
    };
    let text = json!(virtual_services(objects).collect::<Vec<_>>()).to_string();
    let mut filters = vec!["router"];
    let copies = text.matches("\"mirror\"").count() + text.matches("\"mirrors\"").count();
    if copies > 0 {
        filters.insert(0, "mirror");
    }
    if text.contains("\"fault\"") {
        filters.insert(0, "fault");
    }
    let mut patches = Vec::new();
    for listener in listeners {
        for filter in &filters {
            let mut patch = mesh::http_plugin(name, listener.port(), filter, document);
            patch["match"]["listener"]["name"] = mesh::listener_name(listener).into();
            if let Some(own) = patch["match"]["listener"].as_object_mut() {
                own.remove("portNumber");
            }
            patches.push(patch);
        }
    }
    let matched = json!({ "context": name });
    let mirrors = if copies > 0 { 4 } else { 0 };
    patches.push(json!({ "applyTo": "HTTP_ROUTE", "match": matched, "patch": {
        "operation": "INSERT_FIRST",
        "value": mesh::steered_route(mirrors),
    } }));
    patches.push(json!({ "applyTo": "VIRTUAL_HOST", "match": matched, "patch": {
        "operation": "MERGE",
        "value": { "request_headers_to_remove": ["x-sluice-cluster"] },
    } }));
    patches.push(json!({ "applyTo": "ROUTE_CONFIGURATION", "match": matched, "patch": {
        "operation": "MERGE",
        "value": { "response_headers_to_add": [
            { "header": { "key": "x-test-cluster", "value": "%UPSTREAM_CLUSTER_RAW%" } },
            { "header": { "key": NOTE, "value": "%FILTER_STATE(wasm.sluice.route:PLAIN)%" } },
        ] },
    } }));
    let spec = json!({ "configPatches": patches });
    let api = "networking.istio.io/v1alpha3";
    mesh::document(api, "EnvoyFilter", "sluice", "istio-system", &spec)
}
