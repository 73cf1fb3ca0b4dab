//! The sidecar that istiod's webhook has added to a pod.

use serde_json::{Map, Value, json};

use crate::proxy::ISTIO_VERSION;

/// The container of the sidecar. Istio may make it an init container that does not end.
fn container(spec: &Value) -> &Value {
    let containers = [&spec["initContainers"], &spec["containers"]];
    let mut containers = containers.into_iter().filter_map(Value::as_array).flatten();
    let sidecar = containers.find(|container| container["name"] == "istio-proxy");
    sidecar.expect("istiod has added the sidecar")
}

/// What the sidecar is told by its environment: the variables `ISTIO_META_*`.
fn metadata(pod: &Value) -> Map<String, Value> {
    let value = |variable: &Value| {
        let name = variable["name"].as_str()?.strip_prefix("ISTIO_META_")?;
        Some((name.to_owned(), variable.get("value")?.clone()))
    };
    let variables = container(&pod["spec"])["env"].as_array().expect("variables");
    variables.iter().filter_map(value).collect()
}

/// The ConfigMap that is mounted into the sidecar of a pod, and its folder.
pub fn mounted(pod: &Value) -> (String, String) {
    let spec = &pod["spec"];
    let volumes = spec["volumes"].as_array().expect("volumes");
    let volume = volumes.iter().find(|volume| volume["name"] == "sluice").expect("the volume");
    let mounts = container(spec)["volumeMounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["name"] == "sluice").expect("the mount");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&volume["configMap"]["name"]), text(&mount["mountPath"]))
}

/// The node that istio-agent would tell istiod.
pub fn node(pod: &Value) -> Value {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (name, namespace) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["namespace"]));
    let ip = text(&pod["status"]["podIP"]);
    let mut metadata = metadata(pod);
    // The agent reads it as JSON.
    metadata.remove("POD_PORTS");
    metadata.extend([
        ("NAME".to_owned(), name.as_str().into()),
        ("NAMESPACE".to_owned(), namespace.as_str().into()),
        ("INSTANCE_IPS".to_owned(), ip.as_str().into()),
        ("LABELS".to_owned(), pod["metadata"]["labels"].clone()),
        ("ISTIO_VERSION".to_owned(), ISTIO_VERSION.into()),
    ]);
    json!({
        "id": format!("sidecar~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
        "cluster": format!("{}.{namespace}", text(&metadata["WORKLOAD_NAME"])),
        "metadata": metadata,
    })
}
