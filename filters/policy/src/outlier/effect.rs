//! What is detected and done about a host.

use std::fmt;
use std::time::Duration;

/// Why a host was detected as an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// 5xx or what counts as such, in a row.
    Consecutive5xx,
    /// 502, 503 and 504 or what counts as such, in a row.
    ConsecutiveGatewayFailure,
    /// Connections that failed and responses that did not come, in a row.
    ConsecutiveLocalOriginFailure,
    /// A share of failures.
    FailurePercentage,
    /// A share of local failures.
    LocalOriginFailurePercentage,
    /// A success rate of connections and responses far below that of the other hosts.
    LocalOriginSuccessRate,
    /// A probe that failed: the host had not recovered.
    Probe,
    /// A success rate far below that of the other hosts.
    SuccessRate,
}

impl Reason {
    /// The name in statistics, as Envoy has it: `ejections_detected_NAME`. `probe` is our own.
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

/// What happened to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Its address, as Envoy gives it: `ip:port`
    pub host: Box<[u8]>,
    /// What happened
    pub kind: EffectKind,
}

/// What can happen to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// It is an outlier; an `Ejected` or `Overflow` follows where it is enforced or too much.
    Detected {
        /// Why
        reason: Reason,
        /// Whether it is ejected for that
        enforced: bool,
    },
    /// It gets no more traffic.
    Ejected {
        /// Why
        reason: Reason,
        /// For how long; it returns at the first tick after that, or is probed
        time: Duration,
        /// How often it has been ejected so far, this time included
        ejections: u32,
    },
    /// It has left, or had no traffic for long: its counts can be dropped.
    Forgotten,
    /// It would be ejected if that were not too many (`maxEjectionPercent`).
    Overflow,
    /// It gets traffic again.
    Returned {
        /// How long it got none
        after: Duration,
    },
}
