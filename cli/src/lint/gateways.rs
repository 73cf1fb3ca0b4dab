//! Gateways that do not exist, and hosts that a gateway does not have.

use std::collections::HashMap;

use sluice_policy::document::report::Kind;
use sluice_policy::spec::proxy::MESH;
use sluice_policy::value::host_name::qualify;

use super::host_index::HostIndex;
use super::inventory::Gateway;
use super::mesh::{Mesh, Spec};
use super::report::Report;

/// The hosts of the servers of a Gateway, each with the namespace whose VirtualServices it takes;
/// `None` for all.
type Hosts<'a> = HostIndex<Option<&'a str>>;

/// The Gateways, each with its hosts, by their full names.
#[derive(Default)]
struct Known<'a> {
    gateways: HashMap<String, (&'a Gateway, Hosts<'a>)>,
    /// The full names of the Gateways with a name
    full_names: HashMap<&'a str, Vec<String>>,
}

/// Reports gateways that no Gateway is, and hosts that no server of the Gateways has. Without any
/// Gateway in the files, nothing is checked.
pub fn lint(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    let mut known = Known::default();
    for gateway in &mesh.inventory.gateways {
        let namespace = gateway.namespace.as_deref().or(mesh.namespace);
        let name = full_name(&gateway.name, namespace);
        known.full_names.entry(&gateway.name).or_default().push(name.clone());
        let hosts = || (gateway, hosts(gateway, namespace));
        known.gateways.entry(name).or_insert_with(hosts);
    }
    if known.gateways.is_empty() {
        return;
    }
    for service in mesh.virtual_service_objects() {
        let hosts: Vec<_> = service.texts("hosts").map(str::to_ascii_lowercase).collect();
        if !hosts.is_empty() {
            lint_service(service, &hosts, &known, report);
        }
    }
}

fn lint_service(service: &Spec<'_>, hosts: &[String], known: &Known<'_>, report: &mut Report<'_>) {
    let has = |gateway: &Hosts<'_>, host: &str| has(gateway, host, service.namespace);
    // Whether each gateway is known and has a host.
    let mut is_clear = true;
    let mut own = Vec::new();
    for (index, name) in service.texts("gateways").enumerate() {
        if name == MESH {
            is_clear = false;
            continue;
        }
        let path = format!(".gateways[{index}]");
        let full_name = full_name(name, service.namespace);
        let Some((gateway, of_gateway)) = known.gateways.get(&full_name) else {
            let reason = format!(
                "no Gateway of the files has this name, so no proxy applies the rules for it{}",
                hint(name, known)
            );
            report.add(service, &path, Kind::Unresolved, reason, None);
            is_clear = false;
            continue;
        };
        if hosts.iter().any(|host| has(of_gateway, host)) {
            own.push((gateway, of_gateway));
            continue;
        }
        let reason = "no server of the Gateway has a host of the VirtualService, so it gets no \
            requests there";
        let other = Some(gateway.place.clone());
        report.add(service, &path, Kind::Unresolved, reason, other);
        is_clear = false;
    }
    let Some((gateway, _)) = own.first().filter(|_| is_clear) else { return };
    for (index, host) in hosts.iter().enumerate() {
        if !own.iter().any(|(_, of_gateway)| has(of_gateway, host)) {
            let reason = "no server of the gateways has this host, so it gets no requests";
            let other = Some(gateway.place.clone());
            report.add(service, &format!(".hosts[{index}]"), Kind::Unresolved, reason, other);
        }
    }
}

/// What to write in place of an unknown gateway, as the end of a sentence.
fn hint(name: &str, known: &Known<'_>) -> String {
    let (_, name) = name.rsplit_once('/').unwrap_or(("", name));
    match known.full_names.get(name).map(Vec::as_slice) {
        Some([only]) => format!("; write {only}"),
        _ => String::new(),
    }
}

/// The hosts of a Gateway in `namespace`.
fn hosts<'a>(gateway: &'a Gateway, namespace: Option<&'a str>) -> Hosts<'a> {
    let mut hosts = Hosts::default();
    for host in &gateway.hosts {
        let (of, host) = host.split_once('/').unwrap_or(("*", host));
        let of = match of {
            "*" => None,
            "." => namespace,
            of => Some(of),
        };
        hosts.insert(host, of);
    }
    hosts
}

/// Returns whether a Gateway takes a host of a VirtualService in `namespace`. Of two wildcards, one
/// must include the other (`Matches` in `pkg/config/host/name.go`).
fn has(gateway: &Hosts<'_>, host: &str, namespace: Option<&str>) -> bool {
    let is_for = |of: &Option<&str>| of.is_none() || namespace.is_none() || *of == namespace;
    let full = qualify(host, namespace);
    let own = gateway.get(host).chain(gateway.get(&full)).chain(gateway.within(host));
    own.into_iter().any(is_for)
}

/// The gateways that a VirtualService is for, by their full names.
pub fn gateways(service: &Spec<'_>) -> Vec<String> {
    let gateways = service.texts("gateways").map(|name| full_name(name, service.namespace));
    let gateways: Vec<_> = gateways.collect();
    if gateways.is_empty() { vec![MESH.to_owned()] } else { gateways }
}

/// The full name of a gateway that an object in `namespace` refers to (`resolveGatewayName` of
/// istiod). The old form `NAME.NAMESPACE.svc.cluster.local` is accepted too.
pub fn full_name(name: &str, namespace: Option<&str>) -> String {
    let in_namespace = |name: &str| match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    };
    match (name.split_once('/'), name.split_once('.')) {
        _ if name == MESH => name.to_owned(),
        (Some((".", name)), _) => in_namespace(name),
        (Some(_), _) => name.to_owned(),
        (None, Some((name, rest))) => {
            format!("{}/{name}", rest.split('.').next().unwrap_or_default())
        }
        (None, None) => in_namespace(name),
    }
}
