//! What holds whatever the input, tried on random ones.
#![cfg(not(target_arch = "wasm32"))]

mod arithmetic;
mod client_hellos;
mod documents;
mod envoy_model;
mod outliers;
mod registry;
mod requests;
mod workers;
