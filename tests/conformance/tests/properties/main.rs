//! Properties that hold for every input, tested with random ones.
#![cfg(not(target_arch = "wasm32"))]

mod arithmetic;
mod client_hellos;
mod documents;
mod envoy_model;
mod outliers;
mod registry;
mod requests;
mod workers;
