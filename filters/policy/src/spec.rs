//! Istio's resources and Sluice's own settings, one file each, read and compiled.

pub mod claim;
pub mod cors;
pub mod destination;
pub mod destination_rule;
pub mod direct_response;
pub mod document;
pub mod egress;
pub mod fault;
pub mod header_condition;
pub mod header_operations;
pub mod http_match;
pub mod http_route;
pub mod mirror;
pub mod outlier_detection;
pub mod proxy;
pub mod redirect;
pub mod rewrite;
pub mod sampling;
pub mod service_entry;
pub mod sni;
pub mod split;
pub mod string_match;
pub mod timeouts;
pub mod tls_route;
pub mod virtual_service;
pub mod virtual_services;
