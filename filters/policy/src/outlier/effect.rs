//! The events of a host: detections, ejections and returns.

use std::fmt;
use std::time::Duration;

/// Why a host was detected as an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Consecutive 5xx or equivalent failures.
    Consecutive5xx,
    /// Consecutive 502, 503 or 504, or equivalent failures.
    ConsecutiveGatewayFailure,
    /// Consecutive failed connections and missing responses.
    ConsecutiveLocalOriginFailure,
    /// The percentage of failures.
    FailurePercentage,
    /// The percentage of local failures.
    LocalOriginFailurePercentage,
    /// A local success rate far below the mean of all hosts.
    LocalOriginSuccessRate,
    /// A failed probe: the host has not recovered.
    Probe,
    /// A success rate far below the mean of all hosts.
    SuccessRate,
}

impl Reason {
    /// The name in statistics, as in Envoy's `ejections_detected_NAME`. Envoy has no `probe`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            Self::FailurePercentage => "failure_percentage",
            Self::LocalOriginFailurePercentage => "local_origin_failure_percentage",
            Self::LocalOriginSuccessRate => "local_origin_success_rate",
            Self::Probe => "probe",
            Self::SuccessRate => "success_rate",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An event of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The address of the host in Envoy's form: `ip:port`
    pub host: Box<[u8]>,
    /// The kind of event
    pub kind: EffectKind,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// The host was detected as an outlier. If this is enforced, `Ejected` follows. Above the
    /// maximum, `Overflow` follows.
    Detected {
        /// The reason of the detection
        reason: Reason,
        /// Whether the host is ejected
        enforced: bool,
    },
    /// The host gets no more traffic.
    Ejected {
        /// The reason of the ejection
        reason: Reason,
        /// Length of the ejection. The host returns at the first tick after it, or is probed then
        time: Duration,
        /// Number of ejections so far, including this one
        ejections: u32,
    },
    /// The host has left the cluster while it was ejected. Its counts can be deleted.
    Departed,
    /// The host left the cluster or had no traffic for a long time. Its counts can be deleted.
    Forgotten,
    /// The host was not ejected, because this would exceed `maxEjectionPercent`.
    Overflow,
    /// The host was not ejected, because the mode is shadow.
    Withheld {
        /// The reason of the detection
        reason: Reason,
    },
    /// The host gets traffic again.
    Returned {
        /// Length of the time without traffic
        after: Duration,
    },
}
