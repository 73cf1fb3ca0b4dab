//! The hosts of a cluster and their ejections. The workers share this value.

use std::time::Duration;

use super::effect::{Effect, EffectKind, Reason};
use super::rates::Rates;
use crate::request::Draws;
use crate::spec::outlier_detection::{HalfOpen, Settings};

/// Maximum number of known hosts in a cluster. Further hosts get traffic and are never ejected.
pub const MAX_HOSTS: usize = 10_000;

/// Number of intervals after which a host is no longer fresh, see [`Cluster::is_fresh`].
pub(super) const STALE_AFTER: u32 = 3;

/// Maximum length of an address, in bytes. Every `ip:port` and every socket path is shorter.
const MAX_ADDRESS: usize = 255;

/// The hosts of a cluster. All times are relative to a point in time that is the same for all
/// workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// In order of their addresses
    pub(super) hosts: Vec<Host>,
    /// Time of the last tick. Before the first tick, the time at which the cluster was created
    pub(super) last_tick: Duration,
    /// Time of the last try, see [`Cluster::record_try`]; `None` before the first one
    pub(super) tried: Option<Duration>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address in Envoy's form: `ip:port`
    pub address: Box<[u8]>,
    /// When Envoy last chose the host itself, see [`Cluster::observe`]
    pub seen: Duration,
    /// Number of ejections so far
    pub ejections: u32,
    /// Length of an ejection, in multiples of the base time. Each ejection increments it first
    pub multiplier: u32,
    /// The current ejection
    pub ejection: Option<Ejection>,
    /// Time of the last return from an ejection
    pub returned: Option<Duration>,
    /// The attempts since the last tick
    pub rates: Rates,
}

/// An ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Time at which the ejection began
    pub at: Duration,
    /// Random time that is added to the length of the ejection
    pub jitter: Duration,
    /// Time at which the current probe was sent; `None` if no probe is in progress
    pub probe: Option<Duration>,
    /// Number of consecutive successful probes
    pub successes: u32,
}

/// The ejection state of a host, for its counters. Unknown hosts have the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Number of ejections so far
    pub ejections: u32,
    /// Whether the host is ejected now
    pub is_ejected: bool,
}

/// The result of [`Cluster::observe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The host is new and was added.
    Added,
    /// The host is new and was not added, because the cluster is full or the address is too long.
    Full,
    /// The host was known before.
    Known,
}

impl Cluster {
    /// A cluster without hosts that is created at `now`.
    pub fn new(now: Duration) -> Self {
        Self { hosts: Vec::new(), last_tick: now, tried: None }
    }

    /// The known hosts, in order of their addresses.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The number of ejected hosts.
    pub fn ejected(&self) -> usize {
        self.hosts.iter().filter(|host| host.ejection.is_some()).count()
    }

    /// The ejection state of the host `address`.
    pub fn standing(&self, address: &[u8]) -> Standing {
        self.find(address).map(Host::standing).unwrap_or_default()
    }

    /// Records that Envoy itself chose the host `address`, so that it is in the cluster and may get
    /// requests. A worker calls this immediately for a new host, and once between two ticks for
    /// each known host. Hosts that Envoy took from the list of a request do not count: it does not
    /// check whether they are healthy.
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

    /// Records a try: Envoy itself chose the ejected host `address` for a request that had no list
    /// of hosts. Until the next tick, further requests get a list. Returns `false` if the host is
    /// not ejected.
    pub fn record_try(&mut self, address: &[u8], now: Duration) -> bool {
        let Some(host) = self.find_mut(address).filter(|host| host.ejection.is_some()) else {
            return false;
        };
        host.seen = host.seen.max(now);
        self.tried = Some(now);
        true
    }

    /// Returns whether there was a try since the last tick.
    pub fn is_settled(&self) -> bool {
        self.tried.is_some_and(|at| at >= self.last_tick)
    }

    /// Returns whether Envoy chose the host since the last tick.
    pub(super) fn is_confirmed(&self, host: &Host) -> bool {
        host.seen >= self.last_tick
    }

    /// Returns whether Envoy chose the host lately: in the last three intervals. Other hosts may
    /// have left the cluster, or may fail Envoy's health checks.
    pub(super) fn is_fresh(&self, settings: &Settings, host: &Host) -> bool {
        self.last_tick.saturating_sub(host.seen) < settings.interval.saturating_mul(STALE_AFTER)
    }

    /// The number of ejected hosts that can still be in a cluster with so many hosts, beside those
    /// that are known to be in it.
    pub(super) fn ejected_in_cluster(&self, settings: &Settings, endpoints: u64) -> u64 {
        let is_present = |host: &&Host| host.ejection.is_none() && self.is_fresh(settings, host);
        let present = self.hosts.iter().filter(is_present).count() as u64;
        (self.ejected() as u64).min(self.size(endpoints).saturating_sub(present))
    }

    /// Adds the attempts that a worker counted. Attempts of unknown hosts are ignored.
    pub fn add_rates(&mut self, address: &[u8], rates: Rates) {
        if let Some(host) = self.find_mut(address) {
            host.rates.add(rates);
        }
    }

