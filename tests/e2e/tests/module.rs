//! The modules as files.

/// A sidecar can get a module in a ConfigMap. Kubernetes limits its data to 1 MiB, as bytes and not
/// in base64. The limits here are lower, so that growth is noticed.
#[test]
fn every_module_fits_into_a_configmap() {
    let limits = ["egress", "fault", "mirror", "router", "sni"].map(|name| (name, 875_000));
    // Every module reads the whole document. The outlier filter also has the code that counts.
    for (name, limit) in limits.into_iter().chain([("outlier", 885_000), ("sluice", 990_000)]) {
        let size = std::fs::metadata(sluice_e2e::module(name)).unwrap().len();
        assert!(size <= limit, "dist/{name}.wasm has {size} bytes");
    }
}
