//! The rules of istiod for the parts of a VirtualService that no filter reads
//! (`ValidateVirtualService` in `pkg/config/validation`).

use sluice_policy::spec::claim::is_claim;
use sluice_policy::spec::proxy::MESH;
use sluice_policy::value::address::AddressRange;
use sluice_policy::value::host_name;

use crate::istio::errors::Errors;
use crate::istio::path::member;
use crate::tree::{Tree, Value};

/// Checks a VirtualService.
pub fn check(service: &Tree, path: &str, errors: &mut Errors) {
    check_hosts(service, path, errors);
    check_claims(service, path, errors);
    check_tcp(service, path, errors);
}

/// Reports conditions on claims of tokens that are not for gateways. The filters have them in
/// sidecars too, but istiod refuses the object.
fn check_claims(service: &Tree, path: &str, errors: &mut Errors) {
    let gateways = service.list("gateways");
    let has_mesh = gateways.iter().any(|gateway| gateway.as_str() == Some(MESH));
    if !errors.is_object || (!has_mesh && !gateways.is_empty()) {
        return;
    }
    for (route_index, route) in service.list("http").iter().enumerate() {
        for (index, own) in route.list("match").iter().enumerate() {
            for name in ["headers", "withoutHeaders"] {
                let headers = own.field(name).map_or(&[][..], Tree::fields);
                for (key, _) in headers.iter().filter(|(key, _)| is_claim(&key.text)) {
                    let place = format!("{path}.http[{route_index}].match[{index}].{name}");
                    let reason = "is for gateways only; write gateways, without mesh";
                    errors.add(member(&place, &key.text), reason);
                }
            }
        }
    }
}

/// Reports hosts that another host includes.
fn check_hosts(service: &Tree, path: &str, errors: &mut Errors) {
    let hosts: Vec<_> = service.list("hosts").iter().map(Tree::as_str).collect();
    for (index, host) in hosts.iter().enumerate() {
        let Some(host) = host else { continue };
        let includes = |other: &&str| {
            let suffix = other.strip_prefix('*');
            suffix.is_some_and(|suffix| host.len() > other.len() - 1 && host.ends_with(suffix))
        };
        let other = hosts.iter().flatten().find(|other| *other != host && includes(other));
        if let Some(other) = other {
            let path = format!("{path}.hosts[{index}]");
            errors.add(&path, format!("{host:?} is one of {other:?}, which is a host too"));
        }
    }
}

/// Source: `validateTCPRoute`.
fn check_tcp(service: &Tree, path: &str, errors: &mut Errors) {
    let Some((key, routes)) = service.entry("tcp") else { return };
    for (index, route) in routes.elements().iter().enumerate() {
        let path = format!("{}[{index}]", member(path, &key.text));
        for (index, matched) in route.list("match").iter().enumerate() {
            check_match(matched, &format!("{path}.match[{index}]"), errors);
        }
        let destinations = route.list("route");
        if destinations.is_empty() {
            errors.add(&path, "must have a route");
        }
        let weight = |tree: &Tree| match tree.field("weight").map(|weight| &weight.value) {
            Some(Value::Integer(weight)) => *weight,
            _ => 0,
        };
        for (index, destination) in destinations.iter().enumerate() {
            if weight(destination) < 0 {
                errors.add(format!("{path}.route[{index}].weight"), "is negative");
            }
            if let Some(destination) = destination.field("destination") {
                check_destination(
                    destination,
                    &format!("{path}.route[{index}].destination"),
                    errors,
                );
            }
        }
        if destinations.len() > 1 && destinations.iter().map(weight).sum::<i64>() == 0 {
            errors.add(format!("{path}.route"), "has weights with the sum 0");
        }
    }
}

fn check_match(matched: &Tree, path: &str, errors: &mut Errors) {
    for (index, subnet) in matched.list("destinationSubnets").iter().enumerate() {
        if subnet.as_str().is_some_and(|text| AddressRange::parse(text).is_none()) {
            let path = format!("{path}.destinationSubnets[{index}]");
            errors.add_value(
                &path,
                subnet,
                "is neither an IP address nor a range such as 10.0.0.0/8",
            );
        }
    }
    // 0 is the same as absent.
    if let Some(port) = matched.field("port").filter(|port| port.value != Value::Integer(0)) {
        check_port(port, &format!("{path}.port"), errors);
    }
}

fn check_destination(destination: &Tree, path: &str, errors: &mut Errors) {
    let host = destination.field("host");
    if let Some(host) = host
        && let Err(reason) = host_name::check(host.as_str().unwrap_or_default())
    {
        errors.add_value(format!("{path}.host"), host, reason);
    }
    let subset = destination.field("subset");
    let is_name = |text: &str| text.is_empty() || host_name::is_label(text);
    if let Some(subset) = subset.filter(|own| own.as_str().is_some_and(|text| !is_name(text))) {
        errors.add_value(format!("{path}.subset"), subset, "is not a DNS label");
    }
    let Some(port) = destination.field("port") else { return };
    let path = format!("{path}.port.number");
    match port.field("number") {
        Some(number) => check_port(number, &path, errors),
        None => errors.add(&path, "is required"),
    }
}

fn check_port(port: &Tree, path: &str, errors: &mut Errors) {
    if matches!(port.value, Value::Integer(number) if !(1..=65_535).contains(&number)) {
        errors.add_value(path, port, "is not in the range 1 to 65535");
    }
}
