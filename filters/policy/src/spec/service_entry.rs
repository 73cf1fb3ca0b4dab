//! `ServiceEntry`: a service that is not in the mesh, or not known to it otherwise.

use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::node::{Node, Object};
use crate::spec::proxy::read_labels;
use crate::value::address::AddressRange;
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

/// A service entry, as far as it is about who may be called.
#[derive(Debug)]
pub struct ServiceEntry {
    /// The hosts, in lower case, `*.` in front for all names below a domain
    pub hosts: Vec<String>,
    /// The addresses by which clients call it; none if it is known by name only
    pub addresses: Vec<AddressRange>,
    /// Its ports; none has another's number
    pub ports: Vec<ServicePort>,
    /// Whether a caller gets to the address that it chose, whatever name it gives
    /// (`resolution: NONE`)
    pub keeps_destination: bool,
}

/// A port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The port that clients connect to
    pub number: u16,
    /// What they may speak there; at least one
    pub protocols: &'static [Protocol],
}

/// Istio's names of protocols, in any case, with what they come to. UDP is none that Envoy routes.
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

/// Without a protocol, what a connection is decides.
const SNIFFED: [Protocol; 3] = [Protocol::Http, Protocol::Tcp, Protocol::Tls];

/// How many hosts an entry may have, by Istio's schema.
const MAX_HOSTS: usize = 256;

/// How Envoy gets to the addresses of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// By looking the hosts, or the endpoints, up.
    Dns,
    /// By looking one of them up, as often as it is called.
    DnsRoundRobin,
    /// By looking up what the client says.
    DynamicDns,
    /// They are the ones that clients call.
    None,
    /// They are those of the endpoints.
    Static,
}

impl ServiceEntry {
    /// Reads the `spec` of a ServiceEntry (Istio's `ValidateServiceEntry`).
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        // Unknown after an error, when no other error is to follow from it.
        let resolution = object
            .field("resolution")
            .map_or(Some(Resolution::None), |node| read_resolution(&node));
        let is = |wanted: Resolution| resolution == Some(wanted);
        let endpoints = object.list("endpoints");
        let needs_names =
            endpoints.is_empty() && (is(Resolution::Dns) || is(Resolution::DnsRoundRobin));
        let hosts = read_hosts(&mut object, needs_names, is(Resolution::DynamicDns));
        let address_nodes = object.list("addresses");
        let addresses =
            read_addresses(&address_nodes, is(Resolution::None) || is(Resolution::Static));
        let port_nodes = object.required_list("ports");
        let mut names = Vec::new();
        let mut ports: Vec<ServicePort> = Vec::new();
        for node in &port_nodes {
            let Some(port) = read_port(node, &mut names, &ports) else { continue };
            let is_opaque = port.protocols.contains(&Protocol::Tcp);
            if is_opaque && is(Resolution::DynamicDns) {
                node.error("is not for HTTP or TLS, as DYNAMIC_DNS needs");
            } else if is_opaque && hosts.len() > 1 && resolution.is_some() && !is(Resolution::None)
            {
                node.error("is neither for HTTP nor for TLS, which several hosts need");
            } else if is_opaque && address_nodes.is_empty() {
                node.notice_to(
                    Filter::Egress,
                    "registers no plain TCP connection, since there are no addresses to know it by",
                );
            }
            ports.push(port);
        }
        let allowed = match resolution {
            Some(Resolution::None | Resolution::DynamicDns) => 0,
            Some(Resolution::DnsRoundRobin) => 1,
            _ => usize::MAX,
        };
        if let Some(node) = object.field("endpoints").filter(|_| endpoints.len() > allowed) {
            let count = endpoints.len();
            node.error(format_args!("has {count}, at most {allowed} go with this resolution"));
        }
        if let Some(node) = object.field("addresses").filter(|_| is(Resolution::DynamicDns)) {
            node.error("does not go with this resolution");
        }
        for endpoint in &endpoints {
            read_endpoint(endpoint, is(Resolution::Static), &names);
        }
        if let Some(node) = object.field("location") {
            node.one_of(&["MESH_EXTERNAL", "MESH_INTERNAL"]);
        }
        if let Some(selector) = object.field("workloadSelector") {
            if !endpoints.is_empty() {
                selector.error("cannot be beside endpoints");
            } else if is(Resolution::None) {
                selector.notice_to(Filter::Egress, "is of no effect with the resolution NONE");
            }
            if let Some(mut fields) = selector.object() {
                fields.field("labels").map(|node| read_labels(&node));
            }
        }
        for (name, reason) in [
            ("exportTo", "is of no effect in a filter, only attached documents apply"),
            ("subjectAltNames", "is for Envoy, in the TLS settings of the cluster"),
        ] {
            if let Some(node) = object.field(name) {
                node.strings();
                node.notice_to(Filter::Egress, reason);
            }
        }
        Some(Self { hosts, addresses, ports, keeps_destination: is(Resolution::None) })
    }
}

fn read_resolution(node: &Node<'_>) -> Option<Resolution> {
    const NAMES: [&str; 5] = ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"];
    Some(match node.one_of(&NAMES)? {
        "STATIC" => Resolution::Static,
        "DNS" => Resolution::Dns,
        "DNS_ROUND_ROBIN" => Resolution::DnsRoundRobin,
        "DYNAMIC_DNS" => Resolution::DynamicDns,
        _ => Resolution::None,
    })
}

