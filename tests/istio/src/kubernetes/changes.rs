//! What operators do later: kustomizations, a document with an error, updates under load.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use sluice_e2e::{Client, until, workspace};
use tokio::task::LocalSet;

use crate::kubernetes::cluster::Cluster;
use crate::kubernetes::control_plane::ControlPlane;
use crate::kubernetes::controllers::mount;
use crate::kubernetes::tutorial::Mesh;

/// The EnvoyFilter of the example.
const MANIFEST: &str = "envoy/istio/sluice/sidecar-outbound.yaml";

/// Applies and deletes the manifests of each filter. istiod's webhook validates them.
pub fn kustomizations(cluster: &Cluster) {
    let folder = workspace().join("envoy/istio");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap().path();
        if !entry.join("kustomization.yaml").exists() {
            continue;
        }
        let folder = entry.strip_prefix(workspace()).unwrap().display().to_string();
        cluster.command_line(&format!("kubectl apply -k {folder}"));
        cluster.command_line(&format!("kubectl delete -k {folder}"));
        count += 1;
    }
    assert!(count >= 7, "only {count} kustomizations");
    println!("{count} kustomizations: applied and deleted");
}

/// The version that answers a user.
pub async fn version(client: &Client, user: &str) -> String {
    let request = client.get("/payment/balance/query").host("kim-payment-service:8080");
    let response = request.header("end-user", user).send().await;
    match response.status {
        200 => response.upstream(),
        status => status.to_string(),
    }
}

/// The API server and istiod accept an EnvoyFilter whose document has an error; Envoy refuses the
/// listener and keeps the old one.
pub async fn a_document_with_an_error(
    cluster: &Cluster,
    control_plane: &ControlPlane,
    mesh: &Mesh,
) {
    let Mesh { proxy, client, .. } = mesh;
    let text = std::fs::read_to_string(workspace().join(MANIFEST)).unwrap();
    let wrong = text.replacen("exact: cheng", "exakt: cheng", 1);
    assert_ne!(wrong, text);
    cluster.give(&["apply"], &wrong);
    let metric = "pilot_total_xds_rejects{type=\"lds\"} 1";
    let rejects = async || control_plane.metrics().await.contains(metric).then_some(());
    until(metric, rejects).await;
    let log = control_plane.log();
    let rejection = log.lines().find(|line| line.contains("ADS:LDS: ACK ERROR"));
    println!("an error in the document: {}", rejection.expect("a line of istiod"));
    let log = proxy.envoy().log();
    let reason = log.lines().find(|line| line.contains("exakt")).expect("a line of Envoy");
    println!("{reason}");
    assert_eq!(version(client, "cheng").await, "v2");
    assert_eq!(version(client, "jim").await, "v1");
    cluster.kubectl(["apply", "--filename", workspace().join(MANIFEST).to_str().unwrap()]);
}

/// The module and the document change while requests arrive. Each request gets the answer of the
/// old or of the new document.
pub async fn updates_under_load(cluster: &Cluster, mesh: &Mesh) {
    let client = &mesh.client;
    let count = Rc::new(Cell::new(0_u32));
    let is_over = Rc::new(Cell::new(false));
    let load = LocalSet::new();
    for _ in 0..4 {
        let (client, count, is_over) = (client.clone(), Rc::clone(&count), Rc::clone(&is_over));
        load.spawn_local(async move {
            while !is_over.get() {
                let answer = version(&client, "jim").await;
                assert_eq!(answer, "v1", "after {} requests", count.get());
                let answer = version(&client, "cheng").await;
                assert!(answer == "v1" || answer == "v2", "{answer}");
                count.set(count.get() + 2);
            }
        });
    }
    let text = std::fs::read_to_string(workspace().join(MANIFEST)).unwrap();
    load.run_until(async {
        const ROUNDS: usize = 10;
        for round in 0..ROUNDS {
            let new_module = "kubectl create configmap sluice --dry-run=client --output yaml \
                --from-file=sluice.wasm=dist/sluice.wasm | kubectl replace --filename -";
            cluster.command_line(new_module);
            mount(cluster, "sluice", Path::new("/var/lib/sluice"));
            // The user moves to version 1 and back.
            let user = if round % 2 == 0 { "exact: somebody" } else { "exact: cheng" };
            let expected = if round % 2 == 0 { "v1" } else { "v2" };
            cluster.give(&["apply"], &text.replace("exact: cheng", user));
            until("the update has arrived", async || {
                (version(client, "cheng").await == expected).then_some(())
            })
            .await;
        }
        is_over.set(true);
        println!("{ROUNDS} updates of module and document: {} requests, none lost", count.get());
    })
    .await;
}
