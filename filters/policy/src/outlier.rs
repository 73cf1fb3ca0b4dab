//! Outlier detection: ejects failing hosts of a cluster, so that they get no traffic for some time.
//!
//! The settings say who ejects hosts ([`crate::spec::outlier::Enforcement`]). If it is Envoy, only
//! [`classify`] is used: it returns why a response is a failure, and Envoy counts it. The rest of
//! this module is about ejections by the filter.
//!
//! Three independent steps handle an attempt to reach a host: [`classify`] returns whether it
//! failed, [`count`] counts consecutive failures, and [`Cluster`] ejects the detected hosts.
//!
//! # States of a host
//!
//! ```text
//!               detected, below the maximum, enforced
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
//! - **Detected**: a counter is equal to its threshold (not above it), or a tick finds a bad rate.
//!   Hosts in OUT or PROBING are not detected. A detection resets its counter, also without an
//!   ejection; the other counters do not change. If one response causes two detections, the one of
//!   gateway errors is first.
//! - **Below the maximum**: `100 * (out + 1) / hosts <= maxEjectionPercent`. Otherwise the
//!   detection is an overflow. The draw for enforcement is made only below the maximum.
//! - **The time** is `min(baseEjectionTime * multiplier, maxEjectionTime) + jitter`. An ejection
//!   increments the multiplier while `multiplier * base < max + base`. A tick decrements it, down
//!   to 0, if the host is IN and returned at least one interval ago.
//! - **A return** resets the consecutive failures. With half-open recovery, ticks return no hosts:
//!   after its time, a host gets one request at a time, until `successes` consecutive requests have
//!   succeeded. A failed probe ejects the host again, without a check of the maximum.
//! - **A tick** first returns hosts, then checks rates, then decrements multipliers, and at last
//!   forgets hosts that have left the cluster.
//!
//! # Hosts that come and go
//!
//! The filter does not know the hosts of a cluster, only their number and those that Envoy chose. A
//! host is *fresh* if Envoy chose it by itself in the last three intervals. Requests are sent to
//! fresh hosts only. Some requests are *tries*: Envoy chooses their host, so that it can find new
//! ones, and so that it confirms which ejected hosts are still there ([`choice`]). If more hosts
//! are known than the cluster has, those that Envoy chose least recently have left. They no longer
//! count for the maximum, and a tick forgets them, also if they are OUT.
//!
//! Source, except for half-open recovery: Envoy `source/common/upstream/outlier_detection_impl.cc`.
//! There are two differences: rates are counted only if the settings use them, and a host that both
//! rates detect in one tick is ejected once.
//!
//! # Sharing
//!
//! The workers of an Envoy share two kinds of values. Each value is stored as bytes and written
//! with compare-and-set. So all functions here are pure: a worker reads the value, calls the
//! function, writes the result, and repeats this if another worker has changed the value.
//!
//! - [`count::Counts`] of each host, 16 bytes. A success of a host without failures does not change
//!   them ([`count::Counts::is_clear`]), so it needs no write.
//! - [`Cluster`], the other state of all hosts of a cluster. New hosts, ejections, returns, probes
//!   and ticks change it. The maximum share of ejected hosts is never exceeded, because it depends
//!   only on this one value.
//!
//! A worker first records an attempt in the counts, then applies the detections to the cluster.
//! Counts that another worker records between these two steps are from before the ejection and are
//! ignored ([`count::Counts::since_ejection`]). Values that were stored with other settings
//! ([`crate::spec::outlier_detection::Settings::fingerprint`]) must not be read, because Envoy also
//! resets a cluster that changes. Requests use a [`View`] of the cluster, which is computed once
//! for each change. Each writer changes a number that is stored beside the cluster, so that workers
//! detect a change without reading the cluster.

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

use std::sync::Arc;

use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::spec::destination_rule::{DestinationRules, Target};
use crate::spec::document::Document;
use crate::spec::policy::Policy;

/// The outlier detection of a document.
#[derive(Debug, Default)]
pub struct Outliers {
    rules: Arc<DestinationRules>,
}

impl Policy for Outliers {
    fn filters(_: &Json) -> Filters {
        Filter::Outlier.into()
    }

    fn new(document: &Document) -> Self {
        Self { rules: Arc::clone(&document.destination_rules) }
    }
}

impl Outliers {
    /// The settings for Envoy's cluster with this name (`xds.cluster_name`). `None` if no rule
    /// applies. This call is slow: call it once for each cluster and keep the result.
    pub fn target(&self, cluster: &str) -> Option<Target> {
        self.rules.target(cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Faults;
    use crate::spec::proxy::NodeMetadata;

    struct InModule;

    impl NodeMetadata for InModule {
        fn namespace(&self) -> Option<String> {
            None
        }

        fn label(&self, _: &str) -> Option<String> {
            None
        }

        fn is_native(&self) -> bool {
            true
        }
    }

    /// The errors of a policy in a dynamic module.
    fn errors<P: Policy>(outlier: &str, detection: &str) -> Vec<String> {
        let document = format!(
            r#"{{"outlier": {outlier},
                "virtualServices": [{{"hosts": ["pool"], "http": [
                    {{"route": [{{"destination": {{"host": "pool"}}}}]}}]}}],
                "destinationRules": [{{"host": "pool",
                    "trafficPolicy": {{"outlierDetection": {detection}}}}}]}}"#
        );
        let compiled = P::compile(document.as_bytes(), &InModule);
        let errors = compiled.err().map(|rejection| rejection.errors).unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_outlier_filter_of_a_dynamic_module_ejects_no_hosts() {
        const OF_HOST: &str = "destinationRules[0].trafficPolicy.outlierDetection";
        const REASON: &str = "cannot be carried out by a dynamic module; use outlier.wasm";
        let marks = r#"{"consecutive5xxErrors": 3, "failure": {"slowerThan": "1s"}}"#;
        for outlier in ["{}", r#"{"enforcement": "envoy"}"#] {
            assert_eq!(errors::<Outliers>(outlier, marks), [""; 0]);
        }
        for (detection, field) in [
            (r#"{"halfOpen": {}}"#, "halfOpen"),
            (r#"{"failure": {"grpcStatus": ["UNAVAILABLE"]}}"#, "failure.grpcStatus"),
            (
                r#"{"failure": {"rules": [
                    {"match": [{"uri": {"prefix": "/"}}], "grpcStatus": [14]}]}}"#,
                "failure.rules[0].grpcStatus",
            ),
        ] {
            let expected = format!("{OF_HOST}.{field}: {REASON}");
            assert_eq!(errors::<Outliers>("{}", detection), [expected]);
            assert_eq!(errors::<Faults>("{}", detection), [""; 0], "another filter");
        }
        let enforced = r#"{"enforcement": "filter"}"#;
        let reason = "cannot be filter in a dynamic module; use outlier.wasm, or envoy";
        let expected = format!("outlier.enforcement: {reason}");
        assert_eq!(errors::<Outliers>(enforced, marks), [expected]);
        assert_eq!(errors::<Faults>(enforced, marks), [""; 0], "another filter");
    }
}
