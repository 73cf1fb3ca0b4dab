//! `virtualServices[].tls[]`.

#![allow(dead_code, reason = "only their schemas are of use")]

use schemars::JsonSchema;

use super::Map;
use super::virtual_service::Destination;

/// Where the connections go to that one of its matches fits.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsRoute {
    /// Conditions, of which one is enough.
    r#match: Vec<TlsMatch>,
    /// Where connections are sent, by weight.
    route: Vec<TlsDestination>,
}

/// Conditions that have to hold together.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsMatch {
    /// Server names.
    sni_hosts: Vec<String>,
    /// Addresses that the client called, as ADDRESS or ADDRESS/BITS.
    destination_subnets: Option<Vec<String>>,
    /// The port that the client called.
    port: Option<u16>,
    /// Labels of the proxy's workload.
    source_labels: Option<Map<String>>,
    /// The namespace of the proxy's workload.
    source_namespace: Option<String>,
    /// Gateways, in place of those of the virtual service.
    gateways: Option<Vec<String>>,
}

/// A destination with its share.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsDestination {
    /// Where connections go to.
    destination: Destination,
    /// The share out of the sum of all weights.
    #[schemars(range(min = 0, max = 2147483647))]
    weight: Option<i64>,
}
