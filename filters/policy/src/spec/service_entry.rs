//! `ServiceEntry`: adds a service, often one outside of the mesh, to Istio's service registry.

mod endpoint;
mod port;

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::{Node, Object, all};
use crate::document::report::{self, Reported};
use crate::name_set::NameSet;
use crate::spec::destination_rule::NOT_EXPORTED;
use crate::spec::proxy::read_labels;
use crate::value::address::AddressRange;
use crate::value::host_name;
use endpoint::{Endpoint, read_endpoint};
use port::read_ports;

pub use port::{Protocol, ServicePort};

/// A service entry: the fields that define which destinations clients may call.
#[derive(Debug)]
pub struct ServiceEntry {
    /// Hosts in lower case; `*.SUFFIX` includes all names below a domain
    pub hosts: Vec<String>,
    /// Addresses of the service; empty if clients call it only by name
    pub addresses: Vec<AddressRange>,
    /// Ports; their numbers are unique
    pub ports: Vec<ServicePort>,
    /// Whether Envoy connects to the address that the client connected to, independent of the name
    /// (`resolution: NONE`)
    pub keeps_destination: bool,
}

/// Maximum number of hosts of an entry, from Istio's schema.
const MAX_HOSTS: usize = 256;

/// How Envoy determines the addresses of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Resolution {
    /// Envoy resolves the hosts, or the endpoints if present.
    Dns,
    /// Envoy resolves one name for each new connection.
    DnsRoundRobin,
    /// Envoy resolves the name in the client's request.
    DynamicDns,
    /// Envoy connects to the address that the client connected to.
    #[default]
    None,
    /// Envoy connects to the endpoints.
    Static,
}

/// Values of `resolution`.
const RESOLUTIONS: [&str; 5] = ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"];

fields!(ServiceEntry, "The spec of a ServiceEntry.", {
    "hosts" required: Kind::RequiredList(&Kind::WILDCARD_HOST) =>
        "Host names of the service; *.SUFFIX for all names with this suffix.";
    "addresses": Kind::ADDRESSES =>
        "IP addresses of the service, as ADDRESS or ADDRESS/BITS; none if absent.";
    "ports": Kind::List(&Kind::Object(ServicePort::schema)) =>
        "Ports of the service; without any, the entry allows no calls.";
    "location": Kind::OneOf(&["MESH_EXTERNAL", "MESH_INTERNAL"]) =>
        "Whether the service is in the mesh; not used by the filters.";
    "resolution": Kind::OneOf(&RESOLUTIONS) =>
        "How Envoy determines the endpoints; NONE if absent: Envoy connects to the address that \
         the client connected to.";
    "endpoints": Kind::List(&Kind::Object(Endpoint::schema)) =>
        "Endpoints of the service; the filters only check them.";
    "workloadSelector": Kind::Object(WorkloadSelector::schema) =>
        "Selects workloads as endpoints; the filters only check it.";
    "exportTo": Kind::TEXTS =>
        "Has no effect: a filter applies only the documents that are attached to it.";
    "subjectAltNames": Kind::TEXTS =>
        "Not carried out by the filters; set it in the TLS settings of the Envoy cluster.";
});

/// `WorkloadSelector` of a ServiceEntry.
struct WorkloadSelector;

fields!(WorkloadSelector as "ServiceEntryWorkloadSelector", "Selects workloads by their labels.", {
    "labels": Kind::LABELS => "Labels that a workload must have.";
});

impl ServiceEntry {
    /// Reads the `spec` of a ServiceEntry (Istio's `ValidateServiceEntry`).
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        // After an error in the resolution, the checks that depend on it are omitted.
        let resolution = object.optional("resolution", read_resolution);
        let known = resolution.map(Option::unwrap_or_default).ok();
        let is = |wanted: Resolution| known == Some(wanted);
        let endpoints = object.elements("endpoints");
        let address_nodes = object.elements("addresses");
        let has_endpoints = endpoints.as_ref().map_or(true, |endpoints| !endpoints.is_empty());
        let hosts = object.required_elements("hosts").and_then(|nodes| {
            let needs_names =
                !has_endpoints && (is(Resolution::Dns) || is(Resolution::DnsRoundRobin));
            read_hosts(&object, &nodes, needs_names, is(Resolution::DynamicDns))
        });
        let may_be_ranges = known.is_none() || is(Resolution::None) || is(Resolution::Static);
        let addresses = address_nodes.as_deref().map_err(|reported| *reported);
        let addresses = addresses.and_then(|nodes| read_addresses(nodes, may_be_ranges));
        let mut names = NameSet::default();
        let ports = object.elements("ports").and_then(|nodes| read_ports(&nodes, &mut names));
        if ports.as_ref().is_ok_and(Vec::is_empty) {
            let reason = "has no effect, because it has no ports";
            node.notice_to(Filter::Egress, report::Kind::NoEffect, reason);
        }
        if let (Ok(ports), Some(nodes)) = (&ports, object.field("ports")) {
            let checks = PortChecks {
                has_addresses: address_nodes.as_ref().map_or(true, |nodes| !nodes.is_empty()),
                has_several_hosts: hosts.as_ref().is_ok_and(|hosts| hosts.len() > 1),
                resolution: known,
            };
            checks.check(&nodes, ports)?;
        }
        check_endpoint_count(&object, endpoints.as_deref().unwrap_or_default().len(), known);
        if let Some(node) = object.field("addresses").filter(|_| is(Resolution::DynamicDns)) {
            node.error("cannot be combined with this resolution");
        }
        let port_names = ports.is_ok().then_some(&names);
        let nodes = endpoints.as_deref().unwrap_or_default();
        let checked = all(nodes
            .iter()
            .map(|endpoint| read_endpoint(endpoint, is(Resolution::Static), port_names)));
        let location =
            object.optional("location", |node| node.one_of(&["MESH_EXTERNAL", "MESH_INTERNAL"]));
        let selector = object.optional("workloadSelector", |node| {
            if has_endpoints && endpoints.is_ok() {
                return Err(node.error("cannot be combined with endpoints"));
            }
            if is(Resolution::None) {
                let reason = "has no effect with the resolution NONE";
                node.notice_to(Filter::Egress, report::Kind::NotApplicable, reason);
            }
            node.object::<WorkloadSelector>()?.optional("labels", read_labels)
        });
        let exports = object.optional("exportTo", |node| {
            node.notice_to(Filter::Egress, report::Kind::NotApplicable, NOT_EXPORTED);
            node.strings()
        });
        let subjects = object.optional("subjectAltNames", |node| {
            let reason = "is left to Envoy, set it in the TLS settings of the cluster";
            node.notice_to(Filter::Egress, report::Kind::LeftToEnvoy, reason);
            node.strings()
        });
        resolution?;
        checked?;
        location?;
        selector?;
        exports?;
        subjects?;
        endpoints?;
        let keeps_destination = is(Resolution::None);
        Ok(Self { hosts: hosts?, addresses: addresses?, ports: ports?, keeps_destination })
    }
}

