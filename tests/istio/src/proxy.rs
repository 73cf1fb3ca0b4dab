//! An Envoy as a proxy of the mesh, configured by istiod alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sluice_e2e::{Client, Envoy};

use crate::istiod::Istiod;

/// The version that proxies tell istiod.
pub const ISTIO_VERSION: &str = "1.31.0";

/// Identity of a proxy, as sent to istiod.
#[derive(Clone, Copy)]
pub struct Workload<'a> {
    /// `router` for a gateway, `sidecar`
    pub kind: &'a str,
    /// The name of its pod
    pub name: &'a str,
    /// Its namespace
    pub namespace: &'a str,
    /// Its label `app`, or `istio` for a gateway
    pub label: (&'a str, &'a str),
}

/// The ingress gateway of an installation.
pub const INGRESS_GATEWAY: Workload<'_> = Workload {
    kind: "router",
    name: "istio-ingressgateway",
    namespace: "istio-system",
    label: ("istio", "ingressgateway"),
};

/// A sidecar in the namespace `default`.
pub const fn sidecar(app: &'static str) -> Workload<'static> {
    Workload { kind: "sidecar", name: app, namespace: "default", label: ("app", app) }
}

/// A running proxy.
pub struct Proxy {
    envoy: Envoy,
}

impl Proxy {
    /// Starts an Envoy and waits until it has its listeners from istiod.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(istiod: &Istiod, workload: Workload<'_>) -> Self {
        Self::with_labels(istiod, workload, &BTreeMap::new()).await
    }

    /// The same with more labels.
    pub async fn with_labels(
        istiod: &Istiod,
        workload: Workload<'_>,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let mut node = node(workload);
        for (name, value) in labels {
            node["metadata"]["LABELS"][name] = value.as_str().into();
        }
        Self::of_node(SocketAddr::from(([127, 0, 0, 1], istiod.xds_port())), node).await
    }

    /// Starts an Envoy with this node and the plaintext xDS of an istiod.
    pub async fn of_node(xds: SocketAddr, node: Value) -> Self {
        Self { envoy: Envoy::of_configuration(&bootstrap(xds, node)).await }
    }

    /// Returns a client of the listener with istiod's name, such as `127.0.0.1_8080`.
    ///
    /// # Panics
    /// If there is no such listener. The message lists the existing ones.
    pub fn listener(&self, name: &str) -> Client {
        self.envoy.listener(name)
    }

    /// The Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Returns all statistics and log lines about refused resources. Empty if Envoy accepted all.
    pub async fn refusals(&self) -> Vec<String> {
        let stats = self.envoy.admin("/stats?format=json&filter=update_rejected").await.json();
        let stats = stats["stats"].as_array().expect("a list of stats").clone();
        let refused = stats.iter().filter(|stat| stat["value"].as_u64() != Some(0));
        let mut refusals: Vec<_> = refused.map(ToString::to_string).collect();
        assert!(!stats.is_empty(), "Envoy counts no updates");
        let log = self.envoy.log();
        refusals.extend(log.lines().filter(|line| line.contains("rejected")).map(str::to_owned));
        refusals
    }
}

fn node(workload: Workload<'_>) -> Value {
    let Workload { kind, name, namespace, label: (key, value) } = workload;
    json!({
        // An address that no endpoint has, because the proxy is not a workload of the services.
        "id": format!("{kind}~192.0.2.1~{name}.{namespace}~{namespace}.svc.cluster.local"),
        "cluster": format!("{name}.{namespace}"),
        "metadata": {
            "NAMESPACE": namespace,
            "LABELS": { key: value },
            "ISTIO_VERSION": ISTIO_VERSION,
            "CLUSTER_ID": "Kubernetes",
            "INSTANCE_IPS": "192.0.2.1",
            // No iptables: the listeners are those of Sidecar resources and gateways.
            "INTERCEPTION_MODE": "NONE",
        },
    })
}

/// The parts of istio-agent's bootstrap that Envoy requires.
fn bootstrap(xds: SocketAddr, node: Value) -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    json!({
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "node": node,
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [{
                "name": "xds-grpc",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
                "load_assignment": {
                    "cluster_name": "xds-grpc",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": {
                        "socket_address": { "address": xds.ip(), "port_value": xds.port() },
                    } } }] }],
                },
            }],
        },
    })
}
