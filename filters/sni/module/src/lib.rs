//! `sni.wasm`: the sni filter as a module.

sluice_host::module!(sluice_sni::worker::Worker);
