//! `serviceEntries`, `outboundTrafficPolicy` and `egress` of a document.

use crate::document::json::Json;
use crate::document::node::Node;
use crate::spec::service_entry::ServiceEntry;

/// The parts of a document that are about egress, as they were read.
#[derive(Debug, Default)]
pub struct EgressFields {
    /// `serviceEntries`
    pub entries: Vec<ServiceEntry>,
    /// `outboundTrafficPolicy.mode`: whether what is not known passes
    pub allows_any: bool,
    /// `egress`
    pub settings: EgressSettings,
}

/// `egress` of a document: what Istio has no field for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressSettings {
    /// The status with which a request is refused: 502 with an empty body, as by Istio, or 403 with
    /// the reason
    pub block_status: u16,
    /// Whether what would be refused is only counted (`mode: reportOnly`)
    pub only_reports: bool,
    /// Whether what gives no name is known by its address, in place of being refused
    /// (`missing: byAddress`)
    pub goes_by_address: bool,
    /// Which port a request or connection is for
    pub port: Port,
}

/// Where the port comes from that has to be that of a service entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The one in the host of a request, 80 if there is none. For connections as `Destination`.
    Authority,
    /// The one that the client connected to.
    Destination,
    /// Always this one.
    Fixed(u16),
}

impl Default for EgressSettings {
    fn default() -> Self {
        Self {
            block_status: 502,
            only_reports: false,
            goes_by_address: false,
            port: Port::Destination,
        }
    }
}

impl EgressSettings {
    /// Reads `egress: { mode, blockStatus, missing, port }`; all are optional.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let mut settings = Self::default();
        if let Some(node) = object.field("mode") {
            settings.only_reports = node.one_of(&["enforce", "reportOnly"])? == "reportOnly";
        }
        if let Some(node) = object.field("blockStatus") {
            match node.integer()? {
                502 => {}
                403 => settings.block_status = 403,
                _ => node.invalid("is neither 502 nor 403"),
            }
        }
        if let Some(node) = object.field("missing") {
            settings.goes_by_address = node.one_of(&["refuse", "byAddress"])? == "byAddress";
        }
        if let Some(node) = object.field("port") {
            settings.port = match node.json {
                Json::String(_) => match node.one_of(&["destination", "authority"])? {
                    "authority" => Port::Authority,
                    _ => Port::Destination,
                },
                _ => Port::Fixed(node.port()?),
            };
        }
        Some(settings)
    }
}

/// Reads `outboundTrafficPolicy: { mode }`: whether what is not known passes.
pub fn read_outbound_traffic_policy(node: &Node<'_>) -> Option<bool> {
    let mode = node.object()?.required("mode")?.one_of(&["REGISTRY_ONLY", "ALLOW_ANY"])?;
    Some(mode == "ALLOW_ANY")
}
