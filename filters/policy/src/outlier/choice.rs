//! Selects the hosts of a request while hosts are ejected.
//!
//! The hosts of the list are those that Envoy chose lately by itself. Envoy takes them from the
//! list without a check of their health, weight or priority, and knows hosts that are not in it:
//! new ones. So some requests get no list. The first ones of each interval are such *tries*, until
//! Envoy chooses an ejected host for one of them. All others get the list.

use std::time::Duration;

use super::cluster::{Cluster, Host, Standing};
use crate::spec::outlier_detection::Settings;

/// Maximum number of hosts in the header of a request. The first host gets the request, and each
/// retry goes to the next one.
pub const MAX_LISTED: usize = 16;

/// The state of a cluster that requests need. It is computed once for each change of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    healthy: Vec<Box<[u8]>>,
    /// The healthy hosts that Envoy chose lately. Empty if no host is ejected
    listed: Vec<Box<[u8]>>,
    /// The hosts that are ejected or were ejected before, in order of their addresses
    known_outliers: Vec<(Box<[u8]>, Standing)>,
    /// The ejected hosts that Envoy has not chosen since the last tick, in order of their addresses
    unconfirmed: Vec<Box<[u8]>>,
    ejected: u64,
    min_health_percent: u64,
    has_fallback: bool,
    /// Time of the last try ([`Cluster::record_try`]); `None` before the first one
    pub tried: Option<Duration>,
    is_settled: bool,
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
    /// No host of this cluster: the request goes to the fallback.
    Fallback,
}

impl View {
    /// The view of a cluster.
    pub fn new(cluster: &Cluster, settings: &Settings, has_fallback: bool) -> Self {
        let hosts = cluster.hosts().iter();
        let healthy = hosts.clone().filter(|host| host.ejection.is_none());
        let outliers = hosts.clone().filter(|host| host.ejections > 0);
        let ejected = cluster.ejected() as u64;
        let is_listed = |host: &&Host| ejected > 0 && cluster.is_fresh(settings, host);
        let address = |host: &Host| host.address.clone();
        Self {
            listed: healthy.clone().filter(is_listed).map(address).collect(),
            healthy: healthy.map(address).collect(),
            known_outliers: outliers.map(|host| (host.address.clone(), host.standing())).collect(),
            unconfirmed: hosts
                .filter(|host| host.ejection.is_some() && !cluster.is_confirmed(host))
                .map(address)
                .collect(),
            ejected,
            min_health_percent: u64::from(settings.min_health_percent),
            has_fallback,
            tried: cluster.tried,
            is_settled: cluster.is_settled(),
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

    /// Returns whether there was a try since the last tick, so that no further one is needed.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Selects the hosts of a request. For `endpoints` see [`Cluster::detect`]. `rotation` must be
    /// incremented for each request, so that all hosts get the same number of requests. `is_try`
    /// leaves the request to Envoy, so that it can choose hosts that are not known.
    ///
    /// Envoy also selects the host if no host is ejected, if no host is left, and if less than
    /// `minHealthPercent` of the hosts are healthy. In the last two cases a fallback has priority.
    pub fn choose(&self, endpoints: u64, rotation: usize, is_try: bool) -> Choice {
        if self.is_whole() || is_try {
            return Choice::Any;
        }
        let is_low = self.is_low(endpoints);
        if self.has_fallback && (is_low || self.is_all_out(endpoints)) {
            return Choice::Fallback;
        }
        if is_low || self.listed.is_empty() {
            return Choice::Any;
        }
        Choice::Hosts(self.header(None, rotation))
    }

    /// Returns whether a request that Envoy sends to the host `address` is a try that has to be
    /// recorded ([`Cluster::record_try`]): the first one since the last tick, or if no host is
    /// left, the first one for each ejected host.
    pub fn is_try(&self, address: &[u8]) -> bool {
        let has =
            |hosts: &[Box<[u8]>]| hosts.binary_search_by(|known| (**known).cmp(address)).is_ok();
        match self.is_settled {
            false => self.standing(address).is_ejected,
            true => self.listed.is_empty() && has(&self.unconfirmed),
        }
    }

    /// Returns whether a request that Envoy sends to an ejected host has to be refused: each host
    /// of the cluster has been found to be ejected since the last tick, and nothing else can
    /// answer.
    pub fn refuses(&self, endpoints: u64) -> bool {
        let confirmed = self.ejected.saturating_sub(self.unconfirmed.len() as u64);
        let is_all_out = self.listed.is_empty() && confirmed >= self.size(endpoints);
        !self.has_fallback && is_all_out && !self.is_low(endpoints)
    }

    /// The number of hosts in the cluster.
    fn size(&self, endpoints: u64) -> u64 {
        let known = self.ejected.saturating_add(self.healthy.len() as u64);
        if endpoints > 0 { endpoints } else { known }
    }

    /// Whether all hosts of the cluster are ejected.
    fn is_all_out(&self, endpoints: u64) -> bool {
        self.listed.is_empty() && self.ejected >= self.size(endpoints)
    }

    /// Whether less than `minHealthPercent` of the hosts are healthy.
    fn is_low(&self, endpoints: u64) -> bool {
        let size = self.size(endpoints);
        // Ejected hosts that have left the cluster do not count.
        let ejected = self.ejected.min(size.saturating_sub(self.listed.len() as u64));
        let left = size.saturating_sub(ejected).saturating_mul(100);
        left < self.min_health_percent.saturating_mul(size)
    }

    /// The value of the header for a request that probes `host`. The retries go to healthy hosts.
    pub fn probe_header(&self, host: &[u8], rotation: usize) -> Vec<u8> {
        self.header(Some(host), rotation)
    }

    fn header(&self, first: Option<&[u8]>, rotation: usize) -> Vec<u8> {
        let start = rotation.checked_rem(self.listed.len()).unwrap_or_default();
        let (before, from) = self.listed.split_at_checked(start).unwrap_or((&[], &self.listed));
        let healthy = from.iter().chain(before).map(|host| &**host);
        first.into_iter().chain(healthy).take(MAX_LISTED).collect::<Vec<_>>().join(&b',')
    }
}

#[cfg(test)]
mod tests;
