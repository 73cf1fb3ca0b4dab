//! Istio in a cluster: its own installation, without a kubelet that would run it, and its own
//! pilot-discovery with a real client of Kubernetes.

use std::net::SocketAddr;
use std::process::Command;

use sluice_e2e::{Client, until, workspace};

use crate::background::Background;
use crate::istiod::FEATURES;
use crate::kubernetes::cluster::{Cluster, run};
use crate::kubernetes::controllers::{address, reconcile};

/// What differs from the default installation: features that Envoy's releases do not have, and
/// certificates, which istio-agent would bring to the proxies.
const SETTINGS: [&str; 5] = [
    "meshConfig.enableAutoMtls=false",
    "meshConfig.enableTracing=false",
    "meshConfig.enablePrometheusMerge=false",
    "values.telemetry.enabled=false",
    "hub=registry.example.com/istio",
];

/// A running istiod.
pub struct ControlPlane {
    istiod: Background,
}

impl ControlPlane {
    /// Installs Istio and starts istiod.
    pub async fn install(cluster: &Cluster) -> Self {
        let programs = workspace().join(".tools/istio/bin");
        cluster.kubectl(["create", "namespace", "istio-system"]);
        let mut istioctl = Command::new(programs.join("istioctl"));
        istioctl.args(["manifest", "generate", "--set", "profile=default"]);
        for setting in SETTINGS {
            istioctl.args(["--set", setting]);
        }
        cluster.give(&["apply", "--server-side"], &run(&mut istioctl));
        reconcile(cluster, "istio-system", |deployment| deployment == "istiod");
        let token = ["create", "token", "istiod", "--namespace", "istio-system"];
        let token = cluster.kubectl(token).trim().to_owned();
        let configuration = cluster.path("istiod.kubeconfig");
        std::fs::write(&configuration, cluster.client_configuration(&token).to_string()).unwrap();
        let own = |port: u16| SocketAddr::from((address("istiod"), port));
        let istiod = Background::start(
            Command::new(programs.join("pilot-discovery"))
                .args(["discovery", "--domain", "cluster.local", "--kubeconfig"])
                .arg(&configuration)
                .args(["--httpAddr", &own(8080).to_string()])
                .args(["--httpsAddr", &own(15017).to_string()])
                .args(["--grpcAddr", &own(15010).to_string()])
                .args(["--secureGRPCAddr", &own(15012).to_string()])
                .args(["--monitoringAddr", &own(15014).to_string()])
                .envs([("POD_NAME", "istiod"), ("POD_NAMESPACE", "istio-system")])
                .envs([("REVISION", "default"), ("CLUSTER_ID", "Kubernetes")])
                .envs(FEATURES)
                .current_dir(cluster.path("")),
            cluster.path("istiod.log"),
        );
        let mut plane = Self { istiod };
        until("istiod is ready", async || {
            plane.istiod.assert_runs();
            tokio::net::TcpStream::connect(own(8080)).await.ok()?;
            let client = Client::new(own(8080));
            let response = client.connect().await.try_send(client.get("/ready")).await;
            (response.ok()?.status == 200).then_some(())
        })
        .await;
        // Until then the API server cannot trust its webhooks.
        until("istiod has given its certificate to the webhooks", async || {
            const WEBHOOKS: [&str; 2] = [
                "mutatingwebhookconfiguration/istio-sidecar-injector",
                "validatingwebhookconfiguration/istio-validator-istio-system",
            ];
            let has_bundle = |webhook: &&str| {
                let webhook = cluster.get(&[webhook]);
                webhook["webhooks"][0]["clientConfig"]["caBundle"].is_string()
            };
            WEBHOOKS.iter().all(has_bundle).then_some(())
        })
        .await;
        plane
    }

    /// The address of its xDS service, in plaintext.
    pub fn xds(&self) -> SocketAddr {
        SocketAddr::from((address("istiod"), 15010))
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        self.istiod.log()
    }

    /// Returns its metrics in the text format of Prometheus.
    pub async fn metrics(&self) -> String {
        let client = Client::new(SocketAddr::from((address("istiod"), 15014)));
        client.get("/metrics").send().await.text()
    }
}
