//! `sluice.wasm`: all filters of HTTP routes as a module.

sluice_host::module!(sluice_bundle::worker::Worker);
