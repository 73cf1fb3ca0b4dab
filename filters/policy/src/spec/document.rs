//! The configuration document. Every filter reads the same document, checks all of it, and uses the
//! fields that it needs.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::document::fields::fields;
use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::document::node::{Node, Object};
use crate::document::parse::parse;
use crate::document::report::{self, Finding, Rejection, Report, Reported};
use crate::spec::delegates;
use crate::spec::destination::{ClusterTemplate, Naming};
use crate::spec::destination_rule::{DestinationRule, DestinationRules};
use crate::spec::egress::{EgressFields, EgressSettings, OutboundTrafficPolicy};
use crate::spec::explain::ExplainSettings;
use crate::spec::fault::settings::FaultSettings;
use crate::spec::gateway_api;
use crate::spec::gateway_api::route::{GrpcRouteSpec, HttpRouteSpec};
use crate::spec::known_ports::{KnownPorts, Source};
use crate::spec::left_out::{LeftOut, separate_left_out};
use crate::spec::metrics::MetricsSettings;
use crate::spec::mirror::settings::MirrorSettings;
use crate::spec::outlier::OutlierSettings;
use crate::spec::place::List;
use crate::spec::proxy::{MESH, NoMetadata, NodeMetadata, Proxy, ProxySettings, read_namespace};
use crate::spec::router::RouterSettings;
use crate::spec::sampling::Sampling;
use crate::spec::scope::Scope;
use crate::spec::service::Service;
use crate::spec::service_entry::ServiceEntry;
use crate::spec::shadow::ShadowPolicy;
use crate::spec::sni::SniSettings;
use crate::spec::tls_route::TlsRoutes;
use crate::spec::virtual_service::{ROUTES, VirtualService};
use crate::spec::virtual_services::VirtualServices;
use crate::value::host_name::qualify;

/// A document, compiled for some filters. Fields that none of them uses are checked and left empty.
#[derive(Debug, Default)]
pub struct Document {
    /// `virtualServices[].http`
    pub services: Arc<VirtualServices>,
    /// `shadow`, for the router alone
    pub shadow: Option<Arc<VirtualServices>>,
    /// `router`
    pub router: RouterSettings,
    /// `sampling`
    pub sampling: Sampling,
    /// Whether requests for hosts without virtual service pass (`unmatchedHosts: pass`)
    pub passes_unmatched_hosts: bool,
    /// `faults`, without its rules
    pub faults: FaultSettings,
    /// `faults.rules`, for all hosts, if there are any
    pub fault_rules: Option<Arc<VirtualServices>>,
    /// `destinationRules`
    pub destination_rules: Arc<DestinationRules>,
    /// `mirroring`
    pub mirroring: MirrorSettings,
    /// `metrics`
    pub metrics: MetricsSettings,
    /// `virtualServices[].tls`
    pub tls: Arc<TlsRoutes>,
    /// Hosts of the virtual services that apply to this proxy; short names are not completed
    pub hosts: Vec<String>,
    /// `sni`
    pub sni: SniSettings,
    /// `serviceEntries`, `outboundTrafficPolicy` and `egress`
    pub egress: EgressFields,
    /// `explain`, if the document has it
    pub explain: Option<Arc<ExplainSettings>>,
    /// HTTP rules that do not apply to this proxy
    pub left_out: Vec<LeftOut>,
}

