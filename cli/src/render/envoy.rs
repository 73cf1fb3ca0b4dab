//! `--to envoy`: a complete static configuration of Envoy.

use serde::Serialize;
use sluice_policy::document::filter::Filter;
use sluice_policy::spec::egress::{EgressFields, Port};

use super::attach::Files;
use super::cluster::{Cluster, Sources};
use super::conditions::Conditions;
use super::destinations::{Copy, Destinations};
use super::endpoints::{Endpoint, GivenEndpoint};
use super::error::RenderError;
use super::filter_entry::FilterEntry;
use super::left_out::LeftOut;
use super::listeners::{self, Addresses, Kind, Listener};
use super::mirrored::{self, MirroredRoute};
use super::outlier::Detection;
use super::place::Place;
use super::registry;
use super::selection::Selection;
use super::tcp::{self, TcpListener};
use super::templates;
use crate::check::Compiled;
use crate::filters::Module;
use crate::tree::{Key, Tree, Value};

/// What the user chooses about an Envoy.
#[derive(Debug)]
pub struct Choices<'c> {
    /// The files of the modules
    pub files: &'c Files,
    /// The addresses on which the proxy listens
    pub addresses: &'c Addresses,
    /// Endpoints of destinations
    pub endpoints: &'c [GivenEndpoint],
    /// The file with the certificate authorities of the system
    pub system_authorities: &'c str,
    /// Hosts and ports of Services with HTTP/2
    pub http2_ports: &'c [(String, u16)],
}

