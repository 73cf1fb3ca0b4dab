//! `--to envoyfilter`: an EnvoyFilter for each module, with the routes and clusters that it needs.

use serde::Serialize;
use sluice_policy::document::filter::Filter;

use super::destinations::{Copy, Destinations};
use super::error::RenderError;
use super::filter_entry::FilterEntry;
use super::istio::{Context, Label, Target};
use super::mirrored::{self, MirroredRoute};
use super::outlier::{Detection, Watched};
use super::place::Place;
use super::{templates, workloads};
use crate::filters::Module;

/// The context of the template `envoyfilter.yaml`.
#[derive(Serialize)]
struct EnvoyFilters<'a> {
    document: minijinja::Value,
    namespace: Option<&'a str>,
    labels: Vec<Label<'a>>,
    context: Context,
    objects: Vec<EnvoyFilter>,
}

/// One EnvoyFilter.
#[derive(Serialize)]
struct EnvoyFilter {
    name: String,
    priority: u32,
    patches: Vec<Patch>,
}

/// A patch. Each variant is named after its template.
#[derive(Serialize)]
#[serde(tag = "template")]
enum Patch {
    /// The removal of the headers by which a filter steers, before all filters
    #[serde(rename = "patches/early-removal.yaml")]
    EarlyRemoval { headers: Vec<String> },
    /// A filter of HTTP requests
    #[serde(rename = "patches/http-filter.yaml")]
    HttpFilter { filter: FilterEntry, is_first: bool },
    /// The route of requests that are copied to a set of clusters
    #[serde(rename = "patches/mirrored-route.yaml")]
    MirroredRoute { route: MirroredRoute },
    /// A filter of TLS and TCP connections
    #[serde(rename = "patches/network-filter.yaml")]
    NetworkFilter { filter: FilterEntry },
    /// The removal of headers by which a filter names clusters to Envoy
    #[serde(rename = "patches/removed-headers.yaml")]
    RemovedHeaders { headers: Vec<String> },
    /// The removal of the header that marks failures
    #[serde(rename = "patches/removed-mark.yaml")]
    RemovedMark,
    /// The route to the cluster that the router filter names
    #[serde(rename = "patches/steered-route.yaml")]
    SteeredRoute,
    /// The listener filter that reads the server names of connections to a port
    #[serde(rename = "patches/tls-inspector.yaml")]
    TlsInspector { port: u16 },
    /// A virtual host of a gateway, for the hosts of the rules
    #[serde(rename = "patches/virtual-host.yaml")]
    VirtualHost { domains: Vec<String>, headers: Vec<String>, mirrored_routes: Vec<MirroredRoute> },
    /// Clusters of a host with outlier detection
    #[serde(rename = "patches/watched-cluster.yaml")]
    WatchedClusters { clusters: Box<Watched> },
}

/// The EnvoyFilters of a target. Their priorities give the order of the filters.
///
/// # Errors
/// Outlier detection that patches cannot express, or nothing to render.
pub fn render(target: &Target<'_>) -> Result<String, RenderError> {
    let destinations = Destinations::new(&target.compiled.json);
    check_called_port(target, &destinations)?;
    let watched = if target.selection.has(Filter::Outlier) {
        workloads::watched(target, &destinations)?
    } else {
        Vec::new()
    };
    let builder = Builder { target, destinations, watched };
    let modules = target.selection.modules().iter();
    let objects: Vec<_> = modules.flat_map(|own| builder.objects(*own)).collect();
    if objects.is_empty() {
        let reason = "there is nothing to render, because no DestinationRule for these workloads \
                      has outlierDetection";
        return Err(reason.to_owned().into());
    }
    let context = EnvoyFilters {
        document: templates::document(target.document),
        namespace: target.namespace(),
        labels: target.labels(),
        context: target.context,
        objects,
    };
    Ok(templates::render("envoyfilter.yaml", &context)?)
}

/// Checks that the filters can know the port that clients call. A gateway listens on the port of
/// its pod, which is usually another one than that of its Service.
fn check_called_port(target: &Target<'_>, destinations: &Destinations<'_>) -> Result<(), String> {
    let naming = [Filter::Mirror, Filter::Router, Filter::Sni];
    if target.context != Context::Gateway || !target.selection.has_any(&naming) {
        return Ok(());
    }
    match destinations.first_by_port() {
        Some(host) => Err(format!(
            "the port of {host} is not known: its destination has none, and the pod of a gateway \
             listens on another port than clients call; write destination.port, give a file with \
             its Service if it has one port, or set proxy.port (--proxy-port), the \
             server.port.number of the Gateway"
        )),
        None => Ok(()),
    }
}

struct Builder<'a> {
    target: &'a Target<'a>,
    destinations: Destinations<'a>,
    /// Clusters with outlier detection
    watched: Vec<Watched>,
}

