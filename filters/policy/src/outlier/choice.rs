//! Where a request may go while hosts are ejected.

use std::time::Duration;

use super::{Cluster, Settings};
use crate::request::Draws;

/// How many hosts a request is told. The first one gets it, and each retry the next one.
pub const MAX_LISTED: usize = 16;

/// What a cluster looks like to requests: worked out once for each change of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    healthy: Vec<Box<[u8]>>,
    is_anything_ejected: bool,
    is_out: bool,
    panics: bool,
    endpoints: u64,
    /// How many of the endpoints have not had traffic yet
    unknown: u64,
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
    /// The view of a cluster with so many endpoints; 0 if that is unknown.
    pub fn new(cluster: &Cluster, settings: &Settings, has_fallback: bool, endpoints: u64) -> Self {
        let known = cluster.hosts().len() as u64;
        let endpoints = cluster.size(endpoints);
        let ejected = cluster.ejected() as u64;
        let unknown = endpoints.saturating_sub(known);
        let is_healthy = |host: &&super::Host| host.ejection.is_none();
        let healthy: Vec<_> =
            cluster.hosts().iter().filter(is_healthy).map(|host| host.address.clone()).collect();
        let share = endpoints.saturating_sub(ejected).saturating_mul(100);
        let is_low = share < u64::from(settings.min_health_percent).saturating_mul(endpoints);
        let is_empty = healthy.is_empty() && unknown == 0;
        Self {
            is_anything_ejected: ejected > 0,
            // With somewhere else to go, too few healthy hosts are as good as none.
            is_out: ejected > 0 && (if has_fallback { is_low || is_empty } else { is_empty }),
            panics: is_low && !has_fallback,
            healthy,
            unknown,
            endpoints,
            next_probe: cluster.next_probe(settings),
        }
    }

    /// The hosts that are not ejected.
    pub fn healthy(&self) -> &[Box<[u8]>] {
        &self.healthy
    }

    /// Where a request may go. `rotation` is one more each time, so that the hosts take turns.
    ///
    /// While nothing is ejected that is up to Envoy. A host that has never had traffic is not known
    /// here, so a share of the requests, as large as that of unknown hosts, is left to Envoy too.
    pub fn choose(&self, rotation: usize, draws: &mut dyn Draws) -> Choice {
        if !self.is_anything_ejected || self.panics {
            return Choice::Any;
        }
        if self.is_out {
            return Choice::None;
        }
        let is_left_to_envoy = self.unknown > 0
            && (self.healthy.is_empty() || draws.draw() % self.endpoints.max(1) < self.unknown);
        if is_left_to_envoy {
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
