//! WasmPlugins and TrafficExtensions, and validation of all manifests with Istio's schemas. istiod
//! translates WasmPlugins to TrafficExtensions only if they come from Kubernetes, so the test
//! translates them itself.

use serde_json::{Value, json};
use sluice_e2e::{module, workspace};

use crate::istiod::Istiod;
use crate::manifests::{
    Services, assert_faults, assert_guarded, inbound, manifest, outbound, outside,
};
use crate::mesh;
use crate::published::{Schemas, documents};

/// Folders with WasmPlugins and TrafficExtensions.
const PLUGINS: [&str; 2] = ["egress", "fault"];

/// Documents of `envoy/istio` that Istio has no schema for, by API and kind: those of Kubernetes
/// and of the tools that change weights, which `make test-mesh` applies, and plugin documents.
const OF_OTHERS: [&str; 8] = [
    "argoproj.io/v1alpha1 Rollout",
    "flagger.app/v1beta1 Canary",
    "v1 ServiceAccount",
    "rbac.authorization.k8s.io/v1 Role",
    "rbac.authorization.k8s.io/v1 RoleBinding",
    "apps/v1 Deployment",
    "kustomize.config.k8s.io/v1beta1 Kustomization",
    " ",
];

/// Runs the tests of all of them.
pub async fn run() {
    injects_faults().await;
    guards_egress().await;
}

/// Validates every Istio document of `envoy/istio`.
pub fn keep_to_the_schemas() {
    let schemas = Schemas::load();
    let mut count = 0;
    for folder in std::fs::read_dir(workspace().join("envoy/istio")).unwrap() {
        let folder = folder.unwrap().path();
        let files = folder.is_dir().then(|| std::fs::read_dir(&folder).unwrap());
        for file in files.into_iter().flatten() {
            let file = file.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            for document in documents(&std::fs::read_to_string(&file).unwrap()) {
                if OF_OTHERS.contains(&api_and_kind(&document).as_str()) {
                    continue;
                }
                let errors = schemas.errors(&document);
                assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
                count += 1;
            }
        }
    }
    assert!(count >= 10, "only {count} documents");
    println!("{count} documents: as the published schemas have them");
}

/// Returns `API KIND`, a single space for a plugin document, which has neither.
fn api_and_kind(document: &Value) -> String {
    let text = |field: &str| document[field].as_str().unwrap_or_default();
    format!("{} {}", text("apiVersion"), text("kind"))
}

/// The TrafficExtensions of a folder, with the built module instead of the image. Its WasmPlugins
/// say the same.
fn traffic_extensions(folder: &str) -> Vec<String> {
    assert!(PLUGINS.contains(&folder));
    let read = |file: &str| {
        let file = workspace().join("envoy/istio").join(folder).join(file);
        documents(&std::fs::read_to_string(file).unwrap())
    };
    let extensions = read("trafficextension.yaml");
    let translated: Vec<_> = read("wasmplugin.yaml").iter().map(traffic_extension).collect();
    assert_eq!(translated, extensions);
    let with_file = |mut extension: Value| {
        let url = &mut extension["spec"]["wasm"]["url"];
        assert!(url.as_str().unwrap().starts_with("oci://"));
        *url = format!("file://{}", module(folder).display()).into();
        extension.to_string()
    };
    extensions.into_iter().map(with_file).collect()
}

/// Source: istio pilot/pkg/config/kube/extensions/translate.go
fn traffic_extension(plugin: &Value) -> Value {
    let mut wasm = json!({});
    let mut extension = json!({});
    for (name, value) in plugin["spec"].as_object().unwrap() {
        match name.as_str() {
            "selector" | "targetRefs" | "phase" | "priority" | "match" => {
                extension[name] = value.clone();
            }
            _ => wasm[name] = value.clone(),
        }
    }
    extension["wasm"] = wasm;
    let mut translated = plugin.clone();
    translated["kind"] = "TrafficExtension".into();
    translated["spec"] = extension;
    translated
}

async fn injects_faults() {
    let services = Services::new();
    let address = mesh::address(11, 8080);
    let mut configuration = services.configuration();
    configuration.extend(inbound(address, services.payment[0].address()));
    configuration.extend(traffic_extensions("fault"));
    let istiod = Istiod::start(&configuration).await;
    assert_faults(&istiod, address).await;
    println!("fault/wasmplugin.yaml and trafficextension.yaml: ok");
}

async fn guards_egress() {
    let services = Services::new();
    let address = mesh::address(12, 8080);
    let mut configuration = services.configuration();
    configuration.extend(outside().await);
    configuration.push(outbound(address));
    configuration.push(manifest("egress/tls-inspector.yaml"));
    configuration.extend(traffic_extensions("egress"));
    let istiod = Istiod::start(&configuration).await;
    assert_guarded(&istiod, address).await;
    println!("egress/wasmplugin.yaml and trafficextension.yaml: ok");
}
