//! All policies for an HTTP request, in the order of the filter chain: egress, fault, mirror,
//! router.
//!
//! They share the rule that applies to a request. A policy that the document does not need is
//! absent, so it costs nothing.

use std::sync::Arc;

use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::egress::Egress;
use crate::fault::Faults;
use crate::mirror::Mirrors;
use crate::request::Request;
use crate::router::Router;
use crate::spec::document::Document;
use crate::spec::policy::Policy;
use crate::spec::virtual_services::{Match, NoMatch, VirtualServices};

/// The policies of a document.
#[derive(Debug, Default)]
pub struct Chain {
    services: Arc<VirtualServices>,
    /// The policy of outbound traffic; `None` if the document has no `outboundTrafficPolicy`
    pub egress: Option<Arc<Egress>>,
    /// The faults; `None` if no request can have one
    pub faults: Option<Arc<Faults>>,
    /// The mirrors; `None` if no request can have copies
    pub mirrors: Option<Arc<Mirrors>>,
    /// The routes
    pub router: Arc<Router>,
}

impl Policy for Chain {
    /// The settings `egress` without `outboundTrafficPolicy` are an error, as in the egress filter:
    /// they would have no effect.
    fn filters(document: &Json) -> Filters {
        let has = |name| document.field(name).is_some_and(|json| *json != Json::Null);
        let is_limited = has("outboundTrafficPolicy") || has("egress");
        let egress = is_limited.then_some(Filter::Egress);
        [Filter::Fault, Filter::Mirror, Filter::Router].into_iter().chain(egress).collect()
    }

    fn new(document: &Document) -> Self {
        let faults = Faults::new(document);
        let has_mirrors = document.services.any_route(|route| !route.mirrors.is_empty());
        Self {
            services: Arc::clone(&document.services),
            egress: document.egress.has_policy.then(|| Arc::new(Egress::new(document))),
            faults: faults.may_inject().then(|| Arc::new(faults)),
            mirrors: has_mirrors.then(|| Arc::new(Mirrors::new(document))),
            router: Arc::new(Router::new(document)),
        }
    }
}

impl Chain {
    /// Returns the rule that applies to a request.
    ///
    /// # Errors
    /// [`NoMatch`] if no rule matches the request.
    #[inline]
    pub fn find(&self, request: &Request<'_>) -> Result<Match<'_>, NoMatch> {
        self.services.find(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::proxy::NoMetadata;

    fn compile(more: &str, rule: &str) -> Result<(Chain, Vec<String>), String> {
        let document = format!(
            r#"{{"clusterName": "{{host}}", {more} "virtualServices": [{{"hosts": ["a"], "http": [
                {{{rule} "route": [{{"destination": {{"host": "b"}}}}]}}]}}]}}"#
        );
        let compiled = Chain::compile(document.as_bytes(), &NoMetadata);
        let (chain, notices) = compiled.map_err(|rejection| rejection.to_string())?;
        Ok((chain, notices.iter().map(ToString::to_string).collect()))
    }

    /// Whether there are egress, faults and mirrors.
    fn parts(more: &str, rule: &str) -> [bool; 3] {
        let (chain, notices) = compile(more, rule).unwrap();
        assert_eq!(notices, [""; 0]);
        [chain.egress.is_some(), chain.faults.is_some(), chain.mirrors.is_some()]
    }

    const ALLOW_ANY: &str = r#""outboundTrafficPolicy": {"mode": "ALLOW_ANY"},"#;

    #[test]
    fn a_document_has_the_policies_that_it_needs() {
        assert_eq!(parts("", ""), [false, false, false]);
        assert_eq!(parts(ALLOW_ANY, ""), [true, false, false]);
        assert_eq!(parts(r#""outboundTrafficPolicy": null,"#, ""), [false, false, false]);
        let abort = r#""fault": {"abort": {"httpStatus": 503}},"#;
        assert_eq!(parts("", abort), [false, true, false]);
        let headers = r#""faults": {"headers": {"abort": {"value": 1}}},"#;
        assert_eq!(parts(headers, ""), [false, true, false]);
        assert_eq!(parts("", r#""mirror": {"host": "c"},"#), [false, false, true]);
    }

    #[test]
    fn settings_of_egress_need_its_policy() {
        let more = r#""egress": {"blockStatus": 403},"#;
        assert_eq!(compile(more, "").unwrap_err(), "outboundTrafficPolicy: is required");
        assert!(compile(&[more, ALLOW_ANY].concat(), "").is_ok());
    }
}
