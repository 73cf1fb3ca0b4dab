//! The hosts of a cluster and what is done with them. The value that workers share of a cluster.

use std::time::Duration;

use super::effect::{Effect, EffectKind, Reason};
use super::rates::Rates;
use crate::request::Draws;
use crate::spec::outlier_detection::{HalfOpen, Settings};

/// How many hosts of a cluster are kept. Those beyond get traffic and are never ejected.
pub const MAX_HOSTS: usize = 10_000;

/// The length of the longest address: no `ip:port` and no path of a socket is longer.
const MAX_ADDRESS: usize = 255;

/// The hosts of a cluster. Times are since any moment that is the same for all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// In order of their addresses
    pub(super) hosts: Vec<Host>,
    /// When the last tick was, or the first host appeared
    pub(super) last_tick: Duration,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address, as Envoy gives it: `ip:port`
    pub address: Box<[u8]>,
    /// When it was last said to have had traffic, see [`Cluster::observe`]
    pub seen: Duration,
    /// How often it has been ejected
    pub ejections: u32,
    /// How many base times its next ejection is longer than none
    pub multiplier: u32,
    /// The ejection that it is in, if any
    pub ejection: Option<Ejection>,
    /// When it last came back
    pub returned: Option<Duration>,
    /// Its attempts since the last tick
    pub rates: Rates,
}

/// An ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// When it began
    pub at: Duration,
    /// How much longer it is than others
    pub jitter: Duration,
    /// When the probe was sent that is on its way, if one is
    pub probe: Option<Duration>,
    /// How many probes in a row have succeeded
    pub successes: u32,
}

/// What counting has to know of a host. That of an unknown host is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How often it has been ejected
    pub ejections: u32,
    /// Whether it is
    pub is_ejected: bool,
}

/// What became of a host that had traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It is new, and kept.
    Added,
    /// It is new, and there is no room for it, or its address is none.
    Full,
    /// It was known.
    Known,
}

impl Cluster {
    /// A cluster without hosts, at its first moment.
    pub fn new(now: Duration) -> Self {
        Self { hosts: Vec::new(), last_tick: now }
    }

    /// The known hosts, in order of their addresses.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// How many hosts are ejected.
    pub fn ejected(&self) -> usize {
        self.hosts.iter().filter(|host| host.ejection.is_some()).count()
    }

    /// What counting has to know of the host `address`.
    pub fn standing(&self, address: &[u8]) -> Standing {
        self.find(address).map(Host::standing).unwrap_or_default()
    }

    /// Says that the host `address` has traffic. To be said of each host that a worker saw, once
    /// between two ticks; of a new one at once.
    pub fn observe(&mut self, address: &[u8], now: Duration) -> Observed {
        match self.position(address) {
            Ok(index) => {
                if let Some(host) = self.hosts.get_mut(index) {
                    host.seen = host.seen.max(now);
                }
                Observed::Known
            }
            Err(_) if self.hosts.len() >= MAX_HOSTS || address.len() > MAX_ADDRESS => {
                Observed::Full
            }
            Err(index) => {
                let host = Host {
                    address: address.into(),
                    seen: now,
                    ejections: 0,
                    multiplier: 0,
                    ejection: None,
                    returned: None,
                    rates: Rates::default(),
                };
                self.hosts.insert(index.min(self.hosts.len()), host);
                Observed::Added
            }
        }
    }

    /// Adds the attempts that a worker counted. Those of an unknown host are dropped.
    pub fn add_rates(&mut self, address: &[u8], rates: Rates) {
        if let Some(host) = self.find_mut(address) {
            host.rates.add(rates);
        }
    }

    /// Acts on a detection: ejects the host `address`, unless it is ejected already, or that would
    /// be too many, or the draw is against it. A new host becomes a known one. `endpoints` is the size
    /// of the cluster (`upstream.num_endpoints`), 0 if it is unknown: then the known hosts are
    /// the cluster.
    pub fn detect(
        &mut self,
        settings: &Settings,
        address: &[u8],
        reason: Reason,
        endpoints: u64,
        now: Duration,
        draws: &mut dyn Draws,
    ) -> Vec<Effect> {
        if self.observe(address, now) == Observed::Full {
            return Vec::new();
        }
        let allowed = self.allows_one_more(settings, endpoints);
        let Some(host) = self.find_mut(address).filter(|host| host.ejection.is_none()) else {
            return Vec::new();
        };
        // The share first: what is too much is an overflow, whether it would be enforced or not.
        let enforced = allowed && draws.draw() % 100 < u64::from(enforcing(settings, reason));
        let mut effects = vec![host.effect(EffectKind::Detected { reason, enforced })];
        if enforced {
            effects.push(host.eject(settings, reason, now, draws));
        } else if !allowed {
            effects.push(host.effect(EffectKind::Overflow));
        }
        effects
    }

    fn allows_one_more(&self, settings: &Settings, endpoints: u64) -> bool {
        let ejected = self.ejected() as u64;
        let share = u64::from(settings.max_ejection_percent).saturating_mul(self.size(endpoints));
        ejected.saturating_add(1).saturating_mul(100) <= share
            || (settings.always_ejects_one_host && ejected == 0)
    }

    /// How many hosts the cluster has.
    pub(super) fn size(&self, endpoints: u64) -> u64 {
        if endpoints > 0 { endpoints } else { self.hosts.len() as u64 }
    }

