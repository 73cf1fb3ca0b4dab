//! The modules as files.

/// A ConfigMap, in which a sidecar gets a module, holds 1 MiB, and the base64 of a module has a third more bytes than the
/// module.
#[test]
fn every_module_fits_into_a_configmap() {
    for (name, limit) in
        [("fault", 780_000), ("mirror", 780_000), ("outlier", 780_000), ("router", 700_000)]
    {
        let size = std::fs::metadata(sluice_e2e::module(name)).unwrap().len();
        assert!(size <= limit, "dist/{name}.wasm has {size} bytes");
    }
}
