//! Where a request may go while hosts are ejected.

use std::time::Duration;

use super::cluster::{Cluster, Standing};
use crate::request::Draws;
use crate::spec::outlier_detection::Settings;

/// How many hosts a request is told. The first one gets it, and each retry the next one.
pub const MAX_LISTED: usize = 16;

/// What a cluster looks like to requests: worked out once for each change of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    healthy: Vec<Box<[u8]>>,
    /// The hosts that have been ejected before or are, in order of their addresses
    known_outliers: Vec<(Box<[u8]>, Standing)>,
    ejected: u64,
    min_health_percent: u64,
    has_fallback: bool,
    /// When the next probe can be taken ([`Cluster::take_probe`]); never if absent
    pub next_probe: Option<Duration>,
}

/// Where a request may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Anywhere, as Envoy sees fit.
    Any,
    /// To these hosts, in this order: the value of the header that the cluster's load balancer
    /// reads, addresses with commas between them.
    Hosts(Vec<u8>),
    /// Nowhere in this cluster: to its fallback if it has one, else 503.
    None,
}

impl View {
    /// The view of a cluster.
    pub fn new(cluster: &Cluster, settings: &Settings, has_fallback: bool) -> Self {
        let hosts = cluster.hosts().iter();
        let healthy = hosts.clone().filter(|host| host.ejection.is_none());
        let outliers = hosts.filter(|host| host.ejections > 0);
        Self {
            healthy: healthy.map(|host| host.address.clone()).collect(),
            known_outliers: outliers.map(|host| (host.address.clone(), host.standing())).collect(),
            ejected: cluster.ejected() as u64,
            min_health_percent: u64::from(settings.min_health_percent),
            has_fallback,
            next_probe: cluster.next_probe(settings),
        }
    }

    /// The hosts that are not ejected.
    pub fn healthy(&self) -> &[Box<[u8]>] {
        &self.healthy
    }

    /// Whether no host is ejected, so that there is nothing to choose and [`Choice::Any`] is right.
    pub fn is_whole(&self) -> bool {
        self.ejected == 0
    }

    /// What counting has to know of the host `address`, as [`Cluster::standing`].
    pub fn standing(&self, address: &[u8]) -> Standing {
        let outliers = &self.known_outliers;
        let found = outliers.binary_search_by(|(known, _)| (**known).cmp(address));
        let known = found.ok().and_then(|index| outliers.get(index));
        known.map(|(_, standing)| *standing).unwrap_or_default()
    }

    /// Where a request may go. `endpoints` is as for [`Cluster::detect`]; `rotation` is one more each
    /// time, so that the hosts take turns.
    ///
    /// While nothing is ejected that is up to Envoy. So it is where less than `minHealthPercent` of
    /// the hosts are left, unless there is a fallback, which then gets the requests. A host that
    /// has never had traffic is not known here, so a share of the requests, as large as that of
    /// unknown hosts, is left to Envoy too.
    pub fn choose(&self, endpoints: u64, rotation: usize, draws: &mut dyn Draws) -> Choice {
        if self.is_whole() {
            return Choice::Any;
        }
        let known = self.ejected.saturating_add(self.healthy.len() as u64);
        let endpoints = if endpoints > 0 { endpoints } else { known };
        let left = endpoints.saturating_sub(self.ejected).saturating_mul(100);
        let is_low = left < self.min_health_percent.saturating_mul(endpoints);
        let unknown = endpoints.saturating_sub(known);
        if is_low {
            return if self.has_fallback { Choice::None } else { Choice::Any };
        }
        if self.healthy.is_empty() {
            return if unknown > 0 { Choice::Any } else { Choice::None };
        }
        if unknown > 0 && draws.draw() % endpoints < unknown {
            return Choice::Any;
        }
        Choice::Hosts(self.header(None, rotation))
    }

    /// The value of the header for a request that probes `host`. Its retries go to healthy hosts.
    pub fn probe_header(&self, host: &[u8], rotation: usize) -> Vec<u8> {
        self.header(Some(host), rotation)
    }

    fn header(&self, first: Option<&[u8]>, rotation: usize) -> Vec<u8> {
        let start = rotation.checked_rem(self.healthy.len()).unwrap_or_default();
        let (before, from) = self.healthy.split_at_checked(start).unwrap_or((&[], &self.healthy));
        let healthy = from.iter().chain(before).map(|host| &**host);
        first.into_iter().chain(healthy).take(MAX_LISTED).collect::<Vec<_>>().join(&b',')
    }
}

#[cfg(test)]
mod tests;