fields!(Document as "PluginDocument",
    "Configuration of Sluice's filters. Each filter checks all of it.", {
    "namespace": Kind::LABEL =>
        "Namespace that completes short host names; they are not completed if absent.";
    "clusterName": Kind::Pattern(CLUSTER_NAME) =>
        "Pattern of Envoy's cluster names, with the placeholders {host}, {subset} and {port}; a \
         part in [...] is omitted if a placeholder in it is empty. Default: \
         outbound|{port}|{subset}|{host}, as in Istio.";
    "proxy": Kind::Object(ProxySettings::schema) =>
        "Properties of this proxy, for conditions on the proxy. Default: Envoy's node metadata.";
    "virtualServices": Kind::List(&Kind::AnyOf(&Kind::Object(VirtualService::schema), &ROUTES)) =>
        "The spec of each Istio VirtualService.";
    "httpRoutes": Kind::List(&Kind::Object(HttpRouteSpec::schema)) =>
        "The spec of each HTTPRoute of the Gateway API.";
    "grpcRoutes": Kind::List(&Kind::Object(GrpcRouteSpec::schema)) =>
        "The spec of each GRPCRoute of the Gateway API.";
    "destinationRules": Kind::List(&Kind::Object(DestinationRule::schema)) =>
        "The spec of each Istio DestinationRule; the filters carry out only its outlier detection.";
    "serviceEntries": Kind::List(&Kind::Object(ServiceEntry::schema)) =>
        "The spec of each Istio ServiceEntry.";
    "services": Kind::List(&Kind::Object(Service::schema)) =>
        "Services with their ports, for destinations without a port.";
    "outboundTrafficPolicy": Kind::Object(OutboundTrafficPolicy::schema) =>
        "Which destinations clients may call; required by the egress filter.";
    "unmatchedHosts": Kind::OneOf(&UNMATCHED_HOSTS) =>
        "What happens to requests for hosts without VirtualService: notFound (default) answers \
         404, pass leaves them to Envoy's own routes.";
    "shadow": Kind::Object(ShadowPolicy::schema) =>
        "A second policy, whose decisions are only compared with those of the document.";
    "router": Kind::Object(RouterSettings::schema) => "Settings of the router.";
    "sampling": Kind::Object(Sampling::schema) =>
        "Makes random choices depend on the user, so that a user always gets the same choice.";
    "faults": Kind::Object(FaultSettings::schema) => "Settings and limits of the fault filter.";
    "mirroring": Kind::Object(MirrorSettings::schema) =>
        "Which requests may be copied, and how responses to copies are compared.";
    "metrics": Kind::Object(MetricsSettings::schema) => "Statistics that are off by default.";
    "sni": Kind::Object(SniSettings::schema) => "Checks of the sni filter on TLS server names.";
    "egress": Kind::Object(EgressSettings::schema) => "Settings of the egress filter.";
    "outlier": Kind::Object(OutlierSettings::schema) => "Settings of the outlier filter.";
    "explain": Kind::AnyOf(&Kind::Object(ExplainSettings::schema), &EXPLAINED) =>
        "Who gets an explanation of a filter's decision; nobody if absent.";
});

/// Patterns of cluster names: visible ASCII characters and known placeholders.
const CLUSTER_NAME: &str = r"([!-z|~]|\{(host|subset|port)\})+";

const EXPLAINED: [&str; 3] = ["secret", "secretSha256", "logPercentage"];

const UNMATCHED_HOSTS: [&str; 2] = ["notFound", "pass"];

impl Document {
    /// Compiles the bytes of a document for the given filters, on the proxy that `metadata`
    /// describes. Returns the notices too: they list fields that have no effect or that another
    /// component handles.
    ///
    /// # Errors
    /// Rejects a document with at least one error as a whole, and returns all errors.
    pub fn parse(
        document: &[u8],
        filters: impl Into<Filters>,
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let filters = filters.into();
        Self::parse_for(document, &|_| filters, metadata)
    }

    /// Like [`Document::parse`], for filters that depend on the document.
    ///
    /// # Errors
    /// Like [`Document::parse`].
    #[inline(never)]
    pub fn parse_for(
        document: &[u8],
        filters: &dyn Fn(&Json) -> Filters,
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let json = parse(document).map_err(|reason| Rejection {
            errors: vec![Finding::new(String::new(), report::Kind::Error, reason)],
        })?;
        let filters = filters(&json);
        Self::compile(&json, filters, metadata)
    }

    /// Like [`Document::parse`], for a document that is already parsed as JSON.
    ///
    /// # Errors
    /// Like [`Document::parse`].
    pub fn compile(
        json: &Json,
        filters: impl Into<Filters>,
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let filters = filters.into().in_module(metadata.is_native());
        let filters = filters.that_call(metadata.can_call());
        let report = Report::new(filters);
        let read = Self::read(&Node::root(json, &report), metadata);
        let mut notices = report.finish(json)?;
        // `finish` returned no error, so `read` contains a document.
        let document = read.unwrap_or_default();
        if filters.contains(Filter::Sni) {
            notices.extend(document.tls.unreachable().into_iter().map(|(path, earlier)| {
                let reason = "is never reached, an earlier match has its server names";
                Finding::new(path.to_owned(), report::Kind::NeverReached, reason)
                    .with_other(earlier.to_owned())
            }));
        }
        Ok((document, notices))
    }