    /// Handles a detection: ejects the host `address`, except if it is ejected already, if the
    /// maximum share of hosts is ejected, if the draw for enforcement fails, or in shadow mode. A
    /// new host is added. `endpoints` is the number of hosts in the cluster
    /// (`upstream.num_endpoints`). 0 means unknown: then the number of known hosts is used.
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
        let knows_all = self.hosts.len() as u64 >= self.size(endpoints);
        let Some(host) = self.find_mut(address).filter(|host| host.ejection.is_none()) else {
            return Vec::new();
        };
        // The maximum is checked first: above it, the result is an overflow without a draw.
        let is_chosen = allowed && draws.draw() % 100 < u64::from(enforcing(settings, reason));
        let enforced = is_chosen && !settings.mode.is_shadow();
        let mut effects = vec![host.effect(EffectKind::Detected { reason, enforced })];
        if enforced {
            effects.push(host.eject(settings, reason, now, draws));
            if knows_all {
                // Nothing can be found out by a try now.
                self.tried = Some(now);
            }
        } else if is_chosen {
            effects.push(host.effect(EffectKind::Withheld { reason }));
        } else if !allowed {
            effects.push(host.effect(EffectKind::Overflow));
        }
        effects
    }

    fn allows_one_more(&self, settings: &Settings, endpoints: u64) -> bool {
        let ejected = self.ejected_in_cluster(settings, endpoints);
        let share = u64::from(settings.max_ejection_percent).saturating_mul(self.size(endpoints));
        ejected.saturating_add(1).saturating_mul(100) <= share
            || (settings.always_ejects_one_host && ejected == 0)
    }

    /// The number of hosts in the cluster.
    pub(super) fn size(&self, endpoints: u64) -> u64 {
        if endpoints > 0 { endpoints } else { self.hosts.len() as u64 }
    }

    /// The time at which the next probe can be sent. `None` if half-open recovery is off or no host
    /// is ejected.
    pub fn next_probe(&self, settings: &Settings) -> Option<Duration> {
        let half_open = settings.half_open?;
        self.hosts.iter().filter_map(|host| host.probe_time(settings, half_open)).min()
    }

    /// Reserves one probe and returns the address of its host: the one that has waited longest.
    /// `None` if no probe is due. The request needs the header of [`super::View::probe_header`].
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

    /// Records the result of an attempt with an ejected host. `began` is the start of the attempt.
    /// The result is ignored if no probe is in progress, or if the attempt began before the probe
    /// was sent. `is_failure` is `None` if there is no result, for example because the client
    /// closed the request.
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
        if ejection.successes < needed { None } else { host.end_ejection(now) }
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

    /// Ejects the host. A host that is ejected gets a new ejection.
    fn eject(
        &mut self,
        settings: &Settings,
        reason: Reason,
        now: Duration,
        draws: &mut dyn Draws,
    ) -> Effect {
        let max_jitter = settings.max_ejection_time_jitter.as_millis();
        let max_jitter = u64::try_from(max_jitter).unwrap_or(u64::MAX);
        let jitter = match max_jitter {
            0 => 0,
            _ => draws.draw() % max_jitter.saturating_add(1),
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

    /// Ends the ejection. `None` if the host is not ejected.
    pub(super) fn end_ejection(&mut self, now: Duration) -> Option<Effect> {
        let ejection = self.ejection.take()?;
        self.returned = Some(now);
        Some(self.effect(EffectKind::Returned { after: now.saturating_sub(ejection.at) }))
    }

    pub(super) fn ejection_time(&self, settings: &Settings, ejection: &Ejection) -> Duration {
        settings.ejection_time(self.multiplier).saturating_add(ejection.jitter)
    }

    /// The time at which the host can be probed. `None` if it is not ejected.
    fn probe_time(&self, settings: &Settings, half_open: HalfOpen) -> Option<Duration> {
        let ejection = self.ejection?;
        Some(match ejection.probe {
            // A probe without a result must not keep the host ejected forever.
            Some(sent) => sent.saturating_add(half_open.probe_timeout),
            None => ejection.at.saturating_add(self.ejection_time(settings, &ejection)),
        })
    }
}

/// The probability that a detection is enforced, in percent.
fn enforcing(settings: &Settings, reason: Reason) -> u32 {
    let success_rate = settings.success_rate.as_ref();
    let failure_percentage = settings.failure_percentage.as_ref();
    match reason {
        Reason::Consecutive5xx => settings.consecutive_5xx.enforcing,
        Reason::ConsecutiveGatewayFailure => settings.consecutive_gateway_failure.enforcing,
        Reason::ConsecutiveLocalOriginFailure => {
            settings.consecutive_local_origin_failure.enforcing
        }
        Reason::FailurePercentage => failure_percentage.map_or(0, |rate| rate.enforcing),
        Reason::LocalOriginFailurePercentage => {
            failure_percentage.map_or(0, |rate| rate.enforcing_local_origin)
        }
        Reason::LocalOriginSuccessRate => {
            success_rate.map_or(0, |rate| rate.enforcing_local_origin)
        }
        Reason::Probe => 100,
        Reason::SuccessRate => success_rate.map_or(0, |rate| rate.enforcing),
    }
}

#[cfg(test)]
mod tests;
