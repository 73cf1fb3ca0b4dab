//! `outlier.wasm`: the outlier filter as a module.

sluice_host::module!(sluice_outlier::worker::Worker);
