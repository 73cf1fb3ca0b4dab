//! The routes one by one, for whoever does not ask for a decision but looks at the rules.

use std::rc::Rc;

use super::VirtualServices;
use crate::http_route::HttpRoute;
use crate::request::Request;

impl VirtualServices {
    /// The routes of each virtual host, in the order in which they are tried.
    pub(crate) fn lists(&self) -> impl Iterator<Item = Vec<&Rc<HttpRoute>>> {
        self.routes.iter().map(|routes| routes.iter().collect())
    }

    /// The routes that are tried for a request; `None` where no virtual service has its host.
    pub(crate) fn candidates(&self, request: &Request<'_>) -> Option<Vec<&Rc<HttpRoute>>> {
        Some(self.routes.get(self.virtual_hosts.find(request.authority)?)?.iter().collect())
    }
}
