//! Comparison of the clusters with the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use sluice_e2e::statistics::{SIGNIFICANCE, has_distribution, same_distribution};

use crate::detection::{CLUSTERS, Cluster};
use crate::fleet::{Fleet, Share};
use crate::tolerances::{self, Tolerance};

/// Differences from the reference, by cluster.
#[derive(Default)]
pub struct Findings(BTreeMap<Cluster, Vec<String>>);

impl Findings {
    pub fn add(&mut self, cluster: Cluster, finding: String) {
        self.0.entry(cluster).or_default().push(finding);
    }

    /// Returns the findings about a cluster. Those about the reference are about the test itself,
    /// so they are findings about each cluster.
    pub fn about(&self, cluster: Cluster) -> Vec<String> {
        let findings = [Cluster::Native, cluster].into_iter().filter_map(|c| self.0.get(&c));
        findings.flatten().cloned().collect()
    }
}

impl Fleet {
    /// Sends requests and compares which hosts got them. `weights` are the shares of the hosts
    /// without failures; a host without a weight gets none, and without any host all requests are
    /// refused.
    ///
    /// The cluster `filter` must not refuse more requests than the reference. Its shares must be
    /// within the tolerance after some batches and some intervals.
    pub async fn expect(&self, what: &str, count: usize, weights: &[(usize, f64)]) {
        let mut shares = vec![0.0; self.scenario().hosts.len()];
        weights.iter().for_each(|(host, weight)| shares[*host] = *weight);
        let began = Instant::now();
        for round in 1.. {
            let batch = self.send(count).await;
            let [native, envoy, filter] = CLUSTERS.map(|cluster| &batch[&cluster]);
            let report = |cluster, finding: Option<String>| {
                let [native, share] = [native, &batch[&cluster]].map(describe);
                let report = |text| format!("{what}, batch {round}: {text}: {share}; {native}");
                finding.into_iter().for_each(|text| self.report(cluster, report(text)));
            };
            report(Cluster::Native, differs_from_weights(native, &shares));
            let finding = differs_from_weights(envoy, &shares);
            report(Cluster::Envoy, finding.or_else(|| differs_from_reference(envoy, native)));

            let difference = Difference::new(filter, native);
            let tolerance = self.tolerance();
            let is_refused = difference.refused > tolerance.refused;
            if !is_refused && difference.is_within(&tolerance) {
                break;
            }
            let is_late = round >= tolerances::BATCHES && began.elapsed() >= tolerances::SETTLED;
            if is_refused || is_late {
                report(Cluster::Filter, Some(format!("{difference:.1?}")));
                break;
            }
        }
    }
}

/// How far a cluster is from the reference, see [`Tolerance`].
#[derive(Debug)]
struct Difference {
    refused: f64,
    strays: f64,
    spread: f64,
}

impl Difference {
    fn new(share: &Share, native: &Share) -> Self {
        let pairs = || share.hosts.iter().zip(&native.hosts);
        let strays = pairs().filter(|(_, native)| **native == 0).map(|(host, _)| host).sum::<u64>();
        let refused = native.count(200).saturating_sub(share.count(200) + strays);
        let moved = pairs().map(|(host, native)| host.abs_diff(*native)).sum::<u64>() / 2;
        let count = share.statuses.values().sum::<u64>() as f64;
        let percentage = |number: u64| number as f64 * 100.0 / count;
        Self {
            refused: percentage(refused),
            strays: percentage(strays.saturating_sub(tolerances::FIRST_TRIES)),
            spread: percentage(moved),
        }
    }

    fn is_within(&self, tolerance: &Tolerance) -> bool {
        self.refused <= tolerance.refused
            && self.strays <= tolerance.strays
            && self.spread <= tolerance.spread
    }
}

fn differs_from_weights(share: &Share, weights: &[f64]) -> Option<String> {
    let count = share.statuses.values().sum::<u64>();
    if weights.iter().all(|weight| *weight == 0.0) {
        let is_refused = share.count(503) == count && share.hosts.iter().all(|host| *host == 0);
        return (!is_refused).then(|| "not all requests are refused".to_owned());
    }
    if share.count(200) != count {
        return Some("not all requests are served".to_owned());
    }
    let probability = has_distribution(&share.hosts, weights);
    (probability < SIGNIFICANCE)
        .then(|| format!("shares are not {weights:?} (p = {probability:e})"))
}

fn differs_from_reference(share: &Share, native: &Share) -> Option<String> {
    let statuses: BTreeSet<_> = share.statuses.keys().chain(native.statuses.keys()).collect();
    let counts = |share: &Share| statuses.iter().map(|status| share.count(**status)).collect();
    let (observed, expected): (Vec<_>, Vec<_>) = (counts(share), counts(native));
    let statuses = same_distribution(&observed, &expected);
    let hosts = same_distribution(&share.hosts, &native.hosts);
    let differ =
        |what: &str, p: f64| (p < SIGNIFICANCE).then(|| format!("other {what} (p = {p:e})"));
    differ("statuses", statuses).or_else(|| differ("shares of hosts", hosts))
}

fn describe(share: &Share) -> String {
    format!("{:?} {:?}", share.statuses, share.hosts)
}
