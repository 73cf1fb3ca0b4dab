//! The endpoints of clusters: from `--endpoint`, ServiceEntries or DNS.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use serde::Serialize;
use sluice_policy::document::json::Json;
use sluice_policy::spec::destination::{Destination, Port};

use super::destinations::{Destinations, fields, number, text};
use super::left_out::LeftOut;
use super::part::{Found, Part};

/// An address to connect to or to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// An IP address or a name
    pub address: String,
    /// The port
    pub port: u16,
    /// The weight for load balancing, if it is not 1
    pub weight: Option<u64>,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip().to_string(), port: address.port(), weight: None }
    }
}

/// Where the endpoints of a cluster come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointSource {
    /// From `--endpoint`
    Flag,
    /// From a ServiceEntry
    ServiceEntry,
    /// From DNS: the endpoint is the host itself
    Dns,
}

/// An endpoint that the user gives: `HOST[/SUBSET]=ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenEndpoint {
    host: String,
    subset: Option<String>,
    endpoint: Endpoint,
}

impl std::str::FromStr for GivenEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(place, address)| {
            let (host, subset) =
                place.split_once('/').map_or((place, None), |(host, subset)| (host, Some(subset)));
            let (address, port) = address.rsplit_once(':')?;
            let address = address.trim_start_matches('[').trim_end_matches(']').to_owned();
            let is_complete = !host.is_empty() && !address.is_empty();
            let port = port.parse().ok().filter(|port| *port > 0)?;
            let endpoint = Endpoint { address, port, weight: None };
            let (host, subset) = (host.to_owned(), subset.map(str::to_owned));
            is_complete.then_some(Self { host, subset, endpoint })
        });
        parts.ok_or_else(|| {
            "must be HOST[/SUBSET]=ADDRESS:PORT, such as payment/v1=10.0.0.1:8080".to_owned()
        })
    }
}

/// The endpoints that the user gives, and how destinations use them.
pub struct Endpoints<'d, 'a> {
    destinations: &'d Destinations<'a>,
    given: &'d [GivenEndpoint],
    /// The subsets that have the endpoints of their host with their paths, by the host
    shared: BTreeMap<String, Vec<(String, String)>>,
    /// The subsets that were left out
    unknown: HashSet<String>,
}

impl<'d, 'a> Endpoints<'d, 'a> {
    /// The endpoints for the destinations of a document.
    pub fn new(destinations: &'d Destinations<'a>, given: &'d [GivenEndpoint]) -> Self {
        Self { destinations, given, shared: BTreeMap::new(), unknown: HashSet::new() }
    }

