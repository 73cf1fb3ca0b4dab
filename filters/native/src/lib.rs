//! `libsluice.so`: the filters as an Envoy dynamic module.

sluice_host::native_module! {
    sluice_bundle::worker::Worker,
    sluice_egress::worker::Worker,
    sluice_fault::worker::Worker,
    sluice_mirror::worker::Worker,
    sluice_outlier::worker::Worker,
    sluice_router::worker::Worker,
    sluice_sni::worker::Worker,
}
