//! `HTTPRouteRule` and `GRPCRouteRule`, compiled into routes like those of VirtualServices.

use std::sync::Arc;

use crate::document::fields::{Fields, fields};
use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::spec::destination::Naming;
use crate::spec::gateway_api::backend::{Backend, BackendRef};
use crate::spec::gateway_api::filter::{Filters, GrpcFilter, HttpFilter};
use crate::spec::gateway_api::grpc_match::{self, GrpcRouteMatch};
use crate::spec::gateway_api::http_match::{HttpRouteMatch, Ranked};
use crate::spec::gateway_api::timeouts::{self, Retry, Timeouts};
use crate::spec::http_route::{Action, HttpRoute};
use crate::spec::split::{Choice, InvalidSplit, Split};
use crate::spec::target::{Target, WeightedDestination, target};
use crate::value::header::FixedEdit;

/// `HTTPRouteRule`
pub struct HttpRule;

fields!(HttpRule as "GatewayHTTPRouteRule",
    "What happens to requests that satisfy one of the matches.", {
    "name": Kind::Text => "Name of the rule in logs.";
    "matches": Kind::List(&Kind::Object(HttpRouteMatch::schema)) =>
        "Matches, of which a request must satisfy one; all requests if absent.";
    "filters": Kind::List(&Kind::Object(HttpFilter::schema)) =>
        "What the rule does with requests and responses.";
    "backendRefs": Kind::List(&Kind::Object(BackendRef::schema)) =>
        "Services that get the requests; without a valid one, requests are answered with 500.";
    "timeouts": Kind::Object(Timeouts::schema) => "Timeouts; those of Envoy's route if absent.";
    "retry": Kind::Object(Retry::schema) =>
        "Retries of failed requests; those of Envoy's route if absent.";
    "sessionPersistence": Kind::Any => "Not carried out by the filters; set it in Envoy.";
});

/// `GRPCRouteRule`
pub struct GrpcRule;

fields!(GrpcRule as "GatewayGRPCRouteRule",
    "What happens to requests that satisfy one of the matches.", {
    "name": Kind::Text => "Name of the rule in logs.";
    "matches": Kind::List(&Kind::Object(GrpcRouteMatch::schema)) =>
        "Matches, of which a request must satisfy one; all requests if absent.";
    "filters": Kind::List(&Kind::Object(GrpcFilter::schema)) =>
        "What the rule does with requests and responses.";
    "backendRefs": Kind::List(&Kind::Object(BackendRef::schema)) =>
        "Services that get the requests; without a valid one, requests are answered with 500.";
    "sessionPersistence": Kind::Any => "Not carried out by the filters; set it in Envoy.";
});

/// Why session persistence is not carried out.
const SESSIONS: &str = "is left to Envoy, set its stateful_session filter: a filter does not know \
    the endpoints of a cluster; with sampling of the document, a user always gets the same \
    backendRef";

/// A rule, compiled.
pub struct GatewayRule<'a> {
    /// `name`
    pub name: Option<&'a str>,
    /// The matches, at least one
    pub matches: Vec<Ranked>,
    /// Whether the document has the matches
    pub has_matches: bool,
    /// The route of the matches
    pub route: Arc<HttpRoute>,
}

impl<'a> GatewayRule<'a> {
    /// Reads a rule of an HTTPRoute.
    pub fn read_http(node: &Node<'a>, naming: &Naming) -> Result<Self, Reported> {
        let object = node.object::<HttpRule>()?;
        let matches = object.list("matches", Ranked::read_http);
        let matches = matches.map(|own| (own, Ranked::any()));
        let filters = Filters::read::<HttpFilter>(&object, naming);
        let fixed = timeouts::read(&object);
        Self::read::<HttpRule>(&object, naming, matches, filters, fixed)
    }

    /// Reads a rule of a GRPCRoute.
    pub fn read_grpc(node: &Node<'a>, naming: &Naming) -> Result<Self, Reported> {
        let object = node.object::<GrpcRule>()?;
        let matches = object.list("matches", grpc_match::read);
        let filters = Filters::read::<GrpcFilter>(&object, naming);
        let matches = matches.map(|own| (own, Ranked::any_grpc()));
        Self::read::<GrpcRule>(&object, naming, matches, filters, Ok(Vec::new()))
    }

    /// Returns the only rule of an HTTPRoute without rules: it has no backend.
    pub fn absent() -> Self {
        Self { name: None, matches: vec![Ranked::any()], has_matches: false, route: unanswered() }
    }

