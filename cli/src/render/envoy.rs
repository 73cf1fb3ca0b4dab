//! `--to envoy`: a complete static configuration of Envoy.

use std::net::SocketAddr;

use serde::Serialize;
use sluice_policy::document::filter::Filter;
use sluice_policy::spec::egress::{EgressFields, Port};

use super::destinations::{
    Cluster, Destinations, Endpoint, EndpointSource, GivenEndpoint, ListenerPorts, are_addresses,
};
use super::error::RenderError;
use super::mirrored::{self, MirroredRoute};
use super::outlier::Detection;
use super::templates;
use super::wasm::{Place, WasmFilter};
use crate::check::Compiled;
use crate::tree::Tree;

/// The addresses on which the proxy listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Envoy's administration
    pub admin: SocketAddr,
    /// HTTP requests
    pub http: SocketAddr,
    /// TLS connections
    pub tls: SocketAddr,
}

/// Checks that the egress filter does not reject everything. It looks up the port that clients
/// connect to, which is the port of the listener here.
///
/// # Errors
/// The listener with a port that no ServiceEntry has, and how to correct that.
pub fn check_egress(
    egress: &EgressFields,
    filters: &[Filter],
    addresses: &Addresses,
) -> Result<(), String> {
    let EgressFields { entries, allows_any, settings } = egress;
    let has_number = matches!(settings.port, Port::Fixed(_));
    if !filters.contains(&Filter::Egress) || *allows_any || settings.only_reports || has_number {
        return Ok(());
    }
    let ports = entries.iter().flat_map(|entry| &entry.ports);
    let ports: Vec<_> = ports.map(|port| port.number).collect();
    let by_host = settings.port == Port::Authority;
    for (flag, port, is_used) in [
        ("--listen", addresses.http.port(), filters.contains(&Filter::Router) && !by_host),
        ("--listen-tls", addresses.tls.port(), filters.contains(&Filter::Sni)),
    ] {
        if is_used && !ports.contains(&port) {
            return Err(format!(
                "the egress filter would reject everything, because no ServiceEntry has port \
                 {port} of {flag}; set egress.port, set {flag} to a port of a ServiceEntry, or \
                 choose other filters with --filter"
            ));
        }
    }
    Ok(())
}

/// The context of the template `envoy.yaml`.
#[derive(Serialize)]
struct Bootstrap {
    document: minijinja::Value,
    admin: Endpoint,
    http: Option<HttpListener>,
    tls: Option<TlsListener>,
    clusters: Vec<ClusterEntry>,
}

/// The listener of HTTP requests.
#[derive(Serialize)]
struct HttpListener {
    #[serde(flatten)]
    listen: Endpoint,
    filters: Vec<WasmFilter>,
    /// The headers by which filters name clusters to Envoy
    internal_headers: Vec<String>,
    mirrored_routes: Vec<MirroredRoute>,
    /// Whether responses have the header that marks failures
    removes_mark: bool,
}

/// The listener of TLS connections.
#[derive(Serialize)]
struct TlsListener {
    #[serde(flatten)]
    listen: Endpoint,
    filters: Vec<WasmFilter>,
}

/// A cluster.
#[derive(Serialize)]
struct ClusterEntry {
    name: String,
    source: EndpointSource,
    discovery: Discovery,
    endpoints: Vec<Endpoint>,
    detection: Option<Detection>,
}

/// How Envoy gets the addresses of a cluster.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Discovery {
    Static,
    StrictDns,
}

/// The configuration of an Envoy with `filters`.
///
/// # Errors
/// Hosts with an unknown port, or a template that does not fit its context.
pub fn bootstrap(
    document: &Tree,
    compiled: &Compiled,
    filters: &[Filter],
    module: &str,
    addresses: &Addresses,
    endpoints: &[GivenEndpoint],
) -> Result<String, RenderError> {
    let destinations = Destinations::new(&compiled.json);
    let has = |filter| filters.contains(&filter);
    let detection = |cluster: &Cluster| {
        let rules = &compiled.document.destination_rules;
        let target = rules.target(&cluster.name).filter(|_| has(Filter::Outlier));
        target.map(|target| Detection::new(&target.settings, module))
    };
    let ports = ListenerPorts { http: addresses.http.port(), tls: addresses.tls.port() };
    let clusters = destinations.clusters(endpoints, ports)?.into_iter();
    let clusters: Vec<_> =
        clusters.map(|cluster| cluster_entry(detection(&cluster), cluster)).collect();
    let bootstrap = Bootstrap {
        document: templates::document(document),
        admin: addresses.admin.into(),
        // Without the router filter, no filter names the upstream of requests.
        http: has(Filter::Router)
            .then(|| http_listener(filters, module, addresses.http, &destinations, &clusters)),
        tls: has(Filter::Sni).then(|| tls_listener(filters, module, addresses.tls)),
        clusters,
    };
    Ok(templates::render("envoy.yaml", &bootstrap)?)
}

fn http_listener(
    filters: &[Filter],
    module: &str,
    address: SocketAddr,
    destinations: &Destinations<'_>,
    clusters: &[ClusterEntry],
) -> HttpListener {
    let detections = || clusters.iter().filter_map(|cluster| cluster.detection.as_ref());
    let of_http = filters.iter().filter(|filter| match filter {
        Filter::Sni => false,
        Filter::Outlier => detections().any(Detection::is_by_filter),
        Filter::Egress | Filter::Fault | Filter::Mirror | Filter::Router => true,
    });
    let is_mirrored = filters.contains(&Filter::Mirror);
    let port = Some(address.port());
    let sets = if is_mirrored { destinations.copies(port) } else { Vec::new() };
    let mut internal_headers = vec!["x-sluice-cluster".to_owned()];
    internal_headers.extend(mirrored::removed_headers(&sets));
    HttpListener {
        listen: address.into(),
        filters: of_http.map(|own| WasmFilter::new(*own, Place::Http, module)).collect(),
        internal_headers,
        mirrored_routes: sets.iter().map(|set| MirroredRoute::new(set)).collect(),
        removes_mark: detections().any(Detection::marks_failures),
    }
}

fn tls_listener(filters: &[Filter], module: &str, address: SocketAddr) -> TlsListener {
    let of_tls = filters.iter().filter(|own| matches!(own, Filter::Egress | Filter::Sni));
    TlsListener {
        listen: address.into(),
        filters: of_tls.map(|own| WasmFilter::new(*own, Place::Network, module)).collect(),
    }
}

fn cluster_entry(detection: Option<Detection>, cluster: Cluster) -> ClusterEntry {
    let is_static = are_addresses(&cluster.endpoints);
    ClusterEntry {
        name: cluster.name,
        source: cluster.source,
        discovery: if is_static { Discovery::Static } else { Discovery::StrictDns },
        endpoints: cluster.endpoints,
        detection,
    }
}
