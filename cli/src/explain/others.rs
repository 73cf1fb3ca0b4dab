//! The decisions of the filters that do not read the rules for HTTP: sni, egress and outlier.

use sluice_policy::egress::{self, Egress};
use sluice_policy::request::{Draws, Request};
use sluice_policy::sni::{Outcome, SniPolicy};
use sluice_policy::spec::destination_rule::Target;
use sluice_policy::spec::document::Document;
use sluice_policy::spec::policy::Policy as _;

use super::request::Client;
use crate::tree::Tree;

/// The decision of the sni filter about a TLS connection or a request in it.
pub struct SniOutcome {
    /// The result of the checks
    pub outcome: Outcome,
    /// Whether the connection or request is refused
    pub is_refused: bool,
    /// The cluster of the connection, if a route selects one
    pub cluster: Option<String>,
    /// The path of the route
    pub route: Option<String>,
}

/// The decision of the egress filter.
pub struct EgressOutcome {
    pub decision: egress::Decision,
    /// The status of the answer to a refused request
    pub status: u16,
    /// Whether the filter answers the request itself
    pub is_refused: bool,
    /// Whether the address that the client connected to is known
    pub knows_address: bool,
}

impl EgressOutcome {
    /// Why the request is refused, or would be if violations were not only counted.
    pub fn reason(&self) -> Option<&'static str> {
        match self.decision {
            egress::Decision::Refused(reason) => Some(reason.name()),
            egress::Decision::Known { .. } | egress::Decision::Passthrough => None,
        }
    }
}

/// The outlier detection of the cluster that a request goes to.
pub struct OutlierOutcome {
    pub cluster: String,
    pub target: Target,
    /// The rule of `failure.rules` that the request satisfies
    pub rule: Option<usize>,
}

/// Decides about the TLS connection of a client by the routes for TLS. `None` without TLS or
/// without such routes.
pub fn connection(
    tree: &Tree,
    document: &Document,
    client: &Client,
    draws: &mut dyn Draws,
) -> Option<SniOutcome> {
    let mut services = tree.list("virtualServices").iter();
    let has_routes = services.any(|service| !service.list("tls").is_empty());
    let sni = client.sni.as_deref().filter(|_| has_routes)?;
    let policy = SniPolicy::new(document);
    let opening = policy.open(Some(sni.as_bytes()), client, draws);
    Some(SniOutcome {
        outcome: opening.outcome,
        is_refused: policy.refuses(opening.outcome),
        cluster: opening.cluster.map(|cluster| cluster.into_owned()),
        route: Some(opening.route.to_owned()).filter(|route| !route.is_empty()),
    })
}

/// Decides about a request by the server name of its connection. `None` without TLS or without
/// settings of the filter.
pub fn agreement(
    tree: &Tree,
    document: &Document,
    client: &Client,
    request: &Request<'_>,
) -> Option<SniOutcome> {
    let sni = client.sni.as_deref().filter(|_| tree.field("sni").is_some())?;
    let policy = SniPolicy::new(document);
    let outcome = policy.request(Some(sni.as_bytes()), request.authority);
    let is_refused = policy.refuses(outcome);
    Some(SniOutcome { outcome, is_refused, cluster: None, route: None })
}

/// Decides about a request by the registered services. `None` if the document does not say which
/// services clients may call.
pub fn egress(
    tree: &Tree,
    document: &Document,
    client: &Client,
    request: &Request<'_>,
) -> Option<EgressOutcome> {
    tree.field("outboundTrafficPolicy")?;
    let policy = Egress::new(document);
    let is_connect = request.method == b"CONNECT";
    let decision = policy.request(request.authority, is_connect, client.destination());
    Some(EgressOutcome {
        decision,
        is_refused: policy.refuses(decision).is_some(),
        status: policy.settings.block_status,
        knows_address: client.knows_address(),
    })
}

/// The outlier detection of a cluster; `None` if there is none.
pub fn outlier(
    document: &Document,
    cluster: Option<String>,
    request: &Request<'_>,
) -> Option<OutlierOutcome> {
    let cluster = cluster?;
    let target = document.destination_rules.target(&cluster)?;
    let rule = target.settings.failures.rule_for(request);
    Some(OutlierOutcome { cluster, target, rule })
}