/// Checks that the egress filter does not reject everything. It looks up the port that clients
/// connect to, which is the port of the listener here.
///
/// # Errors
/// The listener with a port that no ServiceEntry has, and how to correct that.
fn check_egress(
    egress: &EgressFields,
    selection: &Selection,
    listeners: &[Listener],
) -> Result<(), String> {
    let EgressFields { entries, allows_any, settings, .. } = egress;
    let has_number = matches!(settings.port, Port::Fixed(_));
    if !selection.has(Filter::Egress) || *allows_any || settings.only_reports || has_number {
        return Ok(());
    }
    let ports = entries.iter().flat_map(|entry| &entry.ports);
    let ports: Vec<_> = ports.map(|port| port.number).collect();
    let by_host = settings.port == Port::Authority;
    for listener in listeners {
        let (flag, is_used) = match listener.kind {
            Kind::Http => ("--listen", !by_host),
            Kind::Tls => ("--listen-tls", true),
            Kind::Tcp => ("", false),
        };
        let port = listener.port.unwrap_or(listener.address.port());
        if is_used && !ports.contains(&port) {
            let what = match listener.port {
                Some(_) => "of a rule".to_owned(),
                None => format!("of {flag}"),
            };
            return Err(format!(
                "the egress filter would reject everything, because no ServiceEntry has port \
                 {port} {what}; set egress.port, set {flag} to a port of a ServiceEntry, or \
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
    /// The dynamic module, if its filters send requests of their own
    calling: Option<String>,
    admin: Endpoint,
    http: Vec<HttpListener>,
    tls: Vec<TlsListener>,
    tcp: Vec<TcpListener>,
    clusters: Vec<Cluster>,
}

/// A listener of HTTP requests.
#[derive(Serialize)]
struct HttpListener {
    name: String,
    mapped_port: Option<u16>,
    #[serde(flatten)]
    listen: Endpoint,
    document: minijinja::Value,
    filters: Vec<FilterEntry>,
    /// The headers by which filters name clusters to Envoy
    internal_headers: Vec<String>,
    mirrored_routes: Vec<MirroredRoute>,
    hashed_routes: Vec<HashedRoute>,
    /// Whether responses have the header that marks failures
    removes_mark: bool,
}

/// The route to a cluster that selects hosts by a hash.
#[derive(Serialize)]
struct HashedRoute {
    cluster: String,
    policy: minijinja::Value,
}

/// A listener of TLS connections.
#[derive(Serialize)]
struct TlsListener {
    name: String,
    mapped_port: Option<u16>,
    #[serde(flatten)]
    listen: Endpoint,
    document: minijinja::Value,
    filters: Vec<FilterEntry>,
}

/// The configuration of an Envoy with the selected modules.
///
/// # Errors
/// `router.mode: shadow`, hosts with an unknown port, arguments that do not fit the rules, or a
/// template that does not fit its context.
pub fn bootstrap(
    document: &Tree,
    compiled: &Compiled<'_>,
    selection: &Selection,
    choices: &Choices<'_>,
    left_out: &mut LeftOut,
) -> Result<String, RenderError> {
    if selection.has(Filter::Router) && compiled.document.router.mode.is_shadow() {
        let reason = "router.mode shadow leaves all requests to Envoy's own routes, and --to envoy \
                      writes none; add the filter to an Envoy that has routes";
        return Err(reason.to_owned().into());
    }
    let conditions = Conditions::new(&compiled.json);
    let destinations = Destinations::new(&compiled.json);
    let kinds = kinds(&conditions, selection);
    if kinds.is_empty() {
        let reason = "--to envoy needs http, tls or tcp routes, because only these name upstreams";
        return Err(reason.to_owned().into());
    }
    conditions.leave_out_unknown(left_out);
    conditions.leave_out_mixed(left_out);
    registry::leave_out_unused(&compiled.json, &destinations, left_out);
    let fixed = destinations.naming().called;
    let listeners = listeners::plan(&conditions, &kinds, fixed, choices.addresses, left_out)?;
    check_egress(&compiled.document.egress, selection, &listeners)?;
    let detection = |cluster: &str| {
        let rules = &compiled.document.destination_rules;
        let target = rules.target(cluster).filter(|_| selection.has(Filter::Outlier));
        target.map(|target| Detection::new(&target.settings, choices.files))
    };
    let sources = Sources {
        destinations: &destinations,
        conditions: &conditions,
        listeners: &listeners,
        given: choices.endpoints,
        system_authorities: choices.system_authorities,
        http2_ports: choices.http2_ports,
        has_mirrors: selection.has(Filter::Mirror),
    };
    let clusters = sources.clusters(detection, left_out)?;
    if kinds.contains(&Kind::Tcp) {
        tcp::leave_out(&conditions, left_out);
    }
    let tcp = tcp::listeners(&listeners, &destinations, &conditions, &clusters, left_out);
    let builder = Builder { document, selection, files: choices.files, clusters: &clusters };
    let of = |kind| listeners.iter().filter(move |listener| listener.kind == kind);
    let http = of(Kind::Http).map(|listener| {
        let copies = destinations.copies_on(listener, &conditions);
        builder.http_listener(listener, &copies)
    });
    let calling = choices.files.calling(&compiled.document);
    let calling = calling.filter(|_| selection.has(Filter::Mirror));
    let bootstrap = Bootstrap {
        document: templates::document(document),
        calling: calling.map(str::to_owned),
        admin: choices.addresses.admin.into(),
        http: http.collect(),
        tls: of(Kind::Tls).map(|listener| builder.tls_listener(listener)).collect(),
        tcp,
        clusters,
    };
    Ok(templates::render("envoy.yaml", &bootstrap)?)
}

/// The kinds of listeners that the filters and rules need.
fn kinds(conditions: &Conditions<'_>, selection: &Selection) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if selection.has(Filter::Router) {
        kinds.push(Kind::Http);
    }
    if selection.has(Filter::Sni) {
        kinds.push(Kind::Tls);
    }
    if !conditions.routes("tcp").is_empty() {
        kinds.push(Kind::Tcp);
    }
    kinds
}

struct Builder<'b> {
    document: &'b Tree,
    selection: &'b Selection,
    files: &'b Files,
    clusters: &'b [Cluster],
}

impl Builder<'_> {
    fn http_listener(&self, listener: &Listener, copies: &[Vec<Copy>]) -> HttpListener {
        let detections = || self.clusters.iter().filter_map(|own| own.detection.as_ref());
        let is_in_listener = |module: Module| {
            let is_idle = module == Module::Single(Filter::Outlier)
                && !detections().any(Detection::is_by_filter);
            self.selection.is_for_http(module) && !is_idle
        };
        let modules = self.selection.modules().iter().copied();
        let entry = |own| FilterEntry::new(own, Place::Http, self.files);
        let filters = modules.filter(|own| is_in_listener(*own)).map(entry).collect();
        let is_mirrored = self.selection.has(Filter::Mirror);
        let sets = if is_mirrored { copies } else { &[] };
        let mut internal_headers = vec!["x-sluice-cluster".to_owned()];
        internal_headers.extend(mirrored::removed_headers(sets));
        let hashed = self.clusters.iter().filter(|own| !own.hash_policy.is_empty());
        let hashed = hashed.map(|own| HashedRoute {
            cluster: own.name.clone(),
            policy: templates::list(own.hash_policy.clone()),
        });
        HttpListener {
            name: listener.name(),
            mapped_port: listener.mapped_port(),
            listen: listener.address.into(),
            document: own_document(self.document, listener.mapped_port(), self.selection),
            filters,
            internal_headers,
            mirrored_routes: sets.iter().map(|set| MirroredRoute::new(set)).collect(),
            hashed_routes: hashed.collect(),
            removes_mark: detections().any(Detection::marks_failures),
        }
    }

    fn tls_listener(&self, listener: &Listener) -> TlsListener {
        let is_of_tls = |own: &&Module| matches!(own, Module::Single(Filter::Egress | Filter::Sni));
        let of_tls = self.selection.modules().iter().filter(is_of_tls);
        TlsListener {
            name: listener.name(),
            mapped_port: listener.mapped_port(),
            listen: listener.address.into(),
            document: own_document(self.document, listener.mapped_port(), self.selection),
            filters: of_tls.map(|own| FilterEntry::new(*own, Place::Network, self.files)).collect(),
        }
    }
}

/// The document for the filters of a listener. `mapped_port` is the port that clients call, if it
/// is not that of the listener.
fn own_document(
    document: &Tree,
    mapped_port: Option<u16>,
    selection: &Selection,
) -> minijinja::Value {
    let Some(port) = mapped_port else { return templates::document(document) };
    let mut document = document.clone();
    let mut set_port = |object: &str| {
        if document.field(object).is_none() {
            document.push_field(Key::new(object), Tree::new(Value::Object(Vec::new())));
        }
        if let Some(object) = document.field_mut(object)
            && object.field("port").is_none()
        {
            object.push_field(Key::new("port"), Tree::new(Value::Integer(port.into())));
        }
    };
    set_port("proxy");
    if selection.has(Filter::Egress) {
        set_port("egress");
    }
    templates::document(&document)
}
