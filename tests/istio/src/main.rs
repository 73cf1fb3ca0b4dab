//! Tests of the modules in a mesh of a real istiod and Envoys. Run them with `make test-istio`.

mod background;
mod behaviour;
mod clusters;
mod generate;
mod headers;
mod istiod;
mod kubernetes;
mod manifests;
mod mesh;
mod native;
mod pairs;
mod proxy;
mod published;
mod references;
mod schema_table;
mod verdicts;
mod wasm_plugins;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let parts: Vec<_> = std::env::args().skip(1).collect();
    let is_asked = |part: &str| parts.is_empty() || parts.iter().any(|asked| asked == part);
    if is_asked("schemas") {
        wasm_plugins::keep_to_the_schemas();
    }
    if is_asked("manifests") {
        manifests::run().await;
        wasm_plugins::run().await;
    }
    // Each place alone: pairs-gateway, pairs-sidecar, pairs-ejections, pairs-inbound.
    pairs::run(|place| is_asked("pairs") || is_asked(&format!("pairs-{place}"))).await;
    if is_asked("clusters") {
        clusters::run().await;
    }
    // This requires the programs of Kubernetes and a network of its own: `make test-mesh`.
    for part in ["kubernetes", "routes"] {
        if parts.iter().any(|asked| asked == part) {
            kubernetes::run(part == "routes").await;
        }
    }
    // These three require other programs than the rest: `make corpus`.
    if parts.iter().any(|asked| asked == "references") {
        references::run();
    }
    if parts.iter().any(|asked| asked == "verdicts") {
        verdicts::run();
    }
    if parts.iter().any(|asked| asked == "behaviour") {
        behaviour::run().await;
    }
}
