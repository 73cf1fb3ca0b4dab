//! A dynamic module for tests of what a panic does to Envoy. Its filter panics where a request or
//! its document says so.

mod connection;
mod filter;
mod request;
mod rules;

sluice_host::native_module! { filter::Panics }
