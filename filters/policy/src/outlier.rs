//! Outlier detection: which hosts of a cluster get no traffic for a while, and for how long.
//!
//! Three parts follow one another and know nothing of each other's work: [`classify`] says what an
//! attempt was, [`count`] counts failures in a row, [`Cluster`] acts on what was detected.
//!
//! # States of a host
//!
//! ```text
//!                 detected, share allows it, enforced
//!        +---------------------------------------------------+
//!        |                                                   v
//!       IN                                                  OUT <-----------+
//!        ^                                                   |              |
//!        +---- first interval tick after the time is over ---+              |
//!        |                                                   | time is over,| the probe fails
//!        |                                                   | half-open    |
//!        |                                                   v              |
//!        +--------- the probe succeeds ------------------ PROBING ----------+
//! ```
//!
//! - **Detected** is a counter that is equal to its threshold, not above it, or a rate at a tick.
//!   A detection in OUT or PROBING is none. The counter that fired starts over, whatever comes of
//!   it; the other counters go on. When one response fires two, the one of gateway errors is first.
//! - **The share** allows it when `100 * (out + 1) / hosts <= maxEjectionPercent`. Otherwise it is
//!   an overflow. Whether it is enforced is drawn only then.
//! - **The time** is `min(baseEjectionTime * multiplier, maxEjectionTime) + jitter`. An ejection
//!   raises the multiplier while `multiplier * base < max + base`. A tick lowers it by one, to 0 at
//!   the least, for a host that is IN and came back at least an interval ago.
//! - **A return** drops the counts of failures in a row. With half-open recovery no tick returns a
//!   host: when its time is over it gets one request at a time, until `successes` of them in a row
//!   have succeeded. One that fails is an ejection like the first, without the test of the share.
//! - **A tick** returns hosts first, then looks at rates, then lowers multipliers.
//!
//! Source of all but half-open recovery: Envoy `source/common/upstream/outlier_detection_impl.cc`.
//! Where it differs: rates are counted only where the settings ask for them, and a host that both
//! rates detect in a tick is ejected once.
//!
//! # Sharing
//!
//! The workers of an Envoy share two kinds of values, each as bytes that are written by
//! compare-and-set. So every function here is pure: read, call, write, and begin again if another
//! worker was faster.
//!
//! - [`count::Counts`] of each host, 16 bytes. A success on a host without failures changes nothing,
//!   and so writes nothing: [`count::Counts::is_clear`] tells from them alone.
//! - [`Cluster`], all that is known of the hosts of a cluster but those counts. It changes with new
//!   hosts, ejections, returns, probes and ticks. The share of ejected hosts holds at any time, since
//!   all that it depends on is in this one value.
//!
//! An attempt is recorded in the counts first, then the detections are acted on in the cluster; counts
//! that were recorded between the two are from before the ejection and void
//! ([`count::Counts::since_ejection`]). The values of other settings ([`Settings::fingerprint`]) are
//! not to be read, as Envoy begins anew with a changed cluster. What requests have to know of
//! a cluster, a [`View`], is worked out once for each change of it; a number beside the cluster that
//! every writer changes tells of that without reading the whole.

pub mod choice;
pub mod classify;
mod cluster;
mod codec;
pub mod count;
mod interval;
pub mod settings;

use std::fmt;
use std::time::Duration;

pub use choice::{Choice, View};
pub use cluster::{Cluster, Ejection, Host, Observed, Standing};
pub use settings::Settings;

use crate::destination_rule::{DestinationRules, Target};
use crate::document::{Document, Filter};
use crate::proxy::NodeMetadata;
use crate::report::{Finding, Rejection};

/// How many hosts of a cluster are kept. Those beyond get traffic and are never ejected.
pub const MAX_HOSTS: usize = 10_000;

/// After how long without traffic a host that is not ejected is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// After how many intervals without traffic a host is forgotten while more hosts are known than the
/// cluster has, so that some must have left.
pub const FORGET_AFTER_INTERVALS: u32 = 3;

/// The outlier detection of a document.
#[derive(Debug, Default)]
pub struct Outliers {
    rules: DestinationRules,
}

impl Outliers {
    /// Compiles a document, see [`Document::parse`].
    ///
    /// # Errors
    /// A document with any error is rejected as a whole, with all of its errors.
    pub fn from_json(
        document: &[u8],
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let (document, notices) = Document::parse(document, Filter::Outlier, metadata)?;
        Ok((Self { rules: document.destination_rules }, notices))
    }

    /// What holds for Envoy's cluster of this name (`xds.cluster_name`); `None` where nothing does.
    /// It takes a while: ask once for each cluster and keep the answer.
    pub fn target(&self, cluster: &str) -> Option<Target> {
        self.rules.target(cluster)
    }
}

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
