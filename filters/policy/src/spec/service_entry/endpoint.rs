//! The endpoints of a ServiceEntry.

use crate::document::fields::fields;
use crate::document::json::Quoted;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::name_set::NameSet;
use crate::spec::proxy::read_labels;
use crate::value::host_name;
use crate::value::number::read_count;

/// `WorkloadEntry` as an endpoint.
pub(super) struct Endpoint;

fields!(Endpoint, "An endpoint of a service; the filters only check it.", {
    "address": Kind::Text => "IP address, host name or, with STATIC, unix:///PATH.";
    "ports": Kind::Map(&Kind::PORT) =>
        "Ports of the endpoint, by the names of the service's ports.";
    "labels": Kind::LABELS => "Labels of the endpoint.";
    "network": Kind::Text => "Istio network of the endpoint.";
    "locality": Kind::Text => "Locality of the endpoint.";
    "weight": Kind::COUNT => "Load balancing weight of the endpoint.";
    "serviceAccount": Kind::Text => "Service account of the workload.";
});

/// Checks an endpoint (`WorkloadEntry`). The filters do not use endpoints, but Istio rejects
/// invalid ones. `port_names` is `None` if a port of the service has an error.
#[inline(never)]
pub(super) fn read_endpoint(
    node: &Node<'_>,
    is_static: bool,
    port_names: Option<&NameSet>,
) -> Result<(), Reported> {
    let object = node.object::<Endpoint>()?;
    let network = object.string("network");
    let address = match object.given("address") {
        Some(node) => read_endpoint_address(&node, is_static),
        None if is_static && network.is_ok_and(|network| network.is_some()) => Ok(false),
        None => Err(object.absent("address", "is required")),
    };
    let is_socket = address == Ok(true);
    let ports = object.optional("ports", |ports| {
        if is_socket {
            return Err(ports.error("cannot be combined with a socket"));
        }
        all(ports.entries()?.iter().map(|(name, node)| {
            node.port()?;
            if port_names.is_some_and(|names| !names.contains(name.as_bytes())) {
                let reason = format_args!("the service entry has no port named {}", Quoted(name));
                return Err(node.error(reason));
            }
            Ok(())
        }))
    });
    let labels = object.optional("labels", read_labels);
    let (locality, account) = (object.string("locality"), object.string("serviceAccount"));
    let weight = object.optional("weight", read_count);
    network?;
    address?;
    ports?;
    labels?;
    locality?;
    account?;
    weight?;
    if is_socket && port_names.is_some_and(|names| names.len() != 1) {
        let reason = "is a socket, for which the service entry must have exactly one port";
        return Err(node.error(reason));
    }
    Ok(())
}

/// Checks the address of an endpoint. Returns whether it is a Unix domain socket.
fn read_endpoint_address(node: &Node<'_>, is_static: bool) -> Result<bool, Reported> {
    let text = node.string()?;
    let is_socket = is_static && text.starts_with("unix://");
    if is_socket {
        let is_absolute = text.starts_with("unix:///");
        return if is_absolute { Ok(true) } else { Err(node.invalid("is not an absolute path")) };
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(false);
    }
    if is_static {
        return Err(node.invalid("is not an IP address, which STATIC requires"));
    }
    if text.starts_with('*') || host_name::check(text).is_err() {
        return Err(node.invalid("is neither an IP address nor a host name"));
    }
    Ok(false)
}
