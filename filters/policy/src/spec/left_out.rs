//! HTTP rules that do not apply to this proxy.

use std::sync::Arc;

use crate::spec::place::Place;
use crate::spec::virtual_service::VirtualService;

/// Rules that do not apply to this proxy because of its gateways, labels, namespace or port. The
/// compiled filters do not contain them.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// Place of the virtual service, route or match
    pub place: Place,
    /// Hosts of the virtual service; short names are completed
    pub hosts: Arc<[String]>,
}

/// Returns the virtual services that apply to this proxy, and the rules that do not.
pub(crate) fn separate_left_out(
    services: Vec<VirtualService>,
    namespace: Option<&str>,
) -> (Vec<VirtualService>, Vec<LeftOut>) {
    let mut left_out = Vec::new();
    for service in services.iter().filter(|service| !service.left_out.is_empty()) {
        let hosts: Arc<[String]> =
            service.hosts.iter().map(|host| service.domain(host, namespace)).collect();
        let places = service.left_out.iter();
        left_out.extend(places.map(|place| LeftOut { place: *place, hosts: Arc::clone(&hosts) }));
    }
    (services.into_iter().filter(|service| service.is_for_this_proxy).collect(), left_out)
}
