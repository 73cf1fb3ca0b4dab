//! The rules of istiod for the parts of a VirtualService that no filter reads
//! (`ValidateVirtualService` in `pkg/config/validation`).

use sluice_policy::value::address::AddressRange;
use sluice_policy::value::host_name;

use crate::istio::errors::{Errors, member};
use crate::tree::{Tree, Value};

/// Checks a VirtualService.
pub fn check(service: &Tree, path: &str, errors: &mut Errors) {
    check_hosts(service, path, errors);
    check_tcp(service, path, errors);
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
                errors.add(&format!("{path}.route[{index}].weight"), "is negative");
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
            errors.add(&format!("{path}.route"), "has weights with the sum 0");
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
        errors.add_value(&format!("{path}.host"), host, reason);
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
