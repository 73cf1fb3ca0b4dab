//! `router.wasm`: the router filter as a module.

sluice_host::module!(sluice_router::worker::Worker);
