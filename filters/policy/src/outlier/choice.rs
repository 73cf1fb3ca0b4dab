//! Selects the hosts of a request while hosts are ejected.

use std::time::Duration;

use super::cluster::{Cluster, Standing};
use crate::request::Draws;
use crate::spec::outlier_detection::Settings;

/// Maximum number of hosts in the header of a request. The first host gets the request, and each
/// retry goes to the next one.
pub const MAX_LISTED: usize = 16;

/// The state of a cluster that requests need. It is computed once for each change of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    healthy: Vec<Box<[u8]>>,
    /// The hosts that are ejected or were ejected before, in order of their addresses
    known_outliers: Vec<(Box<[u8]>, Standing)>,
    ejected: u64,
    min_health_percent: u64,
    has_fallback: bool,
    /// Time of the next probe ([`Cluster::take_probe`]); `None` if there is none
    pub next_probe: Option<Duration>,
}

/// The hosts that a request may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Any host: Envoy selects one.
    Any,
    /// These hosts, in this order. The value is that of the header that the cluster's load balancer
    /// reads: addresses separated by commas.
    Hosts(Vec<u8>),
    /// No host of this cluster. The request goes to the fallback if there is one, otherwise it gets
    /// 503.
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

    /// Returns whether no host is ejected. In this case, every choice is [`Choice::Any`].
    pub fn is_whole(&self) -> bool {
        self.ejected == 0
    }

    /// The ejection state of the host `address`, see [`Cluster::standing`].
    pub fn standing(&self, address: &[u8]) -> Standing {
        let outliers = &self.known_outliers;
        let found = outliers.binary_search_by(|(known, _)| (**known).cmp(address));
        let known = found.ok().and_then(|index| outliers.get(index));
        known.map(|(_, standing)| *standing).unwrap_or_default()
    }

    /// Selects the hosts of a request. For `endpoints` see [`Cluster::detect`]. `rotation` must be
    /// incremented for each request, so that all hosts get the same number of requests.
    ///
    /// Envoy selects the host if no host is ejected. If less than `minHealthPercent` of the hosts
    /// are healthy, the fallback gets the request; without a fallback, Envoy selects the host.
    /// Hosts that never had traffic are unknown here. So Envoy selects the host of a share of the
    /// requests that is equal to the share of unknown hosts.
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

    /// The value of the header for a request that probes `host`. The retries go to healthy hosts.
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
