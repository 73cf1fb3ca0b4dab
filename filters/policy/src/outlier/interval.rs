//! The tick of a cluster: returns hosts, checks rates, decrements multipliers and removes hosts
//! that left the cluster.

use std::time::Duration;

use super::cluster::{Cluster, Host, STALE_AFTER};
use super::effect::{Effect, EffectKind, Reason};
use super::rates::{Rate, Rates};
use crate::request::Draws;
use crate::spec::outlier_detection::Settings;

/// Time without traffic after which a host that is not ejected is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Maximum number of hosts that are found to have left in one tick. The next ticks find the others.
const MAX_DEPARTURES: u64 = 100;

/// A kind of rates, and the reasons of the detections by these rates.
struct RateKind {
    rate: fn(&Rates) -> Rate,
    success_rate: Reason,
    failure_percentage: Reason,
}

const RATE_KINDS: [RateKind; 2] = [
    RateKind {
        rate: |rates| rates.external,
        success_rate: Reason::SuccessRate,
        failure_percentage: Reason::FailurePercentage,
    },
    RateKind {
        rate: |rates| rates.local,
        success_rate: Reason::LocalOriginSuccessRate,
        failure_percentage: Reason::LocalOriginFailurePercentage,
    },
];

impl Cluster {
    /// The time of the next tick: one interval after the last one.
    pub fn next_tick(&self, settings: &Settings) -> Duration {
        self.last_tick.saturating_add(settings.interval)
    }

    /// Performs a tick. When it is due ([`Cluster::next_tick`]), the first worker to notice calls
    /// this. For `endpoints` see [`Cluster::detect`].
    pub fn on_interval(
        &mut self,
        settings: &Settings,
        endpoints: u64,
        now: Duration,
        draws: &mut dyn Draws,
    ) -> Vec<Effect> {
        self.last_tick = now;
        let mut effects = Vec::new();
        if settings.half_open.is_none() {
            effects
                .extend(self.hosts.iter_mut().filter_map(|host| host.end_if_over(settings, now)));
        }
        for kind in RATE_KINDS {
            for (host, reason) in self.outliers(settings, &kind) {
                effects.extend(self.detect(settings, &host, reason, endpoints, now, draws));
            }
        }
        for host in &mut self.hosts {
            host.rates = Rates::default();
            let is_recovered = host.ejection.is_none()
                && host.returned.is_some_and(|at| now.saturating_sub(at) >= settings.interval);
            if is_recovered {
                host.multiplier = host.multiplier.saturating_sub(1);
            }
        }
        self.forget(settings, endpoints, now, &mut effects);
        effects
    }

    /// The hosts with bad rates, and the reasons.
    fn outliers(&self, settings: &Settings, kind: &RateKind) -> Vec<(Box<[u8]>, Reason)> {
        let mut found = Vec::new();
        if let Some(detector) = settings.success_rate {
            let hosts = self.rated(kind, detector.request_volume, detector.minimum_hosts);
            let threshold = success_rate_threshold(&hosts, detector.stdev_factor);
            let bad = hosts.iter().filter(|(_, rate)| *rate < threshold);
            found.extend(bad.map(|(host, _)| (host.address.clone(), kind.success_rate)));
        }
        if let Some(detector) = settings.failure_percentage {
            let hosts = self.rated(kind, detector.request_volume, detector.minimum_hosts);
            let threshold = f64::from(detector.threshold);
            let bad = hosts.iter().filter(|(_, rate)| 100.0 - rate >= threshold);
            found.extend(bad.map(|(host, _)| (host.address.clone(), kind.failure_percentage)));
        }
        found
    }

    /// The hosts with at least `volume` attempts, and their success rates in percent. Empty if
    /// there are fewer than `minimum` such hosts.
    fn rated(&self, kind: &RateKind, volume: u32, minimum: u32) -> Vec<(&Host, f64)> {
        let rate = |host: &Host| {
            let Rate { requests, successes } = (kind.rate)(&host.rates);
            let is_enough = host.ejection.is_none() && requests > 0 && requests >= volume;
            is_enough.then(|| f64::from(successes) * 100.0 / f64::from(requests))
        };
        let hosts: Vec<_> =
            self.hosts.iter().filter_map(|host| Some((host, rate(host)?))).collect();
        if hosts.len() as u64 >= u64::from(minimum) { hosts } else { Vec::new() }
    }

    /// Removes hosts that Envoy has not chosen for a long time. If more hosts are known than the
    /// cluster has, some must have left: these are the ones that Envoy chose least recently,
    /// ejected or not.
    fn forget(
        &mut self,
        settings: &Settings,
        endpoints: u64,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let soon = settings.interval.saturating_mul(STALE_AFTER);
        // A host that has just returned had no chance to be chosen.
        let is_new = |host: &Host| host.returned.is_some_and(|at| now.saturating_sub(at) < soon);
        let is_stale = |host: &Host| now.saturating_sub(host.seen) >= soon && !is_new(host);
        let surplus = (self.hosts.len() as u64).saturating_sub(self.size(endpoints));
        let mut departed = Vec::new();
        for _ in 0..surplus.min(MAX_DEPARTURES) {
            let stale = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(index, host)| is_stale(host) && !departed.contains(index));
            // A host that is forgotten by mistake gets requests, so ejected ones are last.
            let oldest = stale.min_by_key(|(_, host)| (host.seen, host.ejection.is_some()));
            let Some((index, _)) = oldest else { break };
            departed.push(index);
        }
        let mut index = 0usize;
        self.hosts.retain(|host| {
            let has_left = departed.contains(&index);
            index = index.saturating_add(1);
            let is_idle = host.ejection.is_none() && now.saturating_sub(host.seen) >= FORGET_AFTER;
            let stays = !has_left && (!is_idle || is_new(host));
            if !stays {
                effects.push(host.effect(match host.ejection {
                    Some(_) => EffectKind::Departed,
                    None => EffectKind::Forgotten,
                }));
            }
            stays
        });
    }
}

impl Host {
    /// Ends the ejection if its time is over.
    fn end_if_over(&mut self, settings: &Settings, now: Duration) -> Option<Effect> {
        let ejection = self.ejection?;
        let is_over = self.ejection_time(settings, &ejection) <= now.saturating_sub(ejection.at);
        if is_over { self.end_ejection(now) } else { None }
    }
}

/// The success rate below which a host is an outlier: the mean of all hosts minus `factor` / 1000
/// standard deviations.
fn success_rate_threshold(hosts: &[(&Host, f64)], factor: u32) -> f64 {
    let count = hosts.len() as f64;
    let mean = hosts.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = hosts.iter().map(|(_, rate)| (rate - mean) * (rate - mean)).sum::<f64>() / count;
    mean - f64::from(factor) / 1000.0 * variance.sqrt()
}

#[cfg(test)]
mod tests;
