//! The comparison of two decisions about a request: of the router, and of a second policy.

use crate::router::decision::{Decision, ResponsePlan};

/// A decision of the second policy.
#[derive(Debug)]
pub struct ShadowDecision<'a> {
    /// The decision
    pub decision: Decision<'a>,
    /// What differs from the decision of the router; `None` if nothing does
    pub difference: Option<Difference>,
}

/// What differs between two decisions about a request. If several things do, the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The outcome, for example a redirect and a cluster
    Outcome,
    /// The status, headers or body of the answer
    Reply,
    /// The cluster
    Cluster,
    /// Other changes to the request: headers, path, timeout, retries
    Request,
    /// Changes to the response
    Response,
}

impl Difference {
    /// The name in explanations and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Reply => "reply",
            Self::Cluster => "cluster",
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    /// Compares two decisions. Names of routes are not compared.
    pub(crate) fn of(one: &Decision<'_>, other: &Decision<'_>) -> Option<Self> {
        if one.outcome != other.outcome {
            return Some(Self::Outcome);
        }
        if one.reply != other.reply {
            return Some(Self::Reply);
        }
        if !one.edits().eq(other.edits()) {
            let is_same = one.cluster() == other.cluster();
            return Some(if is_same { Self::Request } else { Self::Cluster });
        }
        let [edits, others] =
            [one, other].map(|own| own.response.iter().flat_map(ResponsePlan::edits));
        (!edits.eq(others)).then_some(Self::Response)
    }
}

#[cfg(test)]
mod tests;
