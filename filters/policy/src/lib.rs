//! Istio traffic policy, compiled once and asked on every request.
//!
//! A JSON document with the `spec` of VirtualServices is read and checked ([`node`], [`report`]),
//! compiled into a [`router::Router`] and then asked about each [`request::Request`]; the answer is
//! a [`decision::Decision`]. Other parts of the document become [`fault::Faults`] and
//! [`outlier::Outliers`]. Nothing here calls Envoy, knows the time or makes random numbers.

pub mod address;
pub mod budget;
pub mod bytes;
pub mod claim;
pub mod client_hello;
pub mod cors;
pub mod decision;
pub mod destination;
pub mod destination_rule;
pub mod direct_response;
pub mod document;
pub mod duration;
pub mod egress;
pub mod explain;
pub mod fault;
pub mod hash;
pub mod header;
pub mod header_condition;
pub mod header_map;
pub mod header_ops;
pub mod host_name;
pub mod http_match;
pub mod http_route;
pub mod json;
pub mod lint;
pub mod mirror;
pub mod name_table;
pub mod node;
pub mod outlier;
pub mod pattern;
pub mod percent;
pub mod protobuf_struct;
pub mod proxy;
pub mod redirect;
pub mod registry;
pub mod report;
pub mod request;
pub mod rewrite;
pub mod router;
pub mod rule_index;
pub mod sampling;
pub mod server_name;
pub mod service_entry;
pub mod sni;
pub mod split;
pub mod string_match;
#[cfg(test)]
mod testing;
pub mod timeouts;
pub mod tls_route;
pub mod virtual_hosts;
pub mod virtual_service;
pub mod virtual_services;
