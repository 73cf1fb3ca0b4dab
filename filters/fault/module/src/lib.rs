//! `fault.wasm`: the fault filter as a module.

sluice_host::module!(sluice_fault::worker::Worker);
