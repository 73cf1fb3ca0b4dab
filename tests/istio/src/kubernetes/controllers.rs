//! What stands in for the controllers of Kubernetes and for the kubelet: pods of Deployments with
//! addresses, endpoints of Services, and files of ConfigMaps.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::kubernetes::cluster::{Cluster, run};

/// Does once what the controllers do all the time: makes the pods of the newest generation of the
/// Deployments that are wanted by their names, and the endpoints of each Service with a selector.
pub fn reconcile(cluster: &Cluster, namespace: &str, is_wanted: impl Fn(&str) -> bool) {
    let deployments = cluster.get(&["deployments", "--namespace", namespace]);
    for deployment in list(&deployments).iter().filter(|own| is_wanted(name(own))) {
        make_pod(cluster, namespace, deployment);
    }
    let pods = cluster.get(&["pods", "--namespace", namespace]);
    let services = cluster.get(&["services", "--namespace", namespace]);
    for service in list(&services).iter().filter(|service| service["spec"]["selector"].is_object())
    {
        make_endpoints(cluster, namespace, service, list(&pods));
    }
}

fn list(objects: &Value) -> &[Value] {
    objects["items"].as_array().expect("a list")
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

/// The address of the pod of a Deployment, in a network whose addresses are all those of this
/// machine.
pub fn address(deployment: &str) -> Ipv4Addr {
    // Different for the few that there are.
    let sum =
        deployment.bytes().fold(7_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let [high, low] = sum.to_be_bytes();
    Ipv4Addr::new(10, 244, high, low.clamp(1, 254))
}

fn make_pod(cluster: &Cluster, namespace: &str, deployment: &Value) {
    let generation = deployment["metadata"]["generation"].as_u64().expect("a generation");
    let (own, pod) = (name(deployment), format!("{}-{generation}", name(deployment)));
    if deployment["status"]["observedGeneration"] == generation {
        return;
    }
    let template = &deployment["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = pod.as_str().into();
    let mut spec = template["spec"].clone();
    // An admission plugin would set it.
    if spec["serviceAccountName"].is_null() {
        spec["serviceAccountName"] = "default".into();
    }
    let document = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
    // The webhook of istiod adds the sidecar.
    cluster.give(&["create", "--namespace", namespace], &document.to_string());
    if generation > 1 {
        let old = format!("{own}-{}", generation - 1);
        cluster.kubectl([
            "delete",
            "pod",
            "--namespace",
            namespace,
            "--ignore-not-found",
            "--now",
            &old,
        ]);
    }
    let address = address(own);
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    let status = json!({ "status": {
        "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }], "conditions": ready,
    } });
    set_status(cluster, namespace, &format!("pod/{pod}"), &status);
    let available = json!([{ "type": "Available", "status": "True" }]);
    let status = json!({ "status": {
        "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
        "readyReplicas": 1, "availableReplicas": 1, "conditions": available,
    } });
    set_status(cluster, namespace, &format!("deployment/{own}"), &status);
}

fn set_status(cluster: &Cluster, namespace: &str, object: &str, status: &Value) {
    let status = status.to_string();
    cluster.kubectl([
        "patch",
        object,
        "--namespace",
        namespace,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &status,
    ]);
}

fn make_endpoints(cluster: &Cluster, namespace: &str, service: &Value, pods: &[Value]) {
    let selector = service["spec"]["selector"].as_object().expect("a selector");
    let is_selected = |pod: &&Value| {
        let labels = &pod["metadata"]["labels"];
        selector.iter().all(|(key, value)| &labels[key] == value)
    };
    let endpoints: Vec<Value> = pods
        .iter()
        .filter(is_selected)
        .filter(|pod| pod["status"]["podIP"].is_string())
        .map(|pod| {
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": { "ready": true },
                "targetRef": { "kind": "Pod", "name": name(pod), "namespace": namespace },
            })
        })
        .collect();
    let ports = service["spec"]["ports"].as_array().expect("ports");
    let port = |port: &Value| {
        let target = port["targetPort"].as_u64().or(port["port"].as_u64());
        json!({ "name": port["name"], "port": target, "protocol": "TCP" })
    };
    let document = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name(service),
            "namespace": namespace,
            "labels": { "kubernetes.io/service-name": name(service) },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
    });
    cluster.give(&["apply"], &document.to_string());
}

/// Writes the files of a ConfigMap into a folder, as the kubelet does: the folder of the files is
/// reached by a symbolic link, which is replaced as a whole.
pub fn mount(cluster: &Cluster, config_map: &str, folder: &Path) {
    let data = cluster.get(&["configmap", config_map]);
    let version = data["metadata"]["resourceVersion"].as_str().expect("a version");
    let files = folder.join(format!("..{version}"));
    fs::create_dir_all(&files).unwrap();
    let no_files = serde_json::Map::new();
    for (file, encoded) in data["binaryData"].as_object().unwrap_or(&no_files) {
        let encoded = encoded.as_str().expect("base64");
        let raw = files.join(format!("{file}.base64"));
        fs::write(&raw, encoded).unwrap();
        let bytes =
            std::process::Command::new("base64").arg("--decode").arg(&raw).output().unwrap();
        assert!(bytes.status.success(), "{file} is no base64");
        fs::write(files.join(file), bytes.stdout).unwrap();
        fs::remove_file(raw).unwrap();
        let link = folder.join(file);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(file), link).unwrap();
        }
    }
    symlink(files.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

/// Redirects the connections that this machine opens to a port of a sidecar, as istio-init does in
/// a pod. `matching` has the options of iptables that select them.
pub fn redirect(matching: &str, port: u16) {
    let rule = format!("-t nat -A OUTPUT -p tcp {matching} -j REDIRECT --to-ports {port}");
    run(std::process::Command::new("iptables").args(rule.split(' ')));
}
