//! `serviceEntries`, `outboundTrafficPolicy` and `egress` of a document.

use crate::document::fields::fields;
use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::service_entry::ServiceEntry;

/// The parts of a document that are about egress.
#[derive(Debug, Default)]
pub struct EgressFields {
    /// `serviceEntries`
    pub entries: Vec<ServiceEntry>,
    /// `outboundTrafficPolicy.mode`: whether unknown destinations are allowed
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

fields!(EgressSettings as "Egress", "Settings of the egress filter.", {
    "mode": Kind::OneOf(&MODES) =>
        "enforce (default), or reportOnly, which only counts what would be refused.";
    "blockStatus": Kind::OneOfIntegers(&[502, 403]) =>
        "The status of refused requests: 502 (default), or 403 with the reason.";
    "missing": Kind::OneOf(&MISSING) =>
        "Requests and connections without a name: refuse (default), or look up byAddress.";
    "port": Kind::Either(&[Kind::PORT, Kind::OneOf(&PORTS)]) =>
        "The port that is looked up: destination (default), authority, or a number.";
});

const MODES: [&str; 2] = ["enforce", "reportOnly"];
const MISSING: [&str; 2] = ["refuse", "byAddress"];
const PORTS: [&str; 2] = ["destination", "authority"];

impl EgressSettings {
    /// Reads `egress: { mode, blockStatus, missing, port }`; all are optional.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let mode = object.optional("mode", |node| node.one_of(&MODES));
        let block_status = object.optional("blockStatus", |node| match node.integer()? {
            502 => Ok(502),
            403 => Ok(403),
            _ => Err(node.invalid("is neither 502 nor 403")),
        });
        let missing = object.optional("missing", |node| node.one_of(&MISSING));
        let port = object.optional("port", |node| match node.json {
            Json::String(_) => Ok(match node.one_of(&PORTS)? {
                "authority" => Port::Authority,
                _ => Port::Destination,
            }),
            _ => node.port().map(Port::Fixed),
        });
        let default = Self::default();
        Ok(Self {
            block_status: block_status?.unwrap_or(default.block_status),
            only_reports: mode? == Some("reportOnly"),
            goes_by_address: missing? == Some("byAddress"),
            port: port?.unwrap_or(default.port),
        })
    }
}

/// `outboundTrafficPolicy`
pub struct OutboundTrafficPolicy;

const OUTBOUND_MODES: [&str; 2] = ["REGISTRY_ONLY", "ALLOW_ANY"];

fields!(OutboundTrafficPolicy, "Who may be called.", {
    "mode" required: Kind::OneOf(&OUTBOUND_MODES) =>
        "REGISTRY_ONLY: only the hosts and addresses of ServiceEntries. ALLOW_ANY: everyone.";
});

impl OutboundTrafficPolicy {
    /// Reads `outboundTrafficPolicy: { mode }`: whether unknown destinations are allowed.
    pub fn read(node: &Node<'_>) -> Result<bool, Reported> {
        let mode = node.object::<Self>()?.required("mode")?.one_of(&OUTBOUND_MODES)?;
        Ok(mode == "ALLOW_ANY")
    }
}
