//! A configuration document: what all filters share. Every filter takes the same document, checks
//! all of it and uses what it needs.

use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::node::{Node, Object};
use crate::document::report::{Finding, Rejection, Report};
use crate::spec::destination::{ClusterTemplate, Naming};
use crate::spec::destination_rule::DestinationRules;
use crate::spec::egress::{EgressFields, EgressSettings, read_outbound_traffic_policy};
use crate::spec::fault::settings::FaultSettings;
use crate::spec::mirror::settings::MirrorSettings;
use crate::spec::proxy::{NodeMetadata, Proxy};
use crate::spec::sampling::Sampling;
use crate::spec::service_entry::ServiceEntry;
use crate::spec::sni::SniSettings;
use crate::spec::tls_route::TlsRoute;
use crate::spec::virtual_service::VirtualService;
use crate::spec::virtual_services::VirtualServices;
use crate::value::host_name;

/// A document, compiled.
#[derive(Debug, Default)]
pub struct Document {
    /// `virtualServices`
    pub services: VirtualServices,
    /// `sampling`
    pub sampling: Sampling,
    /// Whether requests for hosts of no virtual service pass (`unmatchedHosts: pass`)
    pub passes_unmatched_hosts: bool,
    /// `faults`
    pub faults: FaultSettings,
    /// `destinationRules`
    pub destination_rules: DestinationRules,
    /// `mirroring`
    pub mirroring: MirrorSettings,
    /// `tls` of the virtual services that are for this proxy, in order
    pub tls: Vec<TlsRoute>,
    /// The hosts of the virtual services that are for this proxy, as they are written
    pub hosts: Vec<String>,
    /// `sni`
    pub sni: SniSettings,
    /// `serviceEntries`, `outboundTrafficPolicy` and `egress`
    pub egress: EgressFields,
}

impl Document {
    /// Compiles a document for a filter on the proxy that `metadata` describes. Along with it come
    /// notices: what is accepted and left to others.
    ///
    /// # Errors
    /// A document with any error is rejected as a whole, with all of its errors.
    pub fn parse(
        document: &[u8],
        filter: Filter,
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let json = Json::parse(document).map_err(|reason| Rejection {
            errors: vec![Finding { path: String::new(), reason }],
        })?;
        Self::compile(&json, filter, metadata)
    }

    /// As [`Document::parse`], of a tree.
    pub(crate) fn compile(
        json: &Json,
        filter: Filter,
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let report = Report::new(filter);
        let read = Self::read(&Node::root(json, &report), filter, metadata);
        let notices = report.finish(json)?;
        Ok((read.unwrap_or_default(), notices))
    }

    fn read(node: &Node<'_>, filter: Filter, metadata: &dyn NodeMetadata) -> Option<Self> {
        let mut object = node.object()?;
        let proxy = Proxy::read(object.field("proxy").as_ref(), metadata);
        let namespace = object.field("namespace").and_then(|node| {
            let namespace = node.string().filter(|namespace| host_name::is_label(namespace));
            if namespace.is_none() {
                node.invalid("is not a namespace");
            }
            namespace.map(str::to_owned)
        });
        let template = object.field("clusterName").map(|node| ClusterTemplate::read(&node));
        let naming = Naming { namespace, template: template.unwrap_or_default() };
        let sampling = object.field("sampling").and_then(|node| Sampling::read(&node));
        let unmatched =
            object.field("unmatchedHosts").and_then(|node| node.one_of(&["notFound", "pass"]));
        let faults = object.field("faults").and_then(|node| FaultSettings::read(&node));
        let rules = object.field("destinationRules");
        let rules = rules.map(|node| DestinationRules::read(&node, &naming, &proxy));
        if rules.is_none() {
            node.notice_to(Filter::Outlier, "has no destinationRules, so nothing is done");
        }
        let mirroring = object.field("mirroring").and_then(|node| MirrorSettings::read(&node));
        let sni = object.field("sni").and_then(|node| SniSettings::read(&node));
        // Who may be called, and which hosts are out, has nothing to do with routes.
        let nodes = match filter {
            Filter::Egress | Filter::Outlier => object.list("virtualServices"),
            _ => object.required_list("virtualServices"),
        };
        let egress = read_egress(&mut object, filter);
        let read = |(index, node): (usize, &Node<'_>)| {
            let path = format!("virtualServices[{index}]");
            VirtualService::read(node, &path, &naming, &proxy)
        };
        let services: Vec<_> = nodes.iter().enumerate().filter_map(read).collect();
        let services: Vec<_> =
            services.into_iter().filter(|service| service.is_for_this_proxy).collect();
        let entered = VirtualServices::new(&services, naming.namespace.as_deref());
        let (mut tls, mut hosts) = (Vec::new(), Vec::new());
        for mut service in services {
            tls.append(&mut service.tls);
            hosts.append(&mut service.hosts);
        }
        Some(Self {
            services: entered,
            sampling: sampling.unwrap_or_default(),
            passes_unmatched_hosts: unmatched == Some("pass"),
            faults: faults.unwrap_or_default(),
            destination_rules: rules.unwrap_or_default(),
            mirroring: mirroring.unwrap_or_default(),
            tls,
            hosts,
            sni: sni.unwrap_or_default(),
            egress,
        })
    }
}

fn read_egress(object: &mut Object<'_>, filter: Filter) -> EgressFields {
    let entries = object.list("serviceEntries");
    // Istio has two defaults: ALLOW_ANY for the mesh, REGISTRY_ONLY in a Sidecar.
    let policy = if filter == Filter::Egress {
        object.required("outboundTrafficPolicy")
    } else {
        object.field("outboundTrafficPolicy")
    };
    let settings = object.field("egress").and_then(|node| EgressSettings::read(&node));
    EgressFields {
        entries: entries.iter().filter_map(ServiceEntry::read).collect(),
        allows_any: policy.and_then(|node| read_outbound_traffic_policy(&node)).unwrap_or_default(),
        settings: settings.unwrap_or_default(),
    }
}
