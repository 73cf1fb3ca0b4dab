//! The manifests under `envoy/istio`, which are tested with a real istiod, are equal to what is
//! rendered from the plugin documents in them.

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::collect::Collected;
use crate::finding::{Finding, Severity};
use crate::source::Texts;
use crate::{check, yaml};

/// The kinds and specs of EnvoyFilters or WasmPlugins, in the order of the filter chain.
fn specs(text: &str) -> Vec<(String, Value)> {
    let documents = yaml::parse(text).unwrap();
    let mut specs: Vec<(String, Value)> = Vec::new();
    for document in &documents {
        let mut document: Value = serde_json::from_str(&document.to_json()).unwrap();
        let kind = document["kind"].as_str().unwrap().to_owned();
        let spec = document["spec"].take();
        specs.push((kind, spec));
    }
    for (_, spec) in &mut specs {
        // The default priority is 0. The names of routes for copies do not matter.
        spec.as_object_mut().unwrap().entry("priority").or_insert(json!(0));
        for patch in spec["configPatches"].as_array_mut().into_iter().flatten() {
            let value = &mut patch["patch"]["value"];
            unname(value);
            value
                .get_mut("routes")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
                .for_each(unname);
        }
    }
    specs
}

/// Replaces the name of a route for copies.
fn unname(route: &mut Value) {
    let name = route.get_mut("name");
    if let Some(name) = name.filter(|name| name.to_string().starts_with("\"mirrored to ")) {
        *name = json!("mirrored");
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    render: RenderArgs,
}

fn rendered(file: &str, arguments: &[&str]) -> String {
    let words = [&["sluice", file], arguments].concat();
    let args = Arguments::try_parse_from(words).unwrap().render;
    let collected =
        check::read(&args.input.files.expand(), &args.input.defaults(), &mut Texts::default());
    let Collected { bundles, findings, .. } = collected;
    // An EnvoyFilter without a filter, such as that of the routes for copies, gives a note.
    let is_note = |finding: &Finding| finding.severity() == Severity::Note;
    assert!(findings.iter().all(is_note), "{findings:?}");
    assert_eq!(bundles.len(), 1, "one document in {file}");
    let compiled = check::compile(&bundles[0], None).unwrap();
    render(&bundles[0], &compiled, &args).unwrap().text
}

#[test]
fn values_of_flags_are_escaped_in_every_form() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/render-envoyfilter/input.yaml");
    let flags =
        ["--cluster-name", "{host}", "--workload-namespace", "on", "--selector", "a/b=c: d"];
    let endpoint = ["--endpoint", "b.example.com=127.0.0.1:80"];
    let module = ["--module-file", "/a\" #'\n{filter}: "];
    for form in [
        "--to envoy --filter router",
        "--to envoyfilter --filter router",
        "--to wasmplugin --filter fault",
    ] {
        let words: Vec<_> = form.split(' ').collect();
        let text = rendered(file, &[&words[..], &flags, &endpoint, &module].concat());
        let documents = yaml::parse(&text).unwrap();
        let documents = documents.iter().map(|document| document.to_json()).collect::<String>();
        let filter = words[3];
        let mut expected = vec![format!(r#"/a\" #'\n{filter}: ""#)];
        if words[1] != "envoy" {
            expected.extend([r#""namespace":"on""#, r#"{"a/b":"c: d"}"#].map(str::to_owned));
        }
        for part in expected {
            assert!(documents.contains(&part), "{form} {part}: {documents}");
        }
    }
}

#[test]
fn manifests_are_equal_to_rendered_documents() {
    let caller = "--selector app=kim-gateway-service";
    let gateway =
        "--context GATEWAY --workload-namespace istio-system --selector istio=ingressgateway";
    let workload = "--context SIDECAR_INBOUND --selector app=kim-payment-service";
    let image = "--module-url oci://registry.example.com/sluice/{filter}:0.1.0";
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/istio");
    for (files, arguments) in [
        (&["sluice/sidecar-outbound.yaml"][..], format!("--to envoyfilter {caller}")),
        (&["sluice/gateway.yaml"], format!("--to envoyfilter {gateway}")),
        (&["router/sidecar-outbound.yaml"], format!("--to envoyfilter --filter router {caller}")),
        (&["router/gateway.yaml"], format!("--to envoyfilter --filter router {gateway}")),
        (&["mirror/sidecar-outbound.yaml"], format!("--to envoyfilter --filter mirror {caller}")),
        (&["outlier/sidecar-outbound.yaml"], format!("--to envoyfilter --filter outlier {caller}")),
        (
            &["outlier/sidecar-outbound-filter.yaml"],
            format!("--to envoyfilter --filter outlier {caller}"),
        ),
        (&["fault/sidecar-inbound.yaml"], format!("--to envoyfilter --filter fault {workload}")),
        (&["fault/wasmplugin.yaml"], format!("--to wasmplugin --filter fault {workload} {image}")),
        (
            &["fault/trafficextension.yaml"],
            format!("--to trafficextension --filter fault {workload} {image}"),
        ),
        (
            &["egress/trafficextension.yaml"],
            format!("--to trafficextension --filter egress {caller} {image}"),
        ),
        (
            &["egress/sidecar-outbound.yaml", "egress/tls-inspector.yaml"],
            format!("--to envoyfilter --filter egress {caller}"),
        ),
        (&["egress/wasmplugin.yaml"], format!("--to wasmplugin --filter egress {caller} {image}")),
        (&["sni/gateway.yaml"], format!("--to envoyfilter --filter sni {gateway}")),
    ] {
        let paths: Vec<_> = files.iter().map(|file| folder.join(file)).collect();
        let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
        let expected: Vec<_> = texts.flat_map(|text| specs(&text)).collect();
        let arguments: Vec<_> = arguments.split(' ').collect();
        let found = specs(&rendered(paths[0].to_str().unwrap(), &arguments));
        assert_eq!(found.len(), expected.len(), "{files:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{files:?}:\n{:#}\n{:#}", found.1, expected.1);
        }
    }
}
