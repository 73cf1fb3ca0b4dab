//! "From an empty mesh to one user on version 2", each line as it is in the README.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sluice_e2e::{Answer, Client, Upstream, until, workspace};

use crate::kubernetes::cluster::{Cluster, run as run_program};
use crate::kubernetes::control_plane::ControlPlane;
use crate::kubernetes::controllers::{address, mount, reconcile, redirect};
use crate::kubernetes::sidecar::{mounted, node};
use crate::proxy::Proxy;

/// Where the EnvoyFilters expect the module.
const FOLDER: &str = "/var/lib/sluice";

/// The version that answers each `curl` of the README.
const ANSWERS: [&str; 2] = ["v2", "v1"];

/// What the README leads to.
pub struct Mesh {
    /// The sidecar of kim-gateway-service
    pub proxy: Proxy,
    /// A client in the pod of kim-gateway-service, of kim-payment-service
    pub client: Client,
    versions: [Upstream; 2],
}

impl Mesh {
    /// Ends the sidecar, but not the services.
    pub fn end(self) -> [Upstream; 2] {
        self.versions
    }
}

/// Follows the README.
pub async fn run(cluster: &Cluster, control_plane: &ControlPlane) -> Mesh {
    let file = workspace().join("tests/istio/kubernetes/services.yaml");
    cluster.kubectl(["apply", "--filename", file.to_str().unwrap()]);
    // This mesh has no certificates, so it has no TLS.
    let plaintext = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": { "name": "default", "namespace": "istio-system" },
        "spec": { "mtls": { "mode": "DISABLE" } },
    });
    cluster.give(&["apply"], &plaintext.to_string());
    reconcile(cluster, "default", |_| true);
    let versions = ["v1", "v2"].map(|version| {
        let pod = address(&format!("kim-payment-service-{version}"));
        Upstream::at(SocketAddr::from((pod, 8080)), version, |_| Answer::default())
    });
    redirect("-d 10.96.0.0/16", 15001);
    let mut proxy = None;
    let mut answers = ANSWERS.iter();
    for line in lines() {
        if line == "make build" {
            continue;
        }
        if let Some((_, call)) = line.split_once("kubectl exec deployment/kim-gateway-service -- ")
        {
            let expected = answers.next().expect("an answer for each call");
            answered(cluster, call, expected).await;
            println!("{call}: {expected}");
            continue;
        }
        if line.starts_with("kubectl rollout status") {
            reconcile(cluster, "default", |_| true);
        }
        cluster.command_line(&line);
        println!("{line}");
        if line.starts_with("kubectl rollout status") {
            proxy = Some(start_client(cluster, control_plane).await);
        }
    }
    assert_eq!(answers.next(), None, "the README has fewer calls");
    let proxy = proxy.expect("the README waits for the rollout");
    let refusals = proxy.refusals().await;
    assert!(refusals.is_empty(), "{refusals:#?}");
    let address = SocketAddr::new(service_address(cluster), 8080);
    Mesh { proxy, client: Client::new(address), versions }
}

/// The command lines of the README.
fn lines() -> Vec<String> {
    let readme = std::fs::read_to_string(workspace().join("envoy/istio/README.md")).unwrap();
    let section = readme.split("\n## ").find(|text| text.starts_with("From an empty mesh"));
    let lines = section.expect("the section").lines();
    let lines: Vec<_> =
        lines.filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect();
    assert!(lines.len() > 5, "{lines:?}");
    lines
}

/// Starts the sidecar of the client as its pod says: with the volumes and the identity.
async fn start_client(cluster: &Cluster, control_plane: &ControlPlane) -> Proxy {
    let pods = cluster.get(&["pods", "--selector", "app=kim-gateway-service"]);
    let pod = &pods["items"][0];
    let (config_map, folder) = mounted(pod);
    assert_eq!(folder, FOLDER);
    mount(cluster, &config_map, Path::new(FOLDER));
    Proxy::of_node(control_plane.xds(), node(pod)).await
}

/// The address of kim-payment-service in the cluster.
fn service_address(cluster: &Cluster) -> IpAddr {
    let service = cluster.get(&["service", "kim-payment-service"]);
    service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok()).expect("an address")
}

/// Runs a `curl` of the README where its container would, until the version answers: an update
/// takes a moment. Then it must answer each time.
async fn answered(cluster: &Cluster, call: &str, expected: &str) {
    let ip = service_address(cluster);
    let call = call.replacen("curl", &format!("curl --resolve kim-payment-service:8080:{ip}"), 1);
    let answer = || {
        let printed = run_program(Command::new("sh").args(["-c", &call]));
        let answer: Value = serde_json::from_str(&printed).unwrap_or_default();
        answer["upstream"].as_str().unwrap_or(&printed).to_owned()
    };
    // Before the update arrives, Istio chooses a version by chance.
    let answers = || (0..10).map(|_| answer()).collect::<Vec<_>>();
    let is_expected = |answers: &Vec<String>| answers.iter().all(|answer| answer == expected);
    until("the version answers", async || is_expected(&answers()).then_some(())).await;
    let answers = answers();
    assert!(is_expected(&answers), "{call}: {answers:?}");
}
