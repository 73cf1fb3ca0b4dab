//! Destinations without a port, and the ports that they get.

use crate::document::filter::Filters;
use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::{Finding, Kind, Report};
use crate::spec::destination::{self, Naming, Port};
use crate::spec::document::Document;
use crate::spec::known_ports::Source;
use crate::spec::place::{List, Place};

/// Returns a note about each destination without a port, if the names of clusters have a port.
/// `json` has no errors.
pub fn lint(json: &Json) -> Vec<Finding> {
    let (naming, mut findings) = (Document::naming(json), Vec::new());
    if !naming.template.has_port() {
        return findings;
    }
    let shadow = json.field("shadow").map_or(&[][..], |own| own.elements("virtualServices"));
    let lists = [
        (List::VirtualServices, json.elements("virtualServices")),
        (List::ShadowVirtualServices, shadow),
    ];
    for (list, services) in lists {
        for (index, service) in services.iter().enumerate() {
            let naming = naming.within(service);
            for (place, destination) in destinations(Place::of_element(list, index), service) {
                let reason = reason(&naming, destination);
                findings.extend(reason.map(|reason| Finding::new(place, Kind::Inferred, reason)));
            }
        }
    }
    findings
}

/// Returns the port that a destination gets, and why; `None` for one with a port, or if its cluster
/// has none.
fn reason(naming: &Naming, json: &Json) -> Option<String> {
    let report = Report::new(Filters::NONE);
    let read = destination::read(&Node::root(json, &report), naming).ok()?;
    match read.port {
        Port::Written(_) => None,
        Port::Only(port) => {
            let source = match naming.ports.as_ref()?.source(&read.host)? {
                Source::Service => "Service",
                Source::ServiceEntry => "ServiceEntry",
            };
            let host = json.field("host").and_then(Json::as_str).unwrap_or_default();
            Some(format!("no port: {port}, the only one of {source} {host}"))
        }
        Port::Called(Some(port)) if naming.template.needs_port() => {
            Some(format!("no port: {port}, the one in proxy.port"))
        }
        Port::Called(None) if read.cluster.is_by_port() => {
            Some("no port: the one that the client called".to_owned())
        }
        Port::Called(_) => None,
    }
}

/// Returns the destinations of the virtual service at `place` that have no port, with their places,
/// in the order of the document.
fn destinations<'a>(place: Place, service: &'a Json<'a>) -> Vec<(String, &'a Json<'a>)> {
    let has_no_port = |own: &&Json<'_>| own.field("port").is_none_or(|port| *port == Json::Null);
    let mut found = Vec::new();
    for kind in ["http", "tls"] {
        for (number, route) in service.elements(kind).iter().enumerate() {
            let place = || format!("{place}.{kind}[{number}]");
            for list in ["route", "mirrors"] {
                let entries = route.elements(list).iter().enumerate();
                found.extend(entries.filter_map(|(number, entry)| {
                    let own = entry.field("destination").filter(has_no_port)?;
                    Some((format!("{}.{list}[{number}].destination", place()), own))
                }));
            }
            let mirror = route.field("mirror").filter(|own| **own != Json::Null);
            let mirror = mirror.filter(has_no_port);
            found.extend(mirror.map(|own| (format!("{}.mirror", place()), own)));
        }
    }
    found
}
