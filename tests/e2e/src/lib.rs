//! The harness of the end-to-end tests: a real Envoy with the released modules, and real sockets on
//! both sides.
//!
//! - [`Bootstrap`] and [`Listener`] write Envoy's configuration,
//! - [`Envoy`] runs it and returns its ports, logs and counters,
//! - [`Endpoints`] are the members of a cluster, which Envoy reads again when they change,
//! - [`Scenario`] runs configurations of the repository in Envoy and [`Nginx`],
//! - [`tls`] contains the TLS client,
//! - [`Upstream`] is a service that echoes and records requests,
//! - [`Client`] sends requests, including malformed ones,
//! - [`statistics`] tests random counts.
//!
//! Envoy is `$ENVOY` or `.tools/envoy`; the modules are those in `dist/`. All listeners are on the
//! loopback device, on ports that the kernel selects, so tests can run in parallel.

mod address;
mod attach;
mod client;
mod cluster;
mod endpoints;
mod config;
mod listener;
mod envoy;
mod files;
mod histogram;
mod nginx;
mod process;
mod raw;
mod routes;
mod scenario;
mod spawn;
pub mod statistics;
pub mod tls;
mod upstream;
mod wait;
mod wasm;

pub use attach::{
    NATIVE, bootstrap_extensions, filter, is_left_out, is_native, native, native_network,
    native_network_of, native_of,
};
pub use client::{Client, Connection, Request, Response};
pub use config::{Bootstrap, any_host};
pub use endpoints::{Endpoints, Locality};
pub use envoy::{Envoy, HostStatus, StartFailure};
pub use files::{envoy_is_of, envoy_program, module, test_modules, workspace};
pub use histogram::Histogram;
pub use listener::Listener;
pub use nginx::{Nginx, server};
pub use process::HotRestart;
pub use raw::exchange;
pub use routes::Mirroring;
pub use scenario::Scenario;
pub use spawn::spawn;
pub use upstream::{Answer, Received, Upstream};
pub use wait::until;
pub use wasm::{capabilities, host_calls, plugin, wasm};
