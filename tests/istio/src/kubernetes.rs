//! The example of `envoy/istio/README.md` in a cluster with a real Kubernetes API and a real Istio.
//!
//! No kubelet runs containers: [`controllers`] says what stands in for it. The processes of the
//! pods are upstreams of the test, and Envoys with the identities that istiod's webhook has given
//! to the pods.

mod changes;
mod cluster;
mod control_plane;
mod controllers;
mod plugins;
mod rollouts;
mod routes;
mod sidecar;
mod tutorial;

use std::net::TcpListener;

use crate::kubernetes::cluster::Cluster;
use crate::kubernetes::control_plane::ControlPlane;

/// Runs all of it, or only the comparison of HTTPRoutes.
///
/// # Panics
/// If something is not as expected, or outside of the network of `tools/own-network.sh`.
pub async fn run(only_routes: bool) {
    let pod = controllers::address("any");
    assert!(TcpListener::bind((pod, 0)).is_ok(), "use `make test-mesh`, for addresses of pods");
    let cluster = Cluster::start().await;
    println!("etcd and kube-apiserver: ready");
    routes::define(&cluster);
    let control_plane = ControlPlane::install(&cluster).await;
    println!("istiod: ready, with its webhooks");
    routes::run(&cluster, &control_plane).await;
    if only_routes {
        return;
    }
    changes::kustomizations(&cluster);
    let mesh = tutorial::run(&cluster, &control_plane).await;
    changes::a_document_with_an_error(&cluster, &control_plane, &mesh).await;
    changes::updates_under_load(&cluster, &mesh).await;
    rollouts::run(&cluster, &mesh).await;
    // Its sidecar has the ports that the next one needs.
    let versions = mesh.end();
    plugins::run(&cluster, &control_plane).await;
    drop(versions);
}
