//! The decision of the router about a request.

use std::borrow::Cow;
use std::sync::Arc;

use crate::spec::http_route::HttpRoute;
use crate::value::header::{CLUSTER, FixedEdit, HeaderEdit, HeaderOperation};

/// The decision about one request.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The outcome, for counters
    pub outcome: Outcome,
    /// The name of the match that decided, for access logs: Istio's route name, or the JSON path
    pub note: &'a str,
    /// Edits of the request's headers that depend on the request
    pub(crate) own_edits: Vec<HeaderEdit<'a>>,
    /// Edits of the destination, applied after `own_edits`
    pub(crate) fixed_edits: &'a [FixedEdit],
    /// The local reply; if present, the request is not forwarded
    pub reply: Option<Reply<'a>>,
    /// Edits of the response, either from the upstream or the local reply
    pub response: Option<ResponsePlan>,
    /// The number of the counter of its route and destination, see
    /// [`counter_names`](super::Router::counter_names)
    pub counter: Option<u32>,
}

impl<'a> Decision<'a> {
    /// Forwards the request with these edits.
    #[inline]
    pub(crate) fn forward(
        outcome: Outcome,
        note: &'a str,
        own_edits: Vec<HeaderEdit<'a>>,
        fixed_edits: &'a [FixedEdit],
    ) -> Self {
        Self { outcome, note, own_edits, fixed_edits, reply: None, response: None, counter: None }
    }

    /// Answers the request with a local reply.
    #[inline]
    pub(crate) fn reply(outcome: Outcome, note: &'a str, reply: Reply<'a>) -> Self {
        Self { reply: Some(reply), ..Self::forward(outcome, note, Vec::new(), &[]) }
    }

    /// Answers the request with 404.
    #[inline]
    pub(crate) fn not_found(outcome: Outcome, note: &'a str) -> Self {
        Self::reply(outcome, note, Reply { status: 404, headers: Vec::new(), body: &[] })
    }

    /// Edits of the request's headers, in order. Empty if there is a reply.
    #[inline]
    pub fn edits(&self) -> impl Iterator<Item = HeaderEdit<'_>> {
        let own = self.own_edits.iter().map(HeaderEdit::borrowed);
        own.chain(self.fixed_edits.iter().map(FixedEdit::as_edit))
    }

    /// The name of the cluster that the request goes to, if the filter selects one.
    pub fn cluster(&self) -> Option<String> {
        let selects = |edit: &HeaderEdit<'_>| {
            edit.name == CLUSTER && edit.operation != HeaderOperation::Remove
        };
        let edit = self.edits().filter(selects).last()?;
        Some(String::from_utf8_lossy(&edit.value).into_owned())
    }
}

/// The outcome of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request is forwarded to a destination.
    Forwarded,
    /// The route of the Gateway API has no valid backend, or the draw selected an invalid one: 500.
    NoBackend,
    /// No route of the virtual host matches: 404.
    NoRoute,
    /// No virtual service has the host: 404.
    NoVirtualHost,
    /// No virtual service has the host, and Envoy's own routes handle the request.
    Passed,
    /// The reply answers a CORS preflight.
    Preflight,
    /// The reply is a redirect.
    Redirected,
    /// The reply is a direct response.
    Responded,
}

impl Outcome {
    /// The name in explanations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::NoBackend => "noBackend",
            Self::NoRoute => "noRoute",
            Self::NoVirtualHost => "noVirtualHost",
            Self::Passed => "passed",
            Self::Preflight => "preflight",
            Self::Redirected => "redirected",
            Self::Responded => "responded",
        }
    }
}

/// A local reply: a response that the filter sends itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The HTTP status
    pub status: u16,
    /// Its headers
    pub headers: Vec<(&'static str, Cow<'a, [u8]>)>,
    /// Its body
    pub body: &'a [u8],
}

/// Edits of a response. The filter keeps them until the response arrives.
#[derive(Debug)]
pub struct ResponsePlan {
    route: Arc<HttpRoute>,
    target: usize,
    /// The origin whose scripts may read the response (CORS)
    allowed_origin: Option<Vec<u8>>,
}

impl ResponsePlan {
    /// The plan for the destination with the index `target` of `route`. `None` if there are no
    /// edits.
    #[inline]
    pub(crate) fn new(
        route: &Arc<HttpRoute>,
        target: usize,
        allowed_origin: Option<Vec<u8>>,
    ) -> Option<Self> {
        let is_needed = allowed_origin.is_some() || !route.response_edits(target).is_empty();
        is_needed.then(|| Self { route: Arc::clone(route), target, allowed_origin })
    }

    /// The edits, in order.
    #[inline]
    pub fn edits(&self) -> impl Iterator<Item = HeaderEdit<'_>> {
        let cors = match (&self.route.cors, &self.allowed_origin) {
            (Some(cors), Some(origin)) => cors.response_edits(origin),
            _ => Vec::new(),
        };
        self.route.response_edits(self.target).iter().map(FixedEdit::as_edit).chain(cors)
    }
}
