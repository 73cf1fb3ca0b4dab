//! The ports of a ServiceEntry and their protocols.

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::name_set::NameSet;
use crate::value::host_name;

/// Protocol that a client may use on a port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP: the host of the request identifies the service.
    Http,
    /// Any protocol: only the address identifies the service.
    Tcp,
    /// TLS: the server name in the ClientHello identifies the service.
    Tls,
}

/// A port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Port number that clients connect to
    pub number: u16,
    /// Protocols that clients may use; at least one
    pub protocols: &'static [Protocol],
}

/// Istio's protocol names, compared without case. UDP is absent, because Envoy does not route it.
const PROTOCOLS: [(&str, &[Protocol]); 11] = [
    ("HTTP", &[Protocol::Http]),
    ("HTTPS", &[Protocol::Tls]),
    ("TLS", &[Protocol::Tls]),
    ("TCP", &[Protocol::Tcp]),
    ("GRPC", &[Protocol::Http]),
    ("GRPC-Web", &[Protocol::Http]),
    ("HTTP2", &[Protocol::Http]),
    ("HTTP_PROXY", &[Protocol::Http]),
    ("Mongo", &[Protocol::Tcp]),
    ("MySQL", &[Protocol::Tcp]),
    ("Redis", &[Protocol::Tcp]),
];

/// The names alone.
const PROTOCOL_NAMES: [&str; PROTOCOLS.len()] = [
    "HTTP",
    "HTTPS",
    "TLS",
    "TCP",
    "GRPC",
    "GRPC-Web",
    "HTTP2",
    "HTTP_PROXY",
    "Mongo",
    "MySQL",
    "Redis",
];

/// Protocols of a port without `protocol`: Istio detects the protocol of each connection.
const ALL_PROTOCOLS: [Protocol; 3] = [Protocol::Http, Protocol::Tcp, Protocol::Tls];

fields!(ServicePort as "ServiceEntryPort", "A port of a service.", {
    "number" required: Kind::PORT => "Port number that clients connect to; unique in the service.";
    "name" required: Kind::LABEL => "Name of the port; unique in the service.";
    "protocol": Kind::OneOfInAnyCase(&PROTOCOL_NAMES) =>
        "HTTP, HTTPS, HTTP2, GRPC, TCP, TLS or another protocol of Istio; any of HTTP, TCP and \
         TLS if absent.";
    "targetPort": Kind::Integer(0, 65535) =>
        "Port of the endpoints; equal to number if absent or 0; not used by the filters.";
});

/// Reads the ports, and adds their names to `names`.
#[inline(never)]
pub(super) fn read_ports(
    nodes: &[Node<'_>],
    names: &mut NameSet,
) -> Result<Vec<ServicePort>, Reported> {
    let mut numbers = NameSet::default();
    all(nodes.iter().map(|node| {
        let object = node.object::<ServicePort>()?;
        let number = object.required("number").and_then(|node| {
            let number = node.port()?;
            if !numbers.insert(&number.to_le_bytes()) {
                return Err(node.invalid("is the number of another port too"));
            }
            Ok(number)
        });
        let name = object.required("name").and_then(|node| {
            let name = node.string()?;
            // As in Istio's `ValidatePortName`, upper case is allowed.
            if !host_name::is_label(name) {
                return Err(node.invalid("is not a port name: letters, digits and -"));
            }
            if !names.insert(name.as_bytes()) {
                return Err(node.invalid("is the name of another port too"));
            }
            Ok(())
        });
        let protocols = object.given("protocol").map_or(Ok(&ALL_PROTOCOLS[..]), |node| {
            let text = node.string()?;
            let known = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
            let known = known.map(|(_, protocols)| *protocols);
            known.ok_or_else(|| node.invalid("is not a protocol that Istio routes"))
        });
        let target_port = object.port("targetPort");
        name?;
        target_port?;
        Ok(ServicePort { number: number?, protocols: protocols? })
    }))
}
