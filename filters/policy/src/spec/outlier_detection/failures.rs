//! The responses that count as failures: `outlierDetectionHttpErrorCodes` and `failure`.

use std::sync::Arc;
use std::time::Duration;

use crate::document::fields::{Fields, Kind, fields};
use crate::document::node::{Node, Object, all};
use crate::document::report::Reported;
use crate::request::Request;
use crate::spec::http_match::HttpMatch;
use crate::spec::outlier::{Enforcement, check_enforcement};
use crate::spec::scope::Scope;
use crate::spec::string_match::{self, StringMatch, ValueMatch};
use crate::value::duration;
use crate::value::grpc_status::{GRPC_STATUS_NAMES, read_grpc_status_or_code};
use crate::value::header::check_name;
use crate::value::number::read_in;

/// The responses that count as failures.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// `outlierDetectionHttpErrorCodes`: if not empty, only these statuses are failures
    pub(crate) statuses: Arc<[u16]>,
    /// `failure.grpcStatus` (not in Istio): if not empty, only these gRPC statuses are failures, in
    /// headers and in trailers
    pub(crate) grpc_statuses: Vec<u8>,
    /// `failure.headers` (not in Istio): a response is a failure if one of these conditions holds
    pub(crate) headers: Vec<(String, ValueMatch)>,
    /// `failure.slowerThan` (not in Istio): a response is a failure if its headers arrive later
    pub(crate) slower_than: Option<Duration>,
    /// `failure.rules` (not in Istio): the failures of some requests
    rules: Vec<FailureRule>,
}

/// The failures of the requests that satisfy one of `matches`.
#[derive(Clone, Debug)]
struct FailureRule {
    matches: Vec<HttpMatch>,
    failures: Failures,
}

fields!(Failures as "Failure", "Failures other than those by HTTP status; not in Istio.", {
    "grpcStatus": GRPC_STATUSES => "gRPC statuses that are failures, by name or number.";
    "headers": HEADERS =>
        "Conditions on response headers; a response that satisfies one of them is a failure.";
    "slowerThan": Kind::Duration =>
        "Maximum time until the response headers arrive, such as 2s; later ones are failures.";
    "rules": Kind::List(&Kind::Object(FailureRule::schema)) =>
        "Failures of some requests. The first rule that a request satisfies replaces the fields \
         above.";
});

fields!(FailureRule, "Failures of the requests that satisfy match.", {
    "match" required: Kind::RequiredList(&Kind::Object(HttpMatch::schema)) =>
        "Conditions on the request; one of them must hold.";
    "grpcStatus": GRPC_STATUSES => "gRPC statuses that are failures, by name or number.";
    "headers": HEADERS =>
        "Conditions on response headers; a response that satisfies one of them is a failure.";
    "slowerThan": Kind::Duration =>
        "Maximum time until the response headers arrive, such as 2s; later ones are failures.";
});

const GRPC_STATUSES: Kind =
    Kind::List(&Kind::Either(&[Kind::OneOf(&GRPC_STATUS_NAMES), Kind::Integer(0, 16)]));
const HEADERS: Kind = Kind::Map(&Kind::Object(StringMatch::schema));

impl Failures {
    /// Reads `outlierDetectionHttpErrorCodes` and `failure` of `outlierDetection`.
    pub fn read(
        object: &Object<'_>,
        enforcement: Option<Enforcement>,
        scope: &Scope<'_>,
    ) -> Result<Self, Reported> {
        let statuses = object.list("outlierDetectionHttpErrorCodes", |node| {
            let code = read_in(node, 100..=599)?;
            u16::try_from(code).map_err(|_| node.invalid("is not a status"))
        });
        let failure = object.optional("failure", |node| {
            let object = node.object::<Self>()?;
            let failures = Self::read_conditions(&object, enforcement);
            let rules =
                object.list_with("rules", |node| FailureRule::read(node, enforcement, scope));
            Ok(Self { rules: rules?, ..failures? })
        });
        let mut failure = failure?.unwrap_or_default();
        let statuses: Arc<[u16]> = statuses?.into();
        for rule in &mut failure.rules {
            rule.failures.statuses = Arc::clone(&statuses);
        }
        Ok(Self { statuses, ..failure })
    }

    /// Reads the fields that `failure` and its rules have in common.
    fn read_conditions(
        object: &Object<'_>,
        enforcement: Option<Enforcement>,
    ) -> Result<Self, Reported> {
        // Envoy ignores the trailers, and counts the gRPC status in headers by its own rule.
        let allowed =
            object.field("grpcStatus").map_or(Ok(()), |node| check_enforcement(&node, enforcement));
        let grpc_statuses = object.list("grpcStatus", read_grpc_status_or_code);
        let headers = object.entries("headers").and_then(|entries| {
            all(entries.iter().map(|(name, node)| {
                let name = check_name(node, name, &[]);
                let condition = string_match::read_value_match(node);
                Ok((name?, condition?))
            }))
        });
        let slower_than = object.optional("slowerThan", duration::read);
        allowed?;
        Ok(Self {
            grpc_statuses: grpc_statuses?,
            headers: headers?,
            slower_than: slower_than?,
            ..Self::default()
        })
    }

    /// Returns whether gRPC statuses are listed, for any request.
    pub fn has_grpc_statuses(&self) -> bool {
        self.any(|failures| !failures.grpc_statuses.is_empty())
    }

    /// Returns whether the failures of any requests satisfy the predicate.
    fn any(&self, predicate: impl Fn(&Self) -> bool) -> bool {
        predicate(self) || self.rules.iter().any(|rule| predicate(&rule.failures))
    }

    /// Returns whether there are rules, so that the request must be read.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Returns the index of the rule for a request; `None` if no rule matches.
    pub fn rule_for(&self, request: &Request<'_>) -> Option<usize> {
        let holds = |condition: &HttpMatch| condition.matches(request).is_some();
        self.rules.iter().position(|rule| rule.matches.iter().any(holds))
    }

    /// Returns the failures of the requests of a rule; without a rule, those of other requests.
    pub fn of_rule(&self, rule: Option<usize>) -> &Self {
        rule.and_then(|rule| self.rules.get(rule)).map_or(self, |rule| &rule.failures)
    }

    /// Returns the HTTP statuses that are failures; empty if these are all 5xx.
    pub fn statuses(&self) -> &[u16] {
        &self.statuses
    }

    /// Returns whether there are failures that do not depend on the HTTP status alone, so that
    /// Envoy needs the filter to recognize them.
    pub fn need_filter(&self) -> bool {
        self.any(|failures| {
            !failures.grpc_statuses.is_empty()
                || !failures.headers.is_empty()
                || failures.slower_than.is_some()
        })
    }

    /// Returns whether slow responses are failures, so that the time must be measured.
    pub fn needs_latency(&self) -> bool {
        self.slower_than.is_some()
    }
}

impl FailureRule {
    fn read(
        node: &Node<'_>,
        enforcement: Option<Enforcement>,
        scope: &Scope<'_>,
    ) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let matches = object
            .required_elements("match")
            .and_then(|nodes| all(nodes.iter().map(|node| HttpMatch::read(node, scope))));
        let failures = Failures::read_conditions(&object, enforcement);
        let mut matches = matches?;
        matches.retain(|condition| condition.is_for_this_proxy);
        Ok(Self { matches, failures: failures? })
    }
}
