//! The configuration document. Every filter takes the same document, checks all of it and uses what
//! it needs.

use std::rc::Rc;

use crate::document::fields::fields;
use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::document::node::{Node, Object, all};
use crate::document::parse::parse;
use crate::document::report::{self, Finding, Rejection, Report, Reported};
use crate::spec::destination::{ClusterTemplate, Naming};
use crate::spec::destination_rule::{DestinationRule, DestinationRules};
use crate::spec::egress::{EgressFields, EgressSettings, OutboundTrafficPolicy};
use crate::spec::fault::settings::FaultSettings;
use crate::spec::mirror::settings::MirrorSettings;
use crate::spec::place::Place;
use crate::spec::proxy::{NodeMetadata, Proxy, ProxySettings, read_namespace};
use crate::spec::sampling::Sampling;
use crate::spec::service_entry::ServiceEntry;
use crate::spec::sni::SniSettings;
use crate::spec::tls_route::TlsRoutes;
use crate::spec::virtual_service::VirtualService;
use crate::spec::virtual_services::{VirtualServices, domain};

/// A document, compiled.
#[derive(Debug, Default)]
pub struct Document {
    /// `virtualServices[].http`
    pub services: Rc<VirtualServices>,
    /// `sampling`
    pub sampling: Sampling,
    /// Whether requests for hosts without virtual service pass (`unmatchedHosts: pass`)
    pub passes_unmatched_hosts: bool,
    /// `faults`
    pub faults: FaultSettings,
    /// `destinationRules`
    pub destination_rules: Rc<DestinationRules>,
    /// `mirroring`
    pub mirroring: MirrorSettings,
    /// `virtualServices[].tls`
    pub tls: Rc<TlsRoutes>,
    /// The hosts of the virtual services that are for this proxy, as they are written
    pub hosts: Vec<String>,
    /// `sni`
    pub sni: SniSettings,
    /// `serviceEntries`, `outboundTrafficPolicy` and `egress`
    pub egress: EgressFields,
    /// The HTTP rules that are not for this proxy
    pub left_out: Vec<LeftOut>,
}

/// Rules that are not for this proxy, by its gateways, labels or namespace. The filters do not have
/// them at all.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The place of a virtual service, route or match
    pub place: Place,
    /// The hosts of the virtual service, complete
    pub hosts: Rc<[String]>,
}

fields!(Document as "PluginDocument",
    "The configuration of Sluice's filters. Each filter checks all of it and uses what it needs.", {
    "namespace": Kind::Text =>
        "Completes short host names; without it they stay as they are.";
    "clusterName": Kind::Text =>
        "The pattern of the names of Envoy's clusters, with {host}, {subset} and {port}; a part in \
         [...] is left out when a placeholder in it is empty. Default: \
         outbound|{port}|{subset}|{host}, as in Istio.";
    "proxy": Kind::Object(ProxySettings::schema) =>
        "What this proxy is, for conditions on the proxy. Default: Envoy's node metadata.";
    "virtualServices": Kind::List(&Kind::Object(VirtualService::schema)) =>
        "The spec of each VirtualService of Istio.";
    "destinationRules": Kind::List(&Kind::Object(DestinationRule::schema)) =>
        "The spec of each DestinationRule of Istio; the filters carry out its outlier detection.";
    "serviceEntries": Kind::List(&Kind::Object(ServiceEntry::schema)) =>
        "The spec of each ServiceEntry of Istio.";
    "outboundTrafficPolicy": Kind::Object(OutboundTrafficPolicy::schema) => "Who may be called.";
    "unmatchedHosts": Kind::OneOf(&UNMATCHED_HOSTS) =>
        "Requests for hosts without VirtualService: notFound (default), which answers 404, or pass, \
         which leaves them to Envoy's own routes.";
    "sampling": Kind::Object(Sampling::schema) => "Draws that are sticky by user.";
    "faults": Kind::Object(FaultSettings::schema) => "Limits of the fault filter.";
    "mirroring": Kind::Object(MirrorSettings::schema) =>
        "Conditions on copies, and how copies are compared.";
    "sni": Kind::Object(SniSettings::schema) => "How strictly server names are compared.";
    "egress": Kind::Object(EgressSettings::schema) => "Settings of the egress filter.";
});

const UNMATCHED_HOSTS: [&str; 2] = ["notFound", "pass"];

impl Document {
    /// Compiles the bytes of a document for some filters, on the proxy that `metadata` describes.
    /// Returns the notices as well: what is accepted and has no effect, or is left to others.
    ///
    /// # Errors
    /// A document with any error is rejected as a whole, with all of its errors.
    pub fn parse(
        document: &[u8],
        filters: impl Into<Filters>,
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let json = parse(document).map_err(|reason| Rejection {
            errors: vec![Finding::new(String::new(), report::Kind::Error, reason)],
        })?;
        Self::compile(&json, filters, metadata)
    }

