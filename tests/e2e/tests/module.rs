//! The module as a file.

/// A ConfigMap, in which a sidecar gets it, holds 1 MiB, and the base64 of a module has a third more bytes than the module.
#[test]
fn the_router_fits_into_a_configmap() {
    let size = std::fs::metadata(sluice_e2e::module("router")).unwrap().len();
    assert!(size <= 700_000, "dist/router.wasm has {size} bytes");
}