    /// Checks that each given endpoint is for a destination.
    ///
    /// # Errors
    /// The first endpoint that is not, and the destinations.
    pub fn check(&self, all: &[Found<'_>]) -> Result<(), String> {
        let is_used = |given: &&GivenEndpoint| {
            let host = self.destinations.host(&given.host);
            all.iter().any(|Found { destination: to, .. }| {
                to.host == host && (given.subset.is_none() || given.subset == to.subset)
            })
        };
        let Some(unused) = self.given.iter().find(|given| !is_used(given)) else { return Ok(()) };
        let mut names: Vec<_> = all.iter().map(|own| self.short_name(&own.destination)).collect();
        names.sort();
        names.dedup();
        let subset = unused.subset.iter().map(|subset| format!("/{subset}")).collect::<String>();
        Err(format!(
            "--endpoint {}{subset}: no rule has this destination; the destinations are {}",
            unused.host,
            names.join(", ")
        ))
    }

    /// A destination as `--endpoint` has it: HOST or HOST/SUBSET.
    pub fn short_name(&self, to: &Destination) -> String {
        let host = self.destinations.short_host(&to.host);
        to.subset.as_ref().map_or(host.to_owned(), |subset| format!("{host}/{subset}"))
    }

    /// The endpoints of a destination; `None` if their port is unknown. `called` is the port that
    /// clients call.
    pub fn of(
        &mut self,
        found: &Found<'a>,
        called: u16,
        left_out: &mut LeftOut,
    ) -> Option<(EndpointSource, Vec<Endpoint>)> {
        let to = &found.destination;
        self.leave_out_missing(found, left_out);
        let of_host =
            || self.given.iter().filter(|own| self.destinations.host(&own.host) == to.host);
        let copy = |own: Vec<&GivenEndpoint>| own.iter().map(|own| own.endpoint.clone()).collect();
        let own: Vec<_> = of_host().filter(|given| given.subset == to.subset).collect();
        if !own.is_empty() {
            return Some((EndpointSource::Flag, copy(own)));
        }
        // A host without a subset has the endpoints of all its subsets, and a subset without own
        // endpoints has those of the host.
        let of_others: Vec<_> =
            of_host().filter(|own| to.subset.is_none() || own.subset.is_none()).collect();
        if !of_others.is_empty() {
            let endpoints = copy(of_others);
            self.share(found);
            return Some((EndpointSource::Flag, endpoints));
        }
        let port = self.destinations.port(to, called)?;
        if let Some(entry) = self.destinations.entry(&to.host) {
            let endpoints = self.of_entry(&entry, found, port, left_out);
            if !endpoints.is_empty() {
                return Some((EndpointSource::ServiceEntry, endpoints));
            }
        }
        if to.subset.is_some() {
            self.leave_out_subset(found, left_out);
        }
        let endpoint = Endpoint { address: to.host.clone(), port, weight: None };
        Some((EndpointSource::Dns, vec![endpoint]))
    }

    fn share(&mut self, found: &Found<'_>) {
        let Found { destination: to, part } = found;
        let Some(subset) = &to.subset else { return };
        let known = self.shared.entry(to.host.clone()).or_default();
        if known.iter().all(|(known, _)| known != subset) {
            known.push((subset.clone(), part.path.clone()));
        }
    }

    /// Leaves out subsets that have the endpoints of their host, if several have them.
    pub fn leave_out_shared(&self, left_out: &mut LeftOut) {
        for (host, subsets) in self.shared.iter().filter(|(_, subsets)| subsets.len() > 1) {
            let host = self.destinations.short_host(host);
            for (subset, path) in subsets {
                let reason = format!(
                    "the subset has the same endpoints as others of the host; use --endpoint \
                     {host}/{subset}=ADDRESS:PORT"
                );
                left_out.add(&format!("{path}.subset"), reason);
            }
        }
    }

    /// Leaves out a subset or a port that the objects beside the rule lack. Istio answers 503.
    fn leave_out_missing(&mut self, found: &Found<'_>, left_out: &mut LeftOut) {
        let Found { destination: to, part } = found;
        if let Some(name) = &to.subset
            && self.destinations.has_rule(&to.host)
            && self.destinations.subset(&to.host, name).is_none()
            && self.unknown.insert(self.short_name(to))
        {
            let reason = "no DestinationRule of the host has the subset, so Istio answers 503";
            left_out.add(&format!("{}.subset", part.path), reason);
        }
        if let Port::Written(port) = to.port
            && self.destinations.lacks_port(&to.host, port)
        {
            let reason = "the host does not have the port, so Istio answers 503";
            left_out.add(&format!("{}.port", part.path), reason);
        }
    }

    /// Leaves out a subset whose endpoints are not known. A subset without labels has all
    /// endpoints of its host.
    fn leave_out_subset(&mut self, found: &Found<'_>, left_out: &mut LeftOut) {
        let Found { destination: to, part } = found;
        let Some(name) = &to.subset else { return };
        let what = match self.destinations.subset(&to.host, name) {
            None => "no DestinationRule has the subset",
            Some(subset) if fields(subset, "labels").is_empty() => return,
            Some(_) => "DNS does not know the labels of the subset, only the whole host",
        };
        let place = self.short_name(to);
        let reason = format!("{what}; use --endpoint {place}=ADDRESS:PORT");
        if self.unknown.insert(place) {
            left_out.add(&format!("{}.subset", part.path), reason);
        }
    }

    /// The endpoints of a ServiceEntry that have the labels of the subset.
    fn of_entry(
        &self,
        entry: &Part<'_>,
        found: &Found<'_>,
        number_of_port: u16,
        left_out: &mut LeftOut,
    ) -> Vec<Endpoint> {
        let to = &found.destination;
        let subset = to.subset.as_ref().and_then(|name| self.destinations.subset(&to.host, name));
        let labels = subset.map_or(&[][..], |subset| fields(subset, "labels"));
        let has_labels = |endpoint: &&Part<'_>| {
            let own = fields(endpoint.json, "labels");
            labels.iter().all(|label| own.contains(label))
        };
        if let Some(selector) = entry.field("workloadSelector") {
            let reason = "the workloads are not known, so DNS resolves the host; use --endpoint";
            left_out.add(&selector.path, reason);
        }
        let mut ports = entry.json.elements("ports").iter();
        let port = ports.find(|port| number(port.field("number")) == Some(number_of_port));
        let target_port = port.and_then(|port| number(port.field("targetPort")));
        let target_port = target_port.unwrap_or(number_of_port);
        let name = port.and_then(|port| text(port, "name"));
        let all = entry.elements("endpoints");
        let resolution = entry.text("resolution").unwrap_or("NONE");
        if all.is_empty() && matches!(resolution, "NONE" | "DYNAMIC_DNS") {
            let reason = format!(
                "with the resolution {resolution} clients choose the address; \
                                  here DNS resolves the host, or use --endpoint"
            );
            left_out.add(&entry.path, reason);
        }
        let mut found = Vec::new();
        for endpoint in all.iter().filter(has_labels) {
            let mut own = fields(endpoint.json, "ports").iter();
            let own = own.find(|(key, _)| Some(&**key) == name);
            let port = own.and_then(|(_, port)| number(Some(port))).unwrap_or(target_port);
            let Some(address) = endpoint.text("address") else { continue };
            if address.starts_with("unix://") {
                let reason = "is a socket; only IP addresses and names are rendered";
                left_out.add(&format!("{}.address", endpoint.path), reason);
                continue;
            }
            let weight = endpoint.count("weight").filter(|weight| *weight > 1);
            found.push(Endpoint { address: address.to_owned(), port, weight });
        }
        found
    }
}

/// The names in `subjectAltNames` of a ServiceEntry.
pub fn subject_alt_names(entry: Option<&Part<'_>>) -> Vec<String> {
    let names = entry.map(|entry| entry.texts("subjectAltNames")).unwrap_or_default();
    names.into_iter().map(str::to_owned).collect()
}

/// Returns whether a ServiceEntry says that a port speaks HTTP/2.
pub fn is_http2(entry: Option<&Part<'_>>, port: Option<u16>) -> bool {
    let ports = entry.map(|entry| entry.elements("ports")).unwrap_or_default();
    let own = ports.iter().find(|own| port.is_some() && own.port("number") == port);
    let protocol = own.and_then(|own| own.json.field("protocol")).and_then(Json::as_str);
    let protocol = protocol.unwrap_or_default().to_ascii_uppercase();
    matches!(&*protocol, "HTTP2" | "GRPC" | "GRPC-WEB")
}
