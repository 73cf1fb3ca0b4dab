//! `shadow` of a document: a second policy, which is compared with the rules of the document.

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::delegates;
use crate::spec::destination::Naming;
use crate::spec::left_out::separate_left_out;
use crate::spec::place::List;
use crate::spec::proxy::Proxy;
use crate::spec::virtual_service::{ROUTES, VirtualService};
use crate::spec::virtual_services::VirtualServices;

/// `shadow` of a document.
pub struct ShadowPolicy;

fields!(ShadowPolicy as "Shadow",
    "A second policy: the router counts the requests about which it decides in another way, and \
     carries out none of its decisions.", {
    "virtualServices" required:
        Kind::RequiredList(&Kind::AnyOf(&Kind::Object(VirtualService::schema), &ROUTES)) =>
        "The spec of each Istio VirtualService, in place of those of the document.";
});

impl ShadowPolicy {
    /// Reads `shadow: { virtualServices }`. `of_routes` are the virtual services for the routes of
    /// the Gateway API in the document, which both policies have. Returns `None` for filters that
    /// do not compare decisions.
    pub fn read(
        node: &Node<'_>,
        of_routes: &[VirtualService],
        naming: &Naming,
        proxy: &Proxy<'_>,
        is_sidecar: Option<bool>,
    ) -> Result<Option<VirtualServices>, Reported> {
        let nodes = node.object::<Self>()?.required_elements("virtualServices")?;
        let mut services = delegates::read(&nodes, List::ShadowVirtualServices, naming, proxy)?;
        if !node.filters().contains(Filter::Router) {
            return Ok(None);
        }
        let of_this_proxy = of_routes.iter().filter(|own| own.is_for_this_proxy);
        services.extend(
            of_this_proxy
                .map(|own| VirtualService::of_gateway_api(own.hosts.clone(), own.rules.clone())),
        );
        let namespace = naming.namespace.as_deref();
        let (services, _) = separate_left_out(services, namespace);
        Ok(Some(VirtualServices::new(&services, namespace, is_sidecar)))
    }
}