    /// When the next probe can be sent; `None` where hosts are not probed, or none is ejected.
    pub fn next_probe(&self, settings: &Settings) -> Option<Duration> {
        let half_open = settings.half_open?;
        self.hosts.iter().filter_map(|host| host.probe_time(settings, half_open)).min()
    }

    /// Takes the right to send one probe, and the address that it is for: the host that has waited
    /// longest. See [`super::View::probe_header`] for the request that goes there.
    pub fn take_probe(&mut self, settings: &Settings, now: Duration) -> Option<&[u8]> {
        let half_open = settings.half_open?;
        let waiting = self.hosts.iter_mut().filter_map(|host| {
            let time = host.probe_time(settings, half_open).filter(|time| *time <= now)?;
            Some((time, host))
        });
        let (_, host) = waiting.min_by_key(|(time, _)| *time)?;
        host.ejection.as_mut()?.probe = Some(now);
        Some(&host.address)
    }

    /// What came of an attempt that began at `began` with an ejected host: the probe's answer if it
    /// is from after the probe was sent. With `None` nothing came of it, as when the client left.
    pub fn end_probe(
        &mut self,
        settings: &Settings,
        address: &[u8],
        began: Duration,
        is_failure: Option<bool>,
        now: Duration,
        draws: &mut dyn Draws,
    ) -> Option<Effect> {
        let needed = settings.half_open?.successes;
        let host = self.find_mut(address)?;
        let ejection = host.ejection.as_mut()?;
        if ejection.probe? > began {
            return None;
        }
        ejection.probe = None;
        if is_failure? {
            return Some(host.eject(settings, Reason::Probe, now, draws));
        }
        ejection.successes = ejection.successes.saturating_add(1);
        if ejection.successes < needed { None } else { host.admit(now) }
    }

    pub(super) fn position(&self, address: &[u8]) -> Result<usize, usize> {
        self.hosts.binary_search_by(|host| (*host.address).cmp(address))
    }

    fn find(&self, address: &[u8]) -> Option<&Host> {
        self.hosts.get(self.position(address).ok()?)
    }

    fn find_mut(&mut self, address: &[u8]) -> Option<&mut Host> {
        let index = self.position(address).ok()?;
        self.hosts.get_mut(index)
    }
}

impl Host {
    pub(super) fn standing(&self) -> Standing {
        Standing { ejections: self.ejections, is_ejected: self.ejection.is_some() }
    }

    pub(super) fn effect(&self, kind: EffectKind) -> Effect {
        Effect { host: self.address.clone(), kind }
    }

    /// Ejects it, once more if it is ejected.
    fn eject(
        &mut self,
        settings: &Settings,
        reason: Reason,
        now: Duration,
        draws: &mut dyn Draws,
    ) -> Effect {
        let most = u64::try_from(settings.max_ejection_time_jitter.as_millis()).unwrap_or(u64::MAX);
        let jitter = match most {
            0 => 0,
            _ => draws.draw() % most.saturating_add(1),
        };
        let ejection =
            Ejection { at: now, jitter: Duration::from_millis(jitter), probe: None, successes: 0 };
        self.ejection = Some(ejection);
        self.ejections = self.ejections.saturating_add(1);
        let base = settings.base_ejection_time;
        let bound = settings.max_ejection_time.saturating_add(base);
        if base.saturating_mul(self.multiplier) < bound {
            self.multiplier = self.multiplier.saturating_add(1);
        }
        let time = self.ejection_time(settings, &ejection);
        self.effect(EffectKind::Ejected { reason, time, ejections: self.ejections })
    }

    /// Ends its ejection.
    pub(super) fn admit(&mut self, now: Duration) -> Option<Effect> {
        let first = self.ejection.take()?;
        self.returned = Some(now);
        Some(self.effect(EffectKind::Returned { after: now.saturating_sub(first.at) }))
    }

    pub(super) fn ejection_time(&self, settings: &Settings, ejection: &Ejection) -> Duration {
        settings.ejection_time(self.multiplier).saturating_add(ejection.jitter)
    }

    /// When it can be probed; `None` if it is not ejected.
    fn probe_time(&self, settings: &Settings, half_open: HalfOpen) -> Option<Duration> {
        let ejection = self.ejection?;
        Some(match ejection.probe {
            // An answer that does not come must not keep the host out for good.
            Some(sent) => sent.saturating_add(half_open.probe_timeout),
            None => ejection.at.saturating_add(self.ejection_time(settings, &ejection)),
        })
    }
}

/// How often a detection is enforced, in percent.
fn enforcing(settings: &Settings, reason: Reason) -> u32 {
    let of_success_rate = settings.success_rate.as_ref();
    let of_failures = settings.failure_percentage.as_ref();
    match reason {
        Reason::Consecutive5xx => settings.consecutive_5xx.enforcing,
        Reason::ConsecutiveGatewayFailure => settings.consecutive_gateway_failure.enforcing,
        Reason::ConsecutiveLocalOriginFailure => {
            settings.consecutive_local_origin_failure.enforcing
        }
        Reason::FailurePercentage => of_failures.map_or(0, |rate| rate.enforcing),
        Reason::LocalOriginFailurePercentage => {
            of_failures.map_or(0, |rate| rate.enforcing_local_origin)
        }
        Reason::LocalOriginSuccessRate => {
            of_success_rate.map_or(0, |rate| rate.enforcing_local_origin)
        }
        Reason::Probe => 100,
        Reason::SuccessRate => of_success_rate.map_or(0, |rate| rate.enforcing),
    }
}

#[cfg(test)]
mod tests;