fn read_resolution(node: &Node<'_>) -> Result<Resolution, Reported> {
    Ok(match node.one_of(&RESOLUTIONS)? {
        "STATIC" => Resolution::Static,
        "DNS" => Resolution::Dns,
        "DNS_ROUND_ROBIN" => Resolution::DnsRoundRobin,
        "DYNAMIC_DNS" => Resolution::DynamicDns,
        _ => Resolution::None,
    })
}

/// Reads the hosts. `needs_names`: whether Envoy must resolve the hosts; `needs_wildcards`: whether
/// Envoy resolves the names in the clients' requests.
#[inline(never)]
fn read_hosts(
    object: &Object<'_>,
    nodes: &[Node<'_>],
    needs_names: bool,
    needs_wildcards: bool,
) -> Result<Vec<String>, Reported> {
    if let Some(node) = object.field("hosts").filter(|_| nodes.len() > MAX_HOSTS) {
        let reason = format_args!("has {} hosts; the limit is {MAX_HOSTS}", nodes.len());
        return Err(node.error(reason));
    }
    let mut seen = NameSet::default();
    all(nodes.iter().map(|node| {
        let text = node.string()?;
        let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if host == "*" {
            let reason =
                "is every host; to allow that, set outboundTrafficPolicy.mode to ALLOW_ANY";
            return Err(node.invalid(reason));
        }
        host_name::check(&host).map_err(|reason| node.invalid(reason))?;
        if host.starts_with('*') && !host.starts_with("*.") {
            return Err(node.invalid("has a * that is not a label of its own"));
        }
        if needs_names && host.starts_with('*') {
            let reason =
                "is a wildcard, which DNS cannot resolve; give endpoints or another resolution";
            return Err(node.invalid(reason));
        }
        if needs_wildcards && !host.starts_with('*') {
            return Err(node.invalid("is not a wildcard, which DYNAMIC_DNS requires"));
        }
        if !seen.insert(host.as_bytes()) {
            node.notice_to(Filter::Egress, report::Kind::NoEffect, "occurs twice");
        }
        Ok(host)
    }))
}

#[inline(never)]
fn read_addresses(nodes: &[Node<'_>], may_be_ranges: bool) -> Result<Vec<AddressRange>, Reported> {
    all(nodes.iter().map(|node| {
        let range = AddressRange::read(node)?;
        if node.string()?.contains('/') && !may_be_ranges {
            let reason = "is a range, which only the resolutions NONE and STATIC allow";
            return Err(node.invalid(reason));
        }
        Ok(range)
    }))
}

/// Properties of the entry on which the checks of its ports depend.
struct PortChecks {
    has_addresses: bool,
    has_several_hosts: bool,
    resolution: Option<Resolution>,
}

impl PortChecks {
    /// Checks plain TCP ports. Their traffic contains no host name, so only the address identifies
    /// the service.
    fn check(&self, list: &Node<'_>, ports: &[ServicePort]) -> Result<(), Reported> {
        let is_plain = |port: &ServicePort| port.protocols.contains(&Protocol::Tcp);
        let nodes = list.elements()?;
        for (node, _) in nodes.iter().zip(ports).filter(|(_, port)| is_plain(port)) {
            if self.resolution == Some(Resolution::DynamicDns) {
                node.error("must be for HTTP or TLS, which DYNAMIC_DNS requires");
            } else if self.has_several_hosts
                && self.resolution.is_some_and(|own| own != Resolution::None)
            {
                node.error("must be for HTTP or TLS, which several hosts require");
            } else if !self.has_addresses {
                node.notice_to(
                    Filter::Egress,
                    report::Kind::NoEffect,
                    "allows no plain TCP, which is known by its address: the entry has no addresses",
                );
            }
        }
        Ok(())
    }
}

fn check_endpoint_count(object: &Object<'_>, count: usize, resolution: Option<Resolution>) {
    let allowed = match resolution {
        Some(Resolution::None | Resolution::DynamicDns) => 0,
        Some(Resolution::DnsRoundRobin) => 1,
        _ => usize::MAX,
    };
    if let Some(node) = object.field("endpoints").filter(|_| count > allowed) {
        node.error(format_args!("has {count} endpoints; this resolution allows {allowed}"));
    }
}
