//! What of responses is a failure: `outlierDetectionHttpErrorCodes` and `failure`.

use std::time::Duration;

use crate::document::node::{Node, Object};
use crate::spec::string_match::{self, ValueMatch};
use crate::value::duration;
use crate::value::grpc_status::read_grpc_status;
use crate::value::header::check_name;
use crate::value::number::whole;

/// What of responses is a failure.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// `outlierDetectionHttpErrorCodes`: if there are any, these and no other statuses
    pub(crate) statuses: Vec<u16>,
    /// `failure.grpcStatus` (beyond Istio): if there are any, these and no other gRPC statuses, in
    /// headers and in trailers
    pub(crate) grpc_statuses: Vec<u8>,
    /// `failure.headers` (beyond Istio): a response with any of these is one
    pub(crate) headers: Vec<(String, ValueMatch)>,
    /// `failure.slowerThan` (beyond Istio): a response whose headers take longer is one
    pub(crate) slower_than: Option<Duration>,
}

impl Failures {
    /// Reads `outlierDetectionHttpErrorCodes` and `failure` of `outlierDetection`.
    pub fn read(object: &mut Object<'_>) -> Self {
        let codes = object.list("outlierDetectionHttpErrorCodes");
        let code = |node: &Node<'_>| whole(node, 100..=599).and_then(|code| code.try_into().ok());
        let mut failures =
            Self { statuses: codes.iter().filter_map(code).collect(), ..Self::default() };
        let Some(mut object) = object.field("failure").and_then(|node| node.object()) else {
            return failures;
        };
        failures.grpc_statuses =
            object.list("grpcStatus").iter().filter_map(read_grpc_status).collect();
        for (name, node) in object.field("headers").map_or(Vec::new(), |node| node.entries()) {
            let name = check_name(&node, name, &[]);
            let condition = string_match::read_value_match(&node);
            failures.headers.extend(name.zip(condition));
        }
        let slower_than = object.field("slowerThan");
        let slower_than = slower_than.and_then(|node| duration::read_milliseconds(&node));
        failures.slower_than = slower_than.map(Duration::from_millis);
        failures
    }

    /// Whether latency matters, so that attempts have to be timed.
    pub fn needs_latency(&self) -> bool {
        self.slower_than.is_some()
    }
}
