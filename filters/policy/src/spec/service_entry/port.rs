//! The ports of a ServiceEntry and their protocols.

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::value::host_name;

/// What a client may speak to a port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP: the service is named by the host.
    Http,
    /// Anything: the service is known by its address alone.
    Tcp,
    /// TLS: the service is named by the server name of the ClientHello.
    Tls,
}

/// A port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The port that clients connect to
    pub number: u16,
    /// What they may speak there; at least one
    pub protocols: &'static [Protocol],
}

/// Istio's names of protocols, in any case. Envoy does not route UDP.
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

/// Without a protocol, the first bytes of a connection decide.
const SNIFFED: [Protocol; 3] = [Protocol::Http, Protocol::Tcp, Protocol::Tls];

fields!(ServicePort as "ServiceEntryPort", "A port of a service.", {
    "number" required: Kind::PORT => "The number.";
    "name" required: Kind::Text => "The name, unique in the service.";
    "protocol": Kind::Text =>
        "HTTP, HTTPS, HTTP2, GRPC, TCP, TLS and the like; what a client speaks decides if absent.";
    "targetPort": Kind::Integer(0, 65535) => "The port of the endpoints; number if absent or 0.";
});

/// Reads the ports, and collects their names.
#[inline(never)]
pub(super) fn read_ports<'a>(
    nodes: &[Node<'a>],
    names: &mut Vec<&'a str>,
) -> Result<Vec<ServicePort>, Reported> {
    let mut numbers = Vec::new();
    all(nodes.iter().map(|node| {
        let object = node.object::<ServicePort>()?;
        let number = object.required("number").and_then(|node| {
            let number = node.port()?;
            if numbers.contains(&number) {
                return Err(node.invalid("is the number of another port too"));
            }
            numbers.push(number);
            Ok(number)
        });
        let name = object.required("name").and_then(|node| {
            let name = node.string()?;
            if !is_port_name(name) {
                return Err(node.invalid("is not a port name: lower-case letters, digits and -"));
            }
            if names.contains(&name) {
                return Err(node.invalid("is the name of another port too"));
            }
            names.push(name);
            Ok(())
        });
        let protocols = object.given("protocol").map_or(Ok(&SNIFFED[..]), |node| {
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

/// Istio's `ValidatePortName`: a DNS label (RFC 1123) in lower case.
fn is_port_name(name: &str) -> bool {
    host_name::is_label(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}
