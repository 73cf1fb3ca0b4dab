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
    /// Whether it is in the mesh.
    location: Option<Location>,
    /// How its endpoints are found.
    resolution: Option<Resolution>,
    /// Where it runs.
    endpoints: Option<Vec<Endpoint>>,
    /// Not carried out by the filters.
    workload_selector: Option<Selector>,
    /// Of no effect: only attached documents apply.
    export_to: Option<Vec<String>>,
    /// For Envoy, in the TLS settings of the cluster.
    subject_alt_names: Option<Vec<String>>,
}

/// Whether a service is in the mesh.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// It is not.
    MeshExternal,
    /// It is.
    MeshInternal,
}

/// How the endpoints of a service are found.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// By the address that the client called
    None,
    /// By the addresses that are given
    Static,
    /// By their names, all of them
    Dns,
    /// By their names, the first of each
    DnsRoundRobin,
    /// By the name that the client asks for
    DynamicDns,
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
    ports: Option<Map<PortNumber>>,
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

/// The number of a port.
#[derive(JsonSchema)]
pub struct PortNumber(#[schemars(range(min = 1))] u16);

/// Which workloads are meant.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// The labels that they have.
    labels: Option<Map<String>>,
}
