//! The responses that count as failures: `outlierDetectionHttpErrorCodes` and `failure`.

use std::time::Duration;

use crate::document::fields::fields;
use crate::document::node::{Node, Object, all};
use crate::document::report::Reported;
use crate::spec::outlier::Enforcement;
use crate::spec::outlier_detection::check_enforcement;
use crate::spec::string_match::{self, StringMatch, ValueMatch};
use crate::value::duration;
use crate::value::grpc_status::{GRPC_STATUS_NAMES, read_grpc_status_or_code};
use crate::value::header::check_name;
use crate::value::number::read_in;

/// The responses that count as failures.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// `outlierDetectionHttpErrorCodes`: if not empty, only these statuses are failures
    pub(crate) statuses: Vec<u16>,
    /// `failure.grpcStatus` (not in Istio): if not empty, only these gRPC statuses are failures, in
    /// headers and in trailers
    pub(crate) grpc_statuses: Vec<u8>,
    /// `failure.headers` (not in Istio): a response is a failure if one of these conditions holds
    pub(crate) headers: Vec<(String, ValueMatch)>,
    /// `failure.slowerThan` (not in Istio): a response is a failure if its headers arrive later
    pub(crate) slower_than: Option<Duration>,
}

fields!(Failures as "Failure", "Failures other than those by HTTP status; not in Istio.", {
    "grpcStatus": Kind::List(&Kind::Either(&[
        Kind::OneOf(&GRPC_STATUS_NAMES),
        Kind::Integer(0, 16),
    ])) =>
        "gRPC statuses that are failures, by name such as UNAVAILABLE, or by number.";
    "headers": Kind::Map(&Kind::Object(StringMatch::schema)) =>
        "Conditions on response headers; a response that satisfies one of them is a failure.";
    "slowerThan": Kind::Text =>
        "Maximum time until the response headers arrive, such as 2s; later ones are failures.";
});

impl Failures {
    /// Reads `outlierDetectionHttpErrorCodes` and `failure` of `outlierDetection`.
    pub fn read(object: &Object<'_>, enforcement: Option<Enforcement>) -> Result<Self, Reported> {
        let statuses = object.list("outlierDetectionHttpErrorCodes", |node| {
            let code = read_in(node, 100..=599)?;
            u16::try_from(code).map_err(|_| node.invalid("is not a status"))
        });
        let failure = object.optional("failure", |node| Self::read_failure(node, enforcement));
        let failure = failure?.unwrap_or_default();
        Ok(Self { statuses: statuses?, ..failure })
    }

    fn read_failure(node: &Node<'_>, enforcement: Option<Enforcement>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
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
            statuses: Vec::new(),
            grpc_statuses: grpc_statuses?,
            headers: headers?,
            slower_than: slower_than?,
        })
    }

    /// Returns whether slow responses are failures, so that the time must be measured.
    pub fn needs_latency(&self) -> bool {
        self.slower_than.is_some()
    }
}
