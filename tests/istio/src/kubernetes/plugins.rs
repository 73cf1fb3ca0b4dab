//! WasmPlugins and TrafficExtensions, which istiod translates from Kubernetes.

use std::net::SocketAddr;
use std::path::Path;

use sluice_e2e::{Client, until, workspace};

use crate::kubernetes::cluster::Cluster;
use crate::kubernetes::control_plane::ControlPlane;
use crate::kubernetes::controllers::{address, mount, redirect};
use crate::kubernetes::sidecar::node;
use crate::proxy::Proxy;

/// Aborts the requests of one user at the sidecar of kim-payment-service, with each manifest of the
/// fault filter. The module is a file, as istio-agent is not there to load an image.
pub async fn run(cluster: &Cluster, control_plane: &ControlPlane) {
    let create = "kubectl create configmap sluice-fault --from-file=fault.wasm=dist/fault.wasm";
    cluster.command_line(create);
    mount(cluster, "sluice-fault", Path::new("/var/lib/sluice"));
    let pods = cluster.get(&["pods", "--selector", "app=kim-payment-service,version=v1"]);
    let pod = address("kim-payment-service-v1");
    // The sidecar itself connects from 127.0.0.6.
    redirect(&format!("-d {pod} --dport 8080 ! -s 127.0.0.6"), 15006);
    let proxy = Proxy::of_node(control_plane.xds(), node(&pods["items"][0])).await;
    let client = Client::new(SocketAddr::from((pod, 8080)));
    let status = async |user: &str| {
        let request = client.get("/").host("kim-payment-service:8080").header("end-user", user);
        request.send().await.status
    };
    for file in ["wasmplugin.yaml", "trafficextension.yaml", "sidecar-inbound.yaml"] {
        assert_eq!(status("cheng").await, 200, "before {file}");
        let manifest = workspace().join("envoy/istio/fault").join(file);
        let text = std::fs::read_to_string(manifest).unwrap();
        let image = "oci://registry.example.com/sluice/fault:0.1.0";
        let text = text.replace(image, "file:///var/lib/sluice/fault.wasm");
        cluster.give(&["apply"], &text);
        until("the filter is there", async || (status("cheng").await == 500).then_some(())).await;
        assert_eq!(status("jim").await, 200, "{file}");
        cluster.give(&["delete"], &text);
        until("the filter is gone", async || (status("cheng").await == 200).then_some(())).await;
        println!("fault/{file}: applied and deleted");
    }
    let refusals = proxy.refusals().await;
    assert!(refusals.is_empty(), "{refusals:#?}");
}
