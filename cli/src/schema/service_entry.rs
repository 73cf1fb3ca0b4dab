//! `serviceEntries[]`.

#![allow(dead_code, reason = "only their schemas are of use")]

use schemars::JsonSchema;

use super::Map;

/// The spec of a ServiceEntry.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceEntry {
    /// Names of the service, or *.SUFFIX.
    hosts: Vec<String>,
    /// Addresses of the service, as ADDRESS or ADDRESS/BITS.
    addresses: Option<Vec<String>>,
    /// Its ports.
    ports: Vec<Port>,
    /// MESH_EXTERNAL or MESH_INTERNAL.
    location: Option<String>,
    /// NONE, STATIC, DNS, DNS_ROUND_ROBIN or DYNAMIC_DNS.
    resolution: Option<String>,
    /// Where it runs.
    endpoints: Option<Vec<Endpoint>>,
    /// Not carried out by the filters.
    workload_selector: Option<Selector>,
    /// Of no effect: only attached documents apply.
    export_to: Option<Vec<String>>,
    /// For Envoy, in the TLS settings of the cluster.
    subject_alt_names: Option<Vec<String>>,
}

/// A port of a service.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// The number.
    #[schemars(range(min = 1))]
    number: u16,
    /// The name.
    name: String,
    /// HTTP, HTTPS, HTTP2, GRPC, TCP, TLS and the like.
    protocol: Option<String>,
    /// The port of the endpoints, if it is another one.
    target_port: Option<u16>,
}

/// Where a service runs.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Its address.
    address: Option<String>,
    /// Its ports by the names of the service's.
    ports: Option<Map<u16>>,
    /// Its labels.
    labels: Option<Map<String>>,
    /// Its network.
    network: Option<String>,
    /// Its locality.
    locality: Option<String>,
    /// Its share.
    weight: Option<u32>,
    /// Its account.
    service_account: Option<String>,
}

/// Which workloads are meant.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// The labels that they have.
    labels: Option<Map<String>>,
}