    #[inline(never)]
    fn read<T: Fields>(
        object: &Object<'a>,
        naming: &Naming,
        matches: Result<(Vec<Ranked>, Ranked), Reported>,
        filters: Result<Filters, Reported>,
        fixed: Result<Vec<FixedEdit>, Reported>,
    ) -> Result<Self, Reported> {
        debug_assert!(T::NAMES.contains(&"backendRefs"), "a rule");
        let name = object.string("name");
        let backends = object.list_with("backendRefs", |node| Backend::read(node, naming));
        if let Some(node) = object.field("sessionPersistence") {
            node.notice_to(Filter::Router, report::Kind::LeftToEnvoy, SESSIONS);
        }
        let (name, (matches, any), filters) = (name?, matches?, filters?);
        let (backends, fixed) = (backends?, fixed?);
        let is_prefix = matches!(matches.as_slice(), [] | [Ranked { is_prefix: true, .. }]);
        if filters.replaces_prefix && !is_prefix {
            return Err(object.node.error(
                "has replacePrefixMatch, which requires exactly one match, with a PathPrefix",
            ));
        }
        if let (Some(_), Some(node)) = (&filters.redirect, object.field("backendRefs"))
            && !backends.is_empty()
        {
            return Err(node.error("cannot be combined with RequestRedirect"));
        }
        let is_valid = |own: &Backend| own.weight > 0 && own.destination.is_some();
        let is_answered = filters.redirect.is_some() || filters.has_unknown;
        if !is_answered && !backends.iter().any(is_valid) {
            let reason = "has no valid backend with a weight: its requests are answered with 500";
            object.node.notice_to(Filter::Router, report::Kind::Unresolved, reason);
        }
        let has_matches = !matches.is_empty();
        let matches = if has_matches { matches } else { vec![any] };
        let route = compile(filters, &backends, &fixed);
        let list = object.field("backendRefs").unwrap_or(object.node);
        let route = route.map_err(|reason| list.error(reason))?;
        Ok(Self { name, matches, has_matches, route })
    }
}

/// Compiles what a rule does with the requests that it applies to.
fn compile(
    filters: Filters,
    backends: &[Backend],
    fixed: &[FixedEdit],
) -> Result<Arc<HttpRoute>, InvalidSplit> {
    if filters.has_unknown {
        return Ok(unanswered());
    }
    let Filters { headers, redirect, rewrite, mirrors, mut cors, .. } = filters;
    let (action, is_forwarded) = match redirect {
        Some(redirect) => {
            (Action::Redirect(redirect, headers.response.fixed_edits().into()), false)
        }
        None => {
            let is_one = backends.len() == 1;
            let mut choices = Vec::new();
            for (index, own) in backends.iter().enumerate().filter(|(_, own)| own.weight > 0) {
                let sampling_name = match &own.destination {
                    _ if is_one => String::new(),
                    Some(destination) => destination.sampling_name(),
                    None => format!("|{index}|"),
                };
                let target = match &own.destination {
                    None => invalid_target(),
                    Some(destination) => {
                        let entry = WeightedDestination {
                            destination: destination.clone(),
                            weight: own.weight,
                            headers: own.headers.clone(),
                        };
                        target(&entry, &headers, &rewrite, fixed)
                    }
                };
                let weight = own.weight;
                choices.push(Choice { weight, sampling_name: sampling_name.into(), target });
            }
            let is_forwarded = choices.iter().any(|choice| !choice.target.is_invalid);
            let split = match choices.is_empty() {
                true => {
                    // Like a direct response, to which Envoy applies these edits, but no CORS.
                    cors = None;
                    let response = headers.response.fixed_edits().into();
                    Split::single(Target { response, ..invalid_target() })
                }
                false => Split::try_new(choices)?,
            };
            (Action::Forward(split), is_forwarded)
        }
    };
    let mirrors = if is_forwarded { mirrors.into() } else { Box::default() };
    let cors = cors.filter(|_| matches!(action, Action::Forward(_)));
    Ok(Arc::new(HttpRoute { action, rewrite, cors, fault: None, mirrors }))
}

/// Returns the route of a rule that is answered with 500.
fn unanswered() -> Arc<HttpRoute> {
    Arc::new(Action::Forward(Split::single(invalid_target())).into())
}

/// Returns the target of a backend that does not exist.
fn invalid_target() -> Target {
    let (request, response) = (Box::default(), Box::default());
    Target { request, cluster_by_port: None, response, is_invalid: true }
}
