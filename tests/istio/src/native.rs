//! Manifests with the dynamic module in place of wasm modules.

use std::process::Command;

use sluice_e2e::workspace;

/// What `sluice render` makes of the rules in a manifest of `envoy/istio`.
///
/// # Panics
/// If it refuses them.
pub fn manifest(file: &str) -> String {
    let path = workspace().join("envoy/istio").join(file);
    let library = workspace().join("dist/libsluice.so");
    let filter = file.split('/').next().expect("FILTER/FILE");
    let output = Command::new(workspace().join("target/debug/sluice"))
        .args(["render", "--to", "envoyfilter", "--attach", "native", "--filter", filter])
        .args(["--selector", "app=kim-gateway-service", "--native-file"])
        .args([&library, &path])
        .output()
        .expect("sluice");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("YAML");
    assert!(text.contains("DynamicModuleFilter"), "{text}");
    text
}