    fn read(node: &Node<'_>, metadata: &dyn NodeMetadata) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let proxy = object.optional("proxy", |node| Proxy::read(node, metadata));
        let namespace = object.optional("namespace", read_namespace);
        let template = object.optional("clusterName", ClusterTemplate::read);
        let sampling = object.optional("sampling", Sampling::read);
        let unmatched = object.optional("unmatchedHosts", |node| node.one_of(&UNMATCHED_HOSTS));
        let router = object.optional("router", RouterSettings::read);
        let mirroring = object.optional("mirroring", MirrorSettings::read);
        let metrics = object.optional("metrics", MetricsSettings::read);
        let sni = object.optional("sni", SniSettings::read);
        require_fields(&object, &sni);
        let entries = object.list("serviceEntries", ServiceEntry::read);
        let outbound = object.optional("outboundTrafficPolicy", OutboundTrafficPolicy::read);
        let egress = object.optional("egress", EgressSettings::read);
        let outlier = object.optional("outlier", OutlierSettings::read);
        let explain = object.optional("explain", ExplainSettings::read);

        // If a field below has an error, the rest of the document is read with an unknown value.
        let own_proxy = match proxy {
            Ok(proxy) => proxy.unwrap_or_else(|| Proxy::new(metadata)),
            Err(_) => Proxy::unknown(metadata),
        };
        let own_namespace = namespace.as_ref().ok().and_then(Option::as_deref);
        let scope = Scope::of_document(own_namespace, &own_proxy);
        let faults = object.optional("faults", |node| FaultSettings::read(node, &scope));
        let own_services = object.list_with("services", |node| Service::read(node, own_namespace));
        let mut naming = Naming {
            namespace: own_namespace.map(str::to_owned),
            template: match &template {
                Ok(template) => template.clone().unwrap_or_default(),
                Err(_) => ClusterTemplate::unknown(),
            },
            ports: None,
            called: own_proxy.port,
            by_port: Arc::default(),
        };
        if names_clusters(node.filters()) && naming.template.has_port() {
            naming.ports = known_ports(&own_services, &entries, own_namespace);
        }
        let of_outlier = outlier.as_ref().ok().copied().flatten().unwrap_or_default();
        let rules = object.optional("destinationRules", |node| {
            DestinationRules::read(node, &naming, &own_proxy, of_outlier)
        });
        let services = object
            .elements("virtualServices")
            .and_then(|nodes| delegates::read(&nodes, List::VirtualServices, &naming, &own_proxy));
        let routes = gateway_api::read(&object, &naming, &own_proxy);
        let is_sidecar = own_proxy.serves(&[MESH.to_owned()]);
        let shadow = object.optional("shadow", |node| {
            let of_routes = routes.as_deref().unwrap_or_default();
            let naming = naming.counting_anew();
            ShadowPolicy::read(node, of_routes, &naming, &own_proxy, is_sidecar)
        });

        notice_by_port(&object, naming.by_port.load(Relaxed));
        namespace?;
        template?;
        outlier?;
        own_services?;
        let mut services = services?;
        // They come after the virtual services of the same host.
        services.append(&mut routes?);
        let (services, left_out) = separate_left_out(services, naming.namespace.as_deref());
        let filters = node.filters();
        let entered = if filters.need(&VirtualService::HTTP_FILTERS) {
            VirtualServices::new(&services, naming.namespace.as_deref(), is_sidecar)
        } else {
            VirtualServices::default()
        };
        let (mut tls, mut hosts) = (Vec::new(), Vec::new());
        for mut service in services {
            tls.append(&mut service.tls);
            hosts.append(&mut service.hosts);
        }
        let (faults, fault_rules) = faults?.unwrap_or_default();
        Ok(Self {
            services: Arc::new(entered),
            shadow: shadow?.flatten().map(Arc::new),
            router: router?.unwrap_or_default(),
            sampling: sampling?.unwrap_or_default(),
            passes_unmatched_hosts: unmatched? == Some("pass"),
            faults,
            fault_rules: fault_rules.map(Arc::new),
            destination_rules: Arc::new(rules?.unwrap_or_default()),
            mirroring: mirroring?.unwrap_or_default(),
            metrics: metrics?.unwrap_or_default(),
            tls: Arc::new(if filters.need(&[Filter::Sni]) {
                TlsRoutes::new(tls)
            } else {
                TlsRoutes::default()
            }),
            hosts,
            sni: sni?.unwrap_or_default(),
            egress: EgressFields {
                entries: entries?,
                has_policy: matches!(outbound, Ok(Some(_))),
                allows_any: outbound?.unwrap_or_default(),
                settings: egress?.unwrap_or_default(),
            },
            explain: explain?.map(Arc::new),
            left_out,
        })
    }

