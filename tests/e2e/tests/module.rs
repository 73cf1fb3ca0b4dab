//! The modules as files.

/// A sidecar can get a module in a ConfigMap, which is limited to 1 MiB, and base64 adds a third to
/// the size of a module.
#[test]
fn every_module_fits_into_a_configmap() {
    let modules = ["egress", "fault", "mirror", "outlier", "sni"].map(|name| (name, 780_000));
    for (name, limit) in modules.into_iter().chain([("router", 700_000)]) {
        let size = std::fs::metadata(sluice_e2e::module(name)).unwrap().len();
        assert!(size <= limit, "dist/{name}.wasm has {size} bytes");
    }
}