/// `needs_names`: whether Envoy has to look the hosts up; `needs_wildcards`: whether it looks up what
/// clients say.
#[inline(never)]
fn read_hosts(object: &mut Object<'_>, needs_names: bool, needs_wildcards: bool) -> Vec<String> {
    let mut hosts = Vec::new();
    let nodes = object.required_list("hosts");
    if let Some(node) = object.field("hosts").filter(|_| nodes.len() > MAX_HOSTS) {
        node.error(format_args!("has {}, at most {MAX_HOSTS} are allowed", nodes.len()));
        return hosts;
    }
    for node in nodes {
        let Some(text) = node.string() else { continue };
        let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if host == "*" {
            node.invalid("is every host; for that, set outboundTrafficPolicy.mode to ALLOW_ANY");
        } else if let Err(reason) = host_name::check(&host) {
            node.invalid(reason);
        } else if host.starts_with('*') && !host.starts_with("*.") {
            node.invalid("has a * that is not a label of its own");
        } else if needs_names && host.starts_with('*') {
            node.invalid("is no name to look up, give endpoints or another resolution");
        } else if needs_wildcards && !host.starts_with('*') {
            node.invalid("has no wildcard, which DYNAMIC_DNS needs");
        } else if hosts.contains(&host) {
            node.invalid("is given twice");
        } else {
            hosts.push(host);
        }
    }
    hosts
}

#[inline(never)]
fn read_addresses(nodes: &[Node<'_>], may_be_ranges: bool) -> Vec<AddressRange> {
    let mut addresses = Vec::new();
    for node in nodes {
        let Some(text) = node.string() else { continue };
        match AddressRange::parse(text) {
            None => node.invalid("is neither an IP address nor a range such as 10.0.0.0/8"),
            Some(_) if text.contains('/') && !may_be_ranges => {
                node.invalid("is a range, which only the resolutions NONE and STATIC allow");
            }
            Some(range) => addresses.push(range),
        }
    }
    addresses
}

#[inline(never)]
fn read_port<'a>(
    node: &Node<'a>,
    names: &mut Vec<&'a str>,
    earlier: &[ServicePort],
) -> Option<ServicePort> {
    let mut object = node.object()?;
    let number_node = object.required("number");
    let number = number_node.as_ref().and_then(Node::port);
    if let (Some(node), Some(number)) = (number_node, number)
        && earlier.iter().any(|port| port.number == number)
    {
        node.invalid("is another port's number too");
    }
    let name_node = object.required("name");
    if let Some((node, name)) = name_node.and_then(|node| Some((node, node.string()?))) {
        if !is_port_name(name) {
            node.invalid("is not a port name: small letters, digits and -");
        } else if names.contains(&name) {
            node.invalid("is another port's name too");
        } else {
            names.push(name);
        }
    }
    let protocols = match object.given("protocol") {
        None => Some(&SNIFFED[..]),
        Some(node) => node.string().and_then(|text| {
            let known = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
            if known.is_none() {
                node.invalid("is not a protocol that Istio routes");
            }
            known.map(|(_, protocols)| *protocols)
        }),
    };
    // 0 is absent, as in protobuf.
    if let Some(node) = object.field("targetPort").filter(|node| *node.json != Json::Integer(0)) {
        node.port();
    }
    Some(ServicePort { number: number?, protocols: protocols? })
}

/// Checks a `WorkloadEntry` in the place of an endpoint. It is not this filter's business, but a wrong
/// one would be refused by Istio.
#[inline(never)]
fn read_endpoint(node: &Node<'_>, is_static: bool, port_names: &[&str]) {
    let Some(mut object) = node.object() else { return };
    let network = object.string("network").is_some();
    let address = object.given("address");
    if address.is_none() && !(is_static && network) {
        object.absent("address", "is required");
    }
    let mut is_socket = false;
    if let Some((node, text)) = address.and_then(|node| Some((node, node.string()?))) {
        is_socket = is_static && text.starts_with("unix://");
        let is_name = || !text.starts_with('*') && host_name::check(text).is_ok();
        if is_socket && !text.starts_with("unix:///") {
            node.invalid("is not an absolute path");
        } else if !is_socket && text.parse::<std::net::IpAddr>().is_err() {
            if is_static {
                node.invalid("is not an IP address, which STATIC needs");
            } else if !is_name() {
                node.invalid("is neither an IP address nor a host name");
            }
        }
    }
    if let Some(ports) = object.field("ports") {
        if is_socket {
            ports.error("cannot be given for a socket");
        }
        for (name, node) in ports.entries() {
            node.port();
            if !port_names.contains(&name) {
                node.error(format_args!("the service entry has no port named {name:?}"));
            }
        }
    }
    if is_socket && port_names.len() != 1 {
        node.error("is a socket, for which the service entry needs exactly one port");
    }
    if let Some(labels) = object.field("labels") {
        read_labels(&labels);
    }
    object.string("locality");
    object.string("serviceAccount");
    if let Some(weight) =
        object.field("weight").filter(|node| u32::try_from(node.integer().unwrap_or(-1)).is_err())
    {
        weight.invalid("is not in 0..=4294967295");
    }
}

/// Istio's `ValidatePortName`: a DNS label (RFC 1123) in lower case.
fn is_port_name(name: &str) -> bool {
    host_name::is_label(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}
