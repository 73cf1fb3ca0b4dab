//! `serviceEntries`, `outboundTrafficPolicy` and `egress` of a document.

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::mode::{MODES_WITH_OLD, Mode};
use crate::spec::service_entry::ServiceEntry;

/// Fields of a document that the egress filter uses.
#[derive(Debug, Default)]
pub struct EgressFields {
    /// `serviceEntries`
    pub entries: Vec<ServiceEntry>,
    /// Whether the document has `outboundTrafficPolicy`
    pub has_policy: bool,
    /// `outboundTrafficPolicy.mode`: whether unknown destinations are allowed
    pub allows_any: bool,
    /// `egress`
    pub settings: EgressSettings,
}

/// `egress` of a document: settings that Istio does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressSettings {
    /// Status of the response to a refused request: 502 with an empty body, as in Istio, or 403
    /// with the reason
    pub block_status: u16,
    /// Whether violations are only counted and not refused (`mode: shadow`)
    pub only_reports: bool,
    /// Whether requests and connections without a name are looked up by their address instead of
    /// being refused (`missing: byAddress`)
    pub goes_by_address: bool,
    /// Source of the port of a request or connection
    pub port: Port,
}

/// Source of the port that is compared with the ports of a service entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Port in the authority of a request, 80 if it has none. For connections like `Destination`.
    Authority,
    /// Port that the client connected to.
    Destination,
    /// Always this port.
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
    "mode": Kind::OneOf(&MODES_WITH_OLD) =>
        "enforce (default) refuses violations, shadow only counts them. reportOnly is the old name \
         of shadow.";
    "blockStatus": Kind::OneOfIntegers(&[502, 403]) =>
        "Status of the response to a refused request: 502 (default), or 403 with the reason.";
    "missing": Kind::OneOf(&MISSING) =>
        "What happens to requests and connections without a name: refuse (default), or \
         byAddress, which looks up their address.";
    "port": Kind::Either(&[Kind::PORT, Kind::OneOf(&PORTS)]) =>
        "Port that a ServiceEntry must have: destination (default), the port that the client \
         connected to; authority, the port in the host of the request; or a fixed number.";
});

const MISSING: [&str; 2] = ["refuse", "byAddress"];
const PORTS: [&str; 2] = ["destination", "authority"];

impl EgressSettings {
    /// Reads `egress: { mode, blockStatus, missing, port }`; all are optional.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let mode = object.optional("mode", |node| Mode::read_with_old(node, Filter::Egress));
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
            only_reports: mode?.unwrap_or_default().is_shadow(),
            goes_by_address: missing? == Some("byAddress"),
            port: port?.unwrap_or(default.port),
        })
    }
}

/// `outboundTrafficPolicy`
pub struct OutboundTrafficPolicy;

const OUTBOUND_MODES: [&str; 2] = ["REGISTRY_ONLY", "ALLOW_ANY"];

fields!(OutboundTrafficPolicy, "Which destinations clients may call.", {
    "mode" required: Kind::OneOf(&OUTBOUND_MODES) =>
        "REGISTRY_ONLY allows only the hosts and addresses of ServiceEntries, ALLOW_ANY allows \
         all.";
});

impl OutboundTrafficPolicy {
    /// Reads `outboundTrafficPolicy: { mode }`. Returns whether unknown destinations are allowed.
    pub fn read(node: &Node<'_>) -> Result<bool, Reported> {
        let mode = node.object::<Self>()?.required("mode")?.one_of(&OUTBOUND_MODES)?;
        Ok(mode == "ALLOW_ANY")
    }
}
