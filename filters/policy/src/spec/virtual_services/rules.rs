//! The routes one by one, for whoever does not ask for a decision but looks at the rules.

use std::rc::Rc;

use super::{Table, VirtualServices};
use crate::request::Request;
use crate::spec::http_route::HttpRoute;

impl VirtualServices {
    /// The routes of each virtual host, in the order in which they are tried.
    pub(crate) fn lists(&self) -> impl Iterator<Item = Vec<&Rc<HttpRoute>>> {
        self.tables.iter().map(|table| table.routes())
    }

    /// The routes that are tried for a request; `None` where no virtual service has its host.
    pub(crate) fn candidates(&self, request: &Request<'_>) -> Option<Vec<&Rc<HttpRoute>>> {
        Some(self.tables.get(self.virtual_hosts.find(request.authority)?)?.routes())
    }
}

impl Table {
    /// Each route once, where its first match stands.
    fn routes(&self) -> Vec<&Rc<HttpRoute>> {
        let mut routes: Vec<_> = self.rules.iter().map(|rule| &rule.route).collect();
        routes.dedup_by(|a, b| Rc::ptr_eq(a, b));
        routes
    }
}
