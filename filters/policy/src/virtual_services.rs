//! The virtual services of a document: which route a request takes. First the virtual host by the
//! authority, then the first of its routes that matches.

mod rules;

use std::rc::Rc;

use crate::host_name;
use crate::http_match::MatchedPath;
use crate::http_route::HttpRoute;
use crate::request::Request;
use crate::virtual_hosts::VirtualHosts;
use crate::virtual_service::VirtualService;

/// The compiled virtual services that are for this proxy.
#[derive(Debug, Default)]
pub struct VirtualServices {
    virtual_hosts: VirtualHosts,
    routes: Vec<Vec<Rc<HttpRoute>>>,
}

/// The route that a request takes.
#[derive(Debug)]
pub struct Match<'a> {
    /// The route
    pub route: &'a Rc<HttpRoute>,
    /// The name of the match for logs: Istio's route name, or the JSON path
    pub name: &'a str,
    /// The part of the path that it was about
    pub path: MatchedPath,
}

/// Why a request takes no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// No route of the virtual host matches.
    Route,
    /// No virtual service has the host.
    VirtualHost,
}

impl VirtualServices {
    /// Enters the hosts of all services. Routes of several services for one host stand one after
    /// another in document order, as Istio merges them for a gateway.
    pub fn new(services: &[VirtualService], namespace: Option<&str>) -> Self {
        let mut entered = Self::default();
        let mut aliases = Vec::new();
        for service in services {
            for host in &service.hosts {
                let domain = match host.parse::<std::net::Ipv6Addr>() {
                    Ok(_) => format!("[{host}]"),
                    Err(_) => host.clone(),
                };
                let full_name = host_name::qualify(&domain, namespace);
                let index = entered.virtual_hosts.entry(&full_name, entered.routes.len());
                if index == entered.routes.len() {
                    entered.routes.push(Vec::new());
                }
                if let Some(routes) = entered.routes.get_mut(index) {
                    routes.extend(service.routes.iter().cloned());
                }
                let others = host_name::aliases(&full_name, namespace);
                aliases.extend(others.into_iter().map(|alias| (alias, index)));
            }
        }
        // Last, so that a host that is written out wins over another's short name.
        for (alias, index) in aliases {
            entered.virtual_hosts.entry(&alias, index);
        }
        entered
    }

    /// The route that a request takes.
    ///
    /// # Errors
    /// [`NoMatch`] for a request that none is for.
    pub fn find(&self, request: &Request<'_>) -> Result<Match<'_>, NoMatch> {
        let index = self.virtual_hosts.find(request.authority);
        let routes = index.and_then(|index| self.routes.get(index)).ok_or(NoMatch::VirtualHost)?;
        let matched = routes.iter().find_map(|route| {
            let (name, path) = route.matches(request)?;
            Some(Match { route, name, path })
        });
        matched.ok_or(NoMatch::Route)
    }
}
