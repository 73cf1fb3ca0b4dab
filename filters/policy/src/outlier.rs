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
//! ([`count::Counts::since_ejection`]). The values of other settings ([`crate::spec::outlier_detection::Settings::fingerprint`]) are
//! not to be read, as Envoy begins anew with a changed cluster. What requests have to know of
//! a cluster, a [`View`], is worked out once for each change of it; a number beside the cluster that
//! every writer changes tells of that without reading the whole.

pub mod choice;
pub mod classify;
mod cluster;
mod codec;
pub mod count;
pub mod effect;
mod interval;
pub mod rates;

pub use choice::{Choice, View};
pub use cluster::{Cluster, Ejection, Host, MAX_HOSTS, Observed, Standing};
pub use effect::{Effect, EffectKind, Reason};

use std::rc::Rc;

use crate::document::filter::Filter;
use crate::spec::destination_rule::{DestinationRules, Target};
use crate::spec::document::Document;
use crate::spec::policy::Policy;

/// The outlier detection of a document.
#[derive(Debug, Default)]
pub struct Outliers {
    rules: Rc<DestinationRules>,
}

impl Policy for Outliers {
    const FILTER: Filter = Filter::Outlier;

    fn new(document: &Document) -> Self {
        Self { rules: Rc::clone(&document.destination_rules) }
    }
}

impl Outliers {
    /// What holds for Envoy's cluster of this name (`xds.cluster_name`); `None` where nothing does.
    /// It takes a while: ask once for each cluster and keep the answer.
    pub fn target(&self, cluster: &str) -> Option<Target> {
        self.rules.target(cluster)
    }
}
