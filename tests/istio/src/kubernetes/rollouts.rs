//! The weights that Argo Rollouts and Flagger write in their steps, and `sync.sh` of
//! `envoy/istio/rollouts` with the rights of its account.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sluice_e2e::{Client, until, workspace};

use crate::kubernetes::changes::version;
use crate::kubernetes::cluster::{Cluster, program, run as run_program};
use crate::kubernetes::controllers::reconcile;
use crate::kubernetes::tutorial::Mesh;

const FOLDER: &str = "envoy/istio/rollouts";

/// How many users there are. With `sampling`, the share of version 2 differs by chance from the
/// weight.
const USERS: usize = 300;

/// Plays the steps of both controllers.
pub async fn run(cluster: &Cluster, mesh: &Mesh) {
    let sync = workspace().join(FOLDER).join("sync.yaml");
    cluster.kubectl(["apply", "--filename", sync.to_str().unwrap()]);
    let token = cluster.kubectl(["create", "token", "sluice-sync"]);
    let configuration = cluster.client_configuration(token.trim());
    fs::write(cluster.path("sync.json"), configuration.to_string()).unwrap();

    let file = workspace().join(FOLDER).join("virtual-service.yaml");
    cluster.kubectl(["apply", "--filename", file.to_str().unwrap()]);
    let rollout = Rollout { cluster, client: &mesh.client };
    rollout.play("Argo Rollouts", &[10, 50, 100], argo_rollouts).await;

    let services = ["primary", "canary"].map(|name| {
        let version = if name == "primary" { "v1" } else { "v2" };
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": format!("kim-payment-service-{name}"), "namespace": "default" },
            "spec": {
                "selector": { "app": "kim-payment-service", "version": version },
                "ports": [{ "name": "http", "port": 8080, "targetPort": 8080 }],
            },
        })
    });
    services.iter().for_each(|service| _ = cluster.give(&["apply"], &service.to_string()));
    reconcile(cluster, "default", |_| false);
    rollout.play("Flagger", &[10, 20, 30, 40, 50, 100], flagger).await;
}

/// A service whose weights change.
struct Rollout<'a> {
    cluster: &'a Cluster,
    client: &'a Client,
}

impl Rollout<'_> {
    /// Plays the steps of a controller: the weights of version 2 one after the other, and then 0,
    /// as after a failed analysis. `set` writes a weight as the controller does.
    async fn play(&self, controller: &str, weights: &[usize], set: fn(&Cluster, usize)) {
        // Nobody has version 2 before.
        let mut before = self.step(0, None, set).await;
        for weight in weights {
            let now = self.step(*weight, Some(&before), set).await;
            let is_forward = before.iter().zip(&now).all(|(before, now)| *now || !before);
            assert!(is_forward, "{controller}: a user of version 2 is back on version 1");
            let count = now.iter().filter(|is_new| **is_new).count();
            println!("{controller}: weight {weight}: version 2 for {count} of {USERS} users");
            before = now;
        }
        self.step(0, Some(&before), set).await;
    }

    /// Sets the weight, waits until users differ from `before`, and returns whether each of them
    /// gets version 2.
    async fn step(
        &self,
        weight: usize,
        before: Option<&[bool]>,
        set: fn(&Cluster, usize),
    ) -> Vec<bool> {
        set(self.cluster, weight);
        self.sync();
        let changed = async || Some(self.users().await).filter(|now| Some(&**now) != before);
        until("the weight is in use", changed).await;
        let users = self.users().await;
        let count = users.iter().filter(|is_new| **is_new).count();
        // Four standard deviations.
        let slack = (16 * USERS * weight * (100 - weight) / 10_000).isqrt();
        assert!(count.abs_diff(USERS * weight / 100) <= slack, "weight {weight}: {count}");
        assert_eq!(self.users().await, users, "weight {weight}: a user gets both versions");
        users
    }

    /// Whether each user gets version 2.
    async fn users(&self) -> Vec<bool> {
        let mut users = Vec::new();
        for number in 0..USERS {
            let answer = version(self.client, &format!("user-{number}")).await;
            assert!(answer == "v1" || answer == "v2", "{answer}");
            users.push(answer == "v2");
        }
        users
    }

    /// Runs the script once, where its container would.
    fn sync(&self) {
        let folders = [program("kubectl"), workspace().join("target/debug/sluice")];
        let folders = folders.map(|program| program.parent().unwrap().display().to_string());
        let path = std::env::var("PATH").unwrap_or_default();
        run_program(
            Command::new(workspace().join(FOLDER).join("sync.sh"))
                .args(["settings.yaml", "--selector", "app=kim-gateway-service"])
                .env("PATH", format!("{}:{path}", folders.join(":")))
                .env("KUBECONFIG", self.cluster.path("sync.json"))
                .env("INTERVAL", "0")
                .current_dir(workspace().join(FOLDER)),
        );
    }
}

/// Argo Rollouts replaces the weights of the route in the VirtualService of its user.
fn argo_rollouts(cluster: &Cluster, weight: usize) {
    let path = |number: usize| format!("/spec/http/0/route/{number}/weight");
    let patch = json!([
        { "op": "replace", "path": path(0), "value": 100 - weight },
        { "op": "replace", "path": path(1), "value": weight },
    ]);
    let object = "virtualservice/kim-payment-service";
    cluster.kubectl(["patch", object, "--type=json", "--patch", &patch.to_string()]);
}

/// Flagger writes a VirtualService of its own: for the mesh, with a Service for each version and
/// no port (`pkg/router/istio.go` of fluxcd/flagger).
fn flagger(cluster: &Cluster, weight: usize) {
    let canary = workspace().join(FOLDER).join("flagger-canary.yaml");
    let canary: Value = serde_yaml_ng::from_str(&fs::read_to_string(canary).unwrap()).unwrap();
    let destination = |name: &str, weight: usize| json!({ "destination": { "host": format!("kim-payment-service-{name}") }, "weight": weight });
    let object = json!({
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {
            "name": "kim-payment-service",
            "namespace": "default",
            "labels": canary["spec"]["service"]["apex"]["labels"],
        },
        "spec": {
            "hosts": ["kim-payment-service"],
            "gateways": ["mesh"],
            "http": [{ "route": [
                destination("primary", 100 - weight),
                destination("canary", weight),
            ] }],
        },
    });
    cluster.give(&["apply"], &object.to_string());
}
