//! `sluice schema`: the JSON Schema of plugin documents, for editors that complete and check them.
//!
//! The filters do not read these types: they ask a JSON tree field by field, to report all errors at
//! once. A test holds the names of both against each other.

mod destination_rule;
mod fault;
mod service_entry;
mod settings;
mod tls_route;
mod virtual_service;

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};

use destination_rule::DestinationRule;
use service_entry::ServiceEntry;
use settings::{
    Egress, Faults, Mirroring, OutboundTrafficPolicy, Proxy, Sampling, Sni, UnmatchedHosts,
};
use virtual_service::VirtualService;

/// Names with values.
pub type Map<T> = BTreeMap<String, T>;

/// The configuration of Sluice's filters. Each filter reads what it needs and checks all of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, title = "Sluice plugin document")]
#[allow(dead_code, reason = "only its schema is of use")]
struct PluginDocument {
    /// What completes short host names; without it they stay as they are.
    namespace: Option<String>,
    /// How Envoy's clusters are called, with {host}, {subset} and {port}; a part in [...] is left out where a placeholder in
    /// it is empty. Default: outbound|{port}|{subset}|{host}, as in Istio.
    cluster_name: Option<String>,
    /// What this proxy is, for conditions on it. Default: Envoy's node metadata.
    proxy: Option<Proxy>,
    /// The spec of each VirtualService of Istio, as it is.
    virtual_services: Option<Vec<VirtualService>>,
    /// The spec of each DestinationRule of Istio, as it is; of it the outlier detection is carried out.
    destination_rules: Option<Vec<DestinationRule>>,
    /// The spec of each ServiceEntry of Istio, as it is.
    service_entries: Option<Vec<ServiceEntry>>,
    /// Who may be called.
    outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// What becomes of requests for hosts that no VirtualService has. Default: notFound, which is 404.
    unmatched_hosts: Option<UnmatchedHosts>,
    /// Draws that are sticky by user.
    sampling: Option<Sampling>,
    /// Limits of the fault filter.
    faults: Option<Faults>,
    /// Conditions on copies, and how they are compared.
    mirroring: Option<Mirroring>,
    /// How strictly server names are compared.
    sni: Option<Sni>,
    /// Settings of the egress filter.
    egress: Option<Egress>,
}

/// The schema, in the 2020-12 draft.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(limit));
    settings.into_generator().into_root_schema_for::<PluginDocument>()
}

/// Tells the largest number of 32 bits, for which schemars has a format only.
fn limit(schema: &mut Schema) {
    if schema.get("format").is_some_and(|format| format == "uint32")
        && schema.get("maximum").is_none()
    {
        schema.insert("maximum".to_owned(), u32::MAX.into());
    }
}

/// The schema as text.
pub fn text() -> String {
    format!("{:#}\n", schema().to_value())
}

#[cfg(test)]
mod tests;
