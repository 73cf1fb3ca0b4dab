//! `mirror.wasm`: the mirror filter as a module.

sluice_host::module!(sluice_mirror::worker::Worker);