impl Builder<'_> {
    /// The EnvoyFilters of one module.
    fn objects(&self, own: Module) -> Vec<EnvoyFilter> {
        let detections = || self.watched.iter().map(Watched::detection);
        let is_egress = own == Module::Single(Filter::Egress);
        let is_outbound = self.target.context == Context::SidecarOutbound;
        let is_idle =
            own == Module::Single(Filter::Outlier) && !detections().any(Detection::is_by_filter);
        let is_in_listener = self.target.selection.is_for_http(own) && !is_idle;
        let mut patches = Vec::new();
        let steering = self.steering(own, is_in_listener);
        if !steering.is_empty() {
            patches.push(Patch::EarlyRemoval { headers: steering });
        }
        if is_in_listener {
            // The egress filter comes before all filters that may change the host.
            let filter = self.entry(own, Place::Http);
            patches.push(Patch::HttpFilter { filter, is_first: is_egress });
        }
        if own == Module::Single(Filter::Sni) || (is_egress && is_outbound) {
            patches.push(Patch::NetworkFilter { filter: self.entry(own, Place::Network) });
        }
        match own {
            Module::Single(Filter::Router) => patches.extend(self.routes(&[])),
            Module::Sluice => {
                let copies = self.copies();
                patches.extend(self.routes(&mirrored::removed_headers(&copies)));
                patches.extend(mirrored_routes(&copies));
            }
            Module::Single(Filter::Outlier) => {
                let watched = self.watched.iter().cloned();
                let clusters = watched.map(Box::new);
                patches.extend(clusters.map(|clusters| Patch::WatchedClusters { clusters }));
                let is_marked = detections().any(Detection::marks_failures);
                patches.extend(is_marked.then_some(Patch::RemovedMark));
            }
            Module::Single(Filter::Egress | Filter::Fault | Filter::Mirror | Filter::Sni) => {}
        }
        let name = own.full_name('-');
        let mut objects = vec![EnvoyFilter { name, priority: priority(own), patches }];
        if is_egress && is_outbound {
            let ports = self.target.tls_ports().into_iter();
            let patches = ports.map(|port| Patch::TlsInspector { port }).collect();
            let name = "sluice-egress-tls-inspector".to_owned();
            objects.push(EnvoyFilter { name, priority: 0, patches });
        }
        if own == Module::Single(Filter::Mirror) {
            // Applied after the routes of the router filter, so that these routes come before them.
            let copies = self.copies();
            let headers = mirrored::removed_headers(&copies);
            let mut patches = mirrored_routes(&copies);
            patches.extend((!headers.is_empty()).then_some(Patch::RemovedHeaders { headers }));
            let name = "sluice-mirror-routes".to_owned();
            objects.push(EnvoyFilter { name, priority: 40, patches });
        }
        objects.retain(|object| !object.patches.is_empty());
        objects
    }

    /// The headers by which a module steers, which clients must not send.
    fn steering(&self, own: Module, is_in_listener: bool) -> Vec<String> {
        let cluster = || vec!["x-sluice-cluster".to_owned()];
        match own {
            Module::Sluice => [cluster(), mirrored::headers(&self.copies())].concat(),
            Module::Single(Filter::Router) => cluster(),
            Module::Single(Filter::Mirror) => mirrored::headers(&self.copies()),
            Module::Single(Filter::Outlier) if is_in_listener => vec!["x-sluice-host".to_owned()],
            Module::Single(_) => Vec::new(),
        }
    }

    fn entry(&self, own: Module, place: Place) -> FilterEntry {
        FilterEntry::new(own, place, self.target.files)
    }

    /// The sets of copies that requests can have; none without mirrors.
    fn copies(&self) -> Vec<Vec<Copy>> {
        if self.target.selection.has(Filter::Mirror) {
            self.destinations.copies()
        } else {
            Vec::new()
        }
    }

    /// The routes to the clusters that the filter names. Upstreams do not get the headers `others`
    /// either.
    fn routes(&self, others: &[String]) -> Vec<Patch> {
        let cluster = "x-sluice-cluster".to_owned();
        let headers = [std::slice::from_ref(&cluster), others].concat();
        let mut patches = vec![Patch::SteeredRoute, Patch::RemovedHeaders { headers }];
        let domains: Vec<_> = self.destinations.domains().into_iter().collect();
        if self.target.context == Context::Gateway && !domains.is_empty() {
            // Patches of other EnvoyFilters do not change an added virtual host.
            let copies = self.copies();
            let mut headers = vec![cluster];
            headers.extend(mirrored::removed_headers(&copies));
            let mirrored_routes = copies.iter().map(|set| MirroredRoute::new(set)).collect();
            patches.push(Patch::VirtualHost { domains, headers, mirrored_routes });
        }
        patches
    }
}

/// The routes of these sets of copies.
fn mirrored_routes(copies: &[Vec<Copy>]) -> Vec<Patch> {
    // INSERT_FIRST reverses the order, and larger sets must come first.
    let routes = copies.iter().rev().map(|set| MirroredRoute::new(set));
    routes.map(|route| Patch::MirroredRoute { route }).collect()
}

/// The priority of the EnvoyFilter of a module. Filters are inserted directly before Envoy's
/// router, so later ones follow earlier ones.
fn priority(own: Module) -> u32 {
    match own {
        Module::Single(Filter::Egress) => 0,
        Module::Single(Filter::Fault) => 10,
        Module::Single(Filter::Mirror) => 20,
        Module::Sluice | Module::Single(Filter::Router | Filter::Sni) => 30,
        Module::Single(Filter::Outlier) => 40,
    }
}
