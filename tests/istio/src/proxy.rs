//! An Envoy as a proxy of the mesh: all that it does comes from istiod.

use serde_json::{Value, json};
use sluice_e2e::{Client, Envoy};

use crate::istiod::Istiod;

/// Who a proxy is to istiod.
#[derive(Clone, Copy)]
pub struct Workload {
    /// `router` for a gateway, `sidecar`
    pub kind: &'static str,
    /// The name of its pod
    pub name: &'static str,
    /// Its namespace
    pub namespace: &'static str,
    /// Its label `app`, or `istio` for a gateway
    pub label: (&'static str, &'static str),
}

/// The ingress gateway of an installation.
pub const INGRESS_GATEWAY: Workload = Workload {
    kind: "router",
    name: "istio-ingressgateway",
    namespace: "istio-system",
    label: ("istio", "ingressgateway"),
};

/// A sidecar in the namespace `default`.
pub const fn sidecar(app: &'static str) -> Workload {
    Workload { kind: "sidecar", name: app, namespace: "default", label: ("app", app) }
}

/// A proxy that runs.
pub struct Proxy {
    envoy: Envoy,
}

impl Proxy {
    /// Starts an Envoy, and waits until it has the listeners that istiod has for it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(istiod: &Istiod, workload: Workload) -> Self {
        let envoy = Envoy::of_configuration(&bootstrap(istiod.xds_port(), workload)).await;
        Self { envoy }
    }

    /// A client of the listener that istiod calls so, such as `127.0.0.1_8080`.
    ///
    /// # Panics
    /// When there is none. The message names those that there are.
    pub fn listener(&self, name: &str) -> Client {
        self.envoy.listener(name)
    }

    /// The Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// All resources that it refused, by statistic, and all lines in which it says so. Nothing
    /// means that it took all.
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

/// What istio-agent writes for istio-proxy, as far as Envoy needs it.
fn bootstrap(xds_port: u16, workload: Workload) -> Value {
    let Workload { kind, name, namespace, label: (key, value) } = workload;
    let ads = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    json!({
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "node": {
            // An address that no endpoint has: the proxy is no workload of its own services.
            "id": format!("{kind}~192.0.2.1~{name}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{name}.{namespace}"),
            "metadata": {
                "NAMESPACE": namespace,
                "LABELS": { key: value },
                "ISTIO_VERSION": "1.31.0",
                "CLUSTER_ID": "Kubernetes",
                "INSTANCE_IPS": "192.0.2.1",
                // No iptables: the listeners are those of Sidecar resources and gateways.
                "INTERCEPTION_MODE": "NONE",
            },
        },
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
                        "socket_address": { "address": "127.0.0.1", "port_value": xds_port },
                    } } }] }],
                },
            }],
        },
    })
}
