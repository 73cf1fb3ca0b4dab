//! The endpoints of a ServiceEntry.

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::spec::proxy::read_labels;
use crate::value::host_name;
use crate::value::number::read_count;

/// `WorkloadEntry` as an endpoint.
pub(super) struct Endpoint;

fields!(Endpoint, "Where a service runs.", {
    "address": Kind::Text => "The address.";
    "ports": Kind::Map(&Kind::PORT) => "The ports, by the names of the service's ports.";
    "labels": Kind::TEXT_MAP => "The labels.";
    "network": Kind::Text => "The network.";
    "locality": Kind::Text => "The locality.";
    "weight": Kind::COUNT => "The share of the load.";
    "serviceAccount": Kind::Text => "The service account.";
});

/// Checks a `WorkloadEntry` as an endpoint. The filters do not use it, but Istio would refuse a
/// wrong one. `port_names` is absent when a port has an error.
#[inline(never)]
pub(super) fn read_endpoint(
    node: &Node<'_>,
    is_static: bool,
    port_names: Option<&[&str]>,
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
            if port_names.is_some_and(|names| !names.contains(name)) {
                let reason = format_args!("the service entry has no port named {name:?}");
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

/// Whether the address of an endpoint is a Unix domain socket.
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
