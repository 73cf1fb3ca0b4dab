//! The three clusters of a scenario and their outlier detection.

use serde_json::{Value, json};
use sluice_e2e::Bootstrap;

/// One of the clusters of a scenario, by what ejects its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cluster {
    /// Envoy's own outlier detection: the reference.
    Native,
    /// Envoy's own outlier detection, with failures that an upstream filter marks.
    Envoy,
    /// The outlier filter, in the cluster and in the listener.
    Filter,
}

/// All clusters of a scenario.
pub const CLUSTERS: [Cluster; 3] = [Cluster::Native, Cluster::Envoy, Cluster::Filter];

impl Cluster {
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Envoy => "envoy",
            Self::Filter => "filter",
        }
    }
}

/// Settings of the outlier detection, equal in all clusters of a scenario.
pub struct Detection {
    /// Base ejection time, in milliseconds.
    pub base: u32,
    pub max_percent: u32,
    /// Number of workers of Envoy, 1 or 2.
    pub workers: u32,
}

/// Time between two ticks, in milliseconds.
pub const INTERVAL: u32 = 200;

impl Default for Detection {
    /// Hosts stay ejected for longer than a test takes, and all may be ejected.
    fn default() -> Self {
        Self { base: 600_000, max_percent: 100, workers: 1 }
    }
}

impl Detection {
    /// Adds the settings of `cluster` to the last cluster, which has the name `name`.
    pub fn add_to(&self, bootstrap: Bootstrap, cluster: Cluster, name: &str) -> Bootstrap {
        let bootstrap = bootstrap.cluster_setting(
            "common_lb_config",
            json!({
                // As istiod sets it: if all hosts are ejected, requests are answered with 503.
                "healthy_panic_threshold": { "value": 0 },
                // With the default of 1s, workers learn of a second ejection up to a second late.
                "update_merge_window": "0s",
            }),
        );
        let document = || document(cluster, &[self.rule(name)]);
        match cluster {
            Cluster::Native => bootstrap.outlier_detection(self.native()),
            Cluster::Envoy => bootstrap.marked_outlier_detection(&document(), self.native()),
            Cluster::Filter => bootstrap.outlier_plugin(&document()),
        }
    }

    /// Settings of Envoy's own outlier detection.
    fn native(&self) -> Value {
        json!({
            "consecutive_5xx": 1,
            "enforcing_consecutive_5xx": 100,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "interval": seconds(INTERVAL),
            "base_ejection_time": seconds(self.base),
            "max_ejection_time": seconds(self.base.max(300_000)),
            "max_ejection_percent": self.max_percent,
            // Otherwise, the first check that an ejected host passes lets it return.
            "successful_active_health_check_uneject_host": false,
        })
    }

    /// The same settings as a DestinationRule.
    pub fn rule(&self, host: &str) -> Value {
        json!({
            "host": host,
            "trafficPolicy": { "outlierDetection": {
                "consecutive5xxErrors": 1,
                "interval": format!("{INTERVAL}ms"),
                "baseEjectionTime": format!("{}ms", self.base),
                "maxEjectionPercent": self.max_percent,
                "failure": { "headers": { "x-health": { "exact": "bad" } } },
            } },
        })
    }
}

/// Returns the document of the filter in `cluster`, with these DestinationRules.
pub fn document(cluster: Cluster, rules: &[Value]) -> Value {
    json!({
        "clusterName": "{host}",
        "outlier": { "enforcement": cluster.name() },
        "destinationRules": rules,
    })
}

/// Returns a duration in protobuf's format.
fn seconds(milliseconds: u32) -> String {
    format!("{}s", f64::from(milliseconds) / 1000.0)
}