    /// As [`Document::parse`], from a tree.
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub fn compile(
        json: &Json,
        filters: impl Into<Filters>,
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let report = Report::new(filters);
        let filters = report.filters();
        let read = Self::read(&Node::root(json, &report), metadata);
        let mut notices = report.finish(json)?;
        // Without an error there is a document.
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
        require_fields(&object);
        let proxy = object.optional("proxy", |node| Proxy::read(node, metadata));
        let namespace = object.optional("namespace", read_namespace);
        let template = object.optional("clusterName", ClusterTemplate::read);
        let sampling = object.optional("sampling", Sampling::read);
        let unmatched = object.optional("unmatchedHosts", |node| node.one_of(&UNMATCHED_HOSTS));
        let faults = object.optional("faults", FaultSettings::read);
        let mirroring = object.optional("mirroring", MirrorSettings::read);
        let sni = object.optional("sni", SniSettings::read);
        let entries = object.list("serviceEntries", ServiceEntry::read);
        let outbound = object.optional("outboundTrafficPolicy", OutboundTrafficPolicy::read);
        let egress = object.optional("egress", EgressSettings::read);

        // Where one of these has an error, the rest is read as if it were unknown.
        let naming = Naming {
            namespace: namespace.clone().unwrap_or_default(),
            template: match &template {
                Ok(template) => template.clone().unwrap_or_default(),
                Err(_) => ClusterTemplate::unknown(),
            },
        };
        let own_proxy = match proxy {
            Ok(proxy) => proxy.unwrap_or_else(|| Proxy::new(metadata)),
            Err(_) => Proxy::unknown(metadata),
        };
        let rules = object
            .optional("destinationRules", |node| DestinationRules::read(node, &naming, &own_proxy));
        let services = object.elements("virtualServices").and_then(|nodes| {
            all(nodes
                .iter()
                .enumerate()
                .map(|(index, node)| VirtualService::read(node, index, &naming, &own_proxy)))
        });

        namespace?;
        template?;
        let services = services?;
        let (services, left_out) = sort_out(services, naming.namespace.as_deref());
        let entered = VirtualServices::new(&services, naming.namespace.as_deref());
        let (mut tls, mut hosts) = (Vec::new(), Vec::new());
        for mut service in services {
            tls.append(&mut service.tls);
            hosts.append(&mut service.hosts);
        }
        Ok(Self {
            services: Rc::new(entered),
            sampling: sampling?.unwrap_or_default(),
            passes_unmatched_hosts: unmatched? == Some("pass"),
            faults: faults?.unwrap_or_default(),
            destination_rules: Rc::new(rules?.unwrap_or_default()),
            mirroring: mirroring?.unwrap_or_default(),
            tls: Rc::new(TlsRoutes::new(tls)),
            hosts,
            sni: sni?.unwrap_or_default(),
            egress: EgressFields {
                entries: entries?,
                allows_any: outbound?.unwrap_or_default(),
                settings: egress?.unwrap_or_default(),
            },
            left_out,
        })
    }
}

/// Reports the absence of fields that the filters require.
fn require_fields(object: &Object<'_>) {
    let filters = object.node.filters();
    let routed = [Filter::Fault, Filter::Mirror, Filter::Router, Filter::Sni];
    if routed.into_iter().any(|filter| filters.contains(filter)) {
        match object.required("virtualServices") {
            Ok(node) if node.is_empty_list() => _ = node.error("must not be empty"),
            Ok(_) | Err(_) => {}
        }
    }
    // Istio has two defaults: ALLOW_ANY for the mesh, REGISTRY_ONLY in a Sidecar.
    if filters.contains(Filter::Egress) {
        _ = object.required("outboundTrafficPolicy");
    }
    if object.field("destinationRules").is_none() {
        let reason = "has no destinationRules, so nothing is done";
        object.node.notice_to(Filter::Outlier, report::Kind::NoEffect, reason);
    }
}

/// The virtual services that are for this proxy, and the rules that are not.
fn sort_out(
    services: Vec<VirtualService>,
    namespace: Option<&str>,
) -> (Vec<VirtualService>, Vec<LeftOut>) {
    let mut left_out = Vec::new();
    for service in services.iter().filter(|service| !service.left_out.is_empty()) {
        let hosts: Rc<[String]> =
            service.hosts.iter().map(|host| domain(host, namespace)).collect();
        let places = service.left_out.iter();
        left_out.extend(places.map(|place| LeftOut { place: *place, hosts: Rc::clone(&hosts) }));
    }
    (services.into_iter().filter(|service| service.is_for_this_proxy).collect(), left_out)
}