    /// Returns how the document `json`, which has no errors, names destinations. The filters do not
    /// keep this, because it would fragment the heap of the module.
    pub fn naming(json: &Json) -> Naming {
        let report = Report::new(Filters::NONE);
        let Ok(object) = Node::root(json, &report).object::<Self>() else {
            return Naming::default();
        };
        let namespace = object.optional("namespace", read_namespace).ok().flatten();
        let template = object.optional("clusterName", ClusterTemplate::read).ok().flatten();
        let proxy = object.optional("proxy", |node| Proxy::read(node, &NoMetadata)).ok().flatten();
        let read = |node: &Node<'_>| Service::read(node, namespace.as_deref());
        let services = object.list_with("services", read);
        let entries = object.list("serviceEntries", ServiceEntry::read);
        let ports = known_ports(&services, &entries, namespace.as_deref());
        let (template, called) = (template.unwrap_or_default(), proxy.and_then(|own| own.port));
        Naming { namespace, template, ports, called, by_port: Arc::default() }
    }
}

/// Returns whether one of the filters names clusters.
fn names_clusters(filters: Filters) -> bool {
    [Filter::Mirror, Filter::Router, Filter::Sni].into_iter().any(|own| filters.contains(own))
}

/// Returns the ports in `services` and `serviceEntries`; none of a list with an error, and `None`
/// without both lists.
fn known_ports(
    services: &Result<Vec<Service>, Reported>,
    entries: &Result<Vec<ServiceEntry>, Reported>,
    namespace: Option<&str>,
) -> Option<Arc<KnownPorts>> {
    let mut known = KnownPorts::default();
    for Service { host, ports } in services.iter().flatten() {
        ports.iter().for_each(|port| known.add(host, *port, Source::Service));
    }
    for entry in entries.iter().flatten() {
        for host in &entry.hosts {
            let host = qualify(host, namespace);
            let numbers = entry.ports.iter().map(|port| port.number);
            numbers.for_each(|port| known.add(&host, port, Source::ServiceEntry));
        }
    }
    (!known.is_empty()).then(|| Arc::new(known))
}

/// Reports destinations whose cluster depends on the port of the request: to the filters that name
/// clusters, and once for all destinations.
fn notice_by_port(object: &Object<'_>, count: usize) {
    let is_told = names_clusters(object.node.filters()) && count > 0;
    if let Some(node) = object.field("virtualServices").filter(|_| is_told) {
        let reason = format_args!(
            "destinations without a port: {count}; their clusters have the port that the client \
             called"
        );
        node.notice(report::Kind::Inferred, reason);
    }
}

/// Reports missing fields that the filters require. `sni` contains the settings of the sni filter,
/// which needs virtual services only for its routes and for its list of allowed hosts.
fn require_fields(object: &Object<'_>, sni: &Result<Option<SniSettings>, Reported>) {
    let filters = object.node.filters();
    let routed = [Filter::Fault, Filter::Mirror, Filter::Router];
    let is_required = routed.into_iter().any(|filter| filters.contains(filter));
    // Settings with an error may be those that make virtual services unnecessary.
    let is_used_by_sni = sni.as_ref().is_ok_and(|settings| {
        settings.as_ref().is_none_or(|settings| settings.routing && settings.hosts.is_none())
    });
    if is_required || (filters.contains(Filter::Sni) && is_used_by_sni) {
        let exception =
            if is_required { "" } else { ", unless sni.routing is false or sni.hosts is given" };
        let is_filled = |name| object.field(name).is_some_and(|node| !node.is_empty_list());
        let has_routes =
            [List::HttpRoutes, List::GrpcRoutes].map(List::name).into_iter().any(is_filled);
        match object.field("virtualServices") {
            _ if has_routes => {}
            None => {
                _ = object.absent("virtualServices", format_args!("is required{exception}"));
            }
            Some(node) if node.is_empty_list() => {
                _ = node.error(format_args!("must not be empty{exception}"));
            }
            Some(_) => {}
        }
    }
    // Required, because Istio has two defaults: ALLOW_ANY for the mesh, REGISTRY_ONLY in a Sidecar.
    if filters.contains(Filter::Egress) {
        _ = object.required("outboundTrafficPolicy");
    }
    if object.field("destinationRules").is_none() {
        let reason = "has no destinationRules, so nothing is done";
        object.node.notice_to(Filter::Outlier, report::Kind::NoEffect, reason);
    }
}
