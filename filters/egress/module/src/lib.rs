//! `egress.wasm`: the egress filter as a module.

sluice_host::module!(sluice_egress::worker::Worker);
