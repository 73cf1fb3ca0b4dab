//! The host in an Envoy dynamic module: a shared object that runs in Envoy's own process.
//!
//! Envoy compiles a document on its main thread, and its workers share the policy. What else the
//! streams of a worker share, each worker makes for itself when its first stream begins. Envoy may
//! call a hook inside of another one, so nothing is borrowed during a call into Envoy.

mod abi;
mod answers;
mod attributes;
mod callouts;
mod calls;
mod configurations;
pub mod connection_hooks;
mod connections;
mod current;
mod ending;
mod envoy;
pub mod extension;
mod filter_of;
mod filters;
pub mod hooks;
mod http;
mod logger;
mod module;
mod network;
mod network_module;
mod settle;
mod store;
mod streams;
mod table;
mod timer;

pub use envoy::Envoy;
pub use filter_of::FilterOf;
pub use filters::NativeFilter;
