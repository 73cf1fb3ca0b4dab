//! A cluster as one worker knows it, and how it changes what all workers know of it ([`crate::stored`]).

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sluice_host::random::Random;
use sluice_host::shared_data::{SharedData, Version};
use sluice_policy::lookup::name_table::NameTable;
use sluice_policy::outlier::classify::{Outcome, is_failure};
use sluice_policy::outlier::count;
use sluice_policy::outlier::rates::Rates;
use sluice_policy::outlier::{Cluster, Effect, EffectKind, MAX_HOSTS, Observed, Standing, View};
use sluice_policy::spec::destination_rule::Target;
use sluice_policy::spec::outlier_detection::Settings;

use crate::metrics::Metrics;
use crate::stored::{self, Keys};

/// How often a write is tried. Each time that it fails another worker's has succeeded, so this many
/// failures in a row are out of the question.
const MAX_TRIES: usize = 1000;

/// How long before a tick each worker adds what it has counted, where rates matter: part of an interval,
/// and at most so long.
const LEAD: Duration = Duration::from_millis(50);

/// What a worker knows of a cluster.
#[derive(Debug)]
pub struct Monitor {
    cluster: Box<str>,
    /// Its outlier detection
    pub settings: Rc<Settings>,
    /// The cluster that gets the requests while this one is out
    pub fallback: Option<String>,
    /// When the plugin was configured
    configured: Duration,
    minds_broken_responses: bool,
    keys: Keys,
    known: RefCell<Known>,
    /// The hosts that had attempts since the last flush, and how these went
    seen: RefCell<NameTable<Rates>>,
    flushed: Cell<Duration>,
}

/// What was read of the shared values.
#[derive(Debug, Default)]
struct Known {
    sign: Option<Version>,
    /// 0 if unknown
    endpoints: u32,
    view: View,
    next_tick: Option<Duration>,
    /// Whether another configuration has taken over
    is_superseded: bool,
}

/// An attempt that is over, or whose response has come.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The host's address
    pub host: &'a [u8],
    /// When it began
    pub began: Duration,
    /// What came of it; `None` if nothing did, as when the client left
    pub outcome: Option<Outcome>,
}

/// What an update needs beside the store.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// Where it is counted
    pub metrics: &'a Metrics,
    /// For draws
    pub random: &'a Random,
}

impl Monitor {
    /// The monitor of a cluster, for a plugin that was configured at `configured`.
    pub fn new(cluster: &str, target: Target, configured: Duration) -> Self {
        let settings = &target.settings;
        let thresholds = [
            settings.consecutive_5xx.threshold,
            settings.consecutive_gateway_failure.threshold,
            settings.consecutive_local_origin_failure.threshold,
        ];
        let minds_broken_responses =
            thresholds.contains(&1) || settings.has_rates() || settings.half_open.is_some();
        Self {
            minds_broken_responses,
            keys: Keys::new(cluster),
            cluster: cluster.into(),
            settings: target.settings,
            fallback: target.fallback,
            configured,
            known: RefCell::default(),
            seen: RefCell::default(),
            flushed: Cell::default(),
        }
    }

    /// The name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// What requests have to know of it, as of now.
    pub fn view(&self, host: &impl SharedData) -> Ref<'_, View> {
        self.refresh(host);
        Ref::map(self.known.borrow(), |known| &known.view)
    }

    /// How many endpoints it has; 0 if that is unknown.
    pub fn endpoints(&self) -> u64 {
        u64::from(self.known.borrow().endpoints)
    }

    /// Reads the state if there is something new.
    fn refresh(&self, host: &impl SharedData) {
        let Some(sign) = host.stored(&self.keys.sign) else { return };
        if self.known.borrow().sign == Some(sign.version) {
            return;
        }
        // In this order: what is written in between has a later sign.
        let (state, is_superseded) = self.read(host);
        let next_tick = state.as_ref().map(|cluster| cluster.next_tick(&self.settings));
        let cluster = state.unwrap_or_default();
        *self.known.borrow_mut() = Known {
            sign: Some(sign.version),
            endpoints: stored::decode_endpoints(&sign.value),
            view: View::new(&cluster, &self.settings, self.fallback.is_some()),
            next_tick,
            is_superseded,
        };
    }

    /// The state. Also whether it is another configuration's that is newer.
    fn read(&self, host: &impl SharedData) -> (Option<Cluster>, bool) {
        let Some(stored) = host.stored(&self.keys.state) else { return (None, false) };
        let Some((fingerprint, configured, bytes)) = stored::split_state(&stored.value) else {
            return (None, false);
        };
        if fingerprint != self.settings.fingerprint {
            return (None, configured > self.configured);
        }
        (Cluster::decode(bytes), false)
    }

    /// Changes the state. `change` says what came of it, and whether requests have to know; `None` if
    /// nothing is to be written. It is called anew when another worker was faster.
    fn update<H: SharedData>(
        &self,
        means: Means<'_>,
        host: &H,
        mut change: impl FnMut(&mut Cluster) -> Option<(Vec<Effect>, bool)>,
    ) -> bool {
        let key = &self.keys.state;
        for _ in 0..MAX_TRIES {
            let stored = host.stored(key);
            let parts = stored.as_ref().and_then(|stored| stored::split_state(&stored.value));
            let mut abandoned = 0;
            let own = match parts {
                Some((fingerprint, _, bytes)) if fingerprint == self.settings.fingerprint => {
                    Cluster::decode(bytes)
                }
                Some((_, configured, _)) if configured > self.configured => return false,
                Some((_, _, bytes)) => {
                    abandoned = Cluster::decode(bytes).map_or(0, |other| other.ejected());
                    None
                }
                None => None,
            };
            let is_taken_over = own.is_none();
            let mut cluster = own.unwrap_or_else(|| Cluster::new(host.uptime()));
            let Some((effects, is_news)) = change(&mut cluster) else { return false };
            let value = stored::encode_state(self.settings.fingerprint, self.configured, &cluster);
            if !host.replace(key, &value, stored.as_ref().map(|stored| stored.version)) {
                continue;
            }
            if is_news || is_taken_over {
                let sign = &self.keys.sign;
                let endpoints = host.stored(sign).map_or(vec![0; 4], |stored| stored.value);
                host.overwrite(sign, &endpoints);
            }
            self.known.borrow_mut().next_tick = Some(cluster.next_tick(&self.settings));
            means.metrics.forget(abandoned, host);
            means.metrics.report(&self.cluster, &effects, host);
            for effect in effects.iter().filter(|effect| effect.kind == EffectKind::Forgotten) {
                let key = self.keys.counts(&effect.host);
                if host.stored(&key).is_some() {
                    host.overwrite(&key, &[]);
                }
            }
            return true;
        }
        false
    }

    /// Notes how many endpoints Envoy's cluster has, and says once if that is too few for anything to
    /// be ejected.
    pub fn note_endpoints(&self, endpoints: u64, host: &impl SharedData) {
        let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
        let before = self.known.borrow().endpoints;
        if endpoints == 0 || endpoints == before {
            return;
        }
        let key = &self.keys.sign;
        let stored = host.stored(key);
        if stored
            .as_ref()
            .is_some_and(|stored| stored::decode_endpoints(&stored.value) == endpoints)
        {
            return;
        }
        let version = stored.map(|stored| stored.version);
        let is_first = host.replace(key, &endpoints.to_le_bytes(), version);
        let needed = self.settings.minimum_hosts();
        let was_enough = before == 0 || before >= needed;
        if is_first && was_enough && endpoints < needed {
            log::warn!(
                "outlier cluster={:?} warning=\"nothing can be ejected: maxEjectionPercent {} takes \
                 {needed} hosts, or alwaysEjectOneHost, and there are {endpoints}\"",
                self.cluster,
                self.settings.max_ejection_percent,
            );
        }
    }

    /// Whether the number of endpoints is to be looked at again.
    pub fn needs_endpoints(&self) -> bool {
        self.seen.borrow().is_empty()
    }

    /// Whether it matters that a response broke off which was a success before. It does not where the
    /// next success clears what that one failure counts.
    pub fn minds_broken_responses(&self) -> bool {
        self.minds_broken_responses
    }

    /// Counts an attempt and acts on it.
    pub fn record<H: SharedData>(&self, attempt: Attempt<'_>, means: Means<'_>, host: &H) {
        let standing = self.view(host).standing(attempt.host);
        if self.known.borrow().is_superseded {
            return;
        }
        self.see(attempt, means, host);
        if standing.is_ejected {
            self.end_probe(attempt, means, host);
            return;
        }
        let Some(outcome) = attempt.outcome else { return };
        let endpoints = self.endpoints();
        let found = self.count(attempt.host, standing, outcome, host);
        if found.is_empty() {
            return;
        }
        let now = host.uptime();
        for reason in found.iter() {
            let mut draws = means.random;
            self.update(means, host, |cluster| {
                let effects = cluster.detect(
                    &self.settings,
                    attempt.host,
                    reason,
                    endpoints,
                    now,
                    &mut draws,
                );
                (!effects.is_empty()).then_some((effects, true))
            });
        }
    }

    /// Notes that the host has traffic; of a new one all workers get to know at once.
    fn see<H: SharedData>(&self, attempt: Attempt<'_>, means: Means<'_>, host: &H) {
        let mut seen = self.seen.borrow_mut();
        let is_first = seen.get(attempt.host).is_none();
        if is_first {
            if seen.len() >= MAX_HOSTS {
                return;
            }
            seen.entry(attempt.host, Rates::default);
        }
        if self.settings.has_rates()
            && let (Some(outcome), Some(rates)) = (attempt.outcome, seen.get_mut(attempt.host))
        {
            rates.record(&self.settings, outcome);
        }
        drop(seen);
        let is_known = |view: &View| {
            view.healthy().binary_search_by(|known| (**known).cmp(attempt.host)).is_ok()
                || view.standing(attempt.host) != Standing::default()
        };
        if is_first && !is_known(&self.known.borrow().view) {
            let now = host.uptime();
            self.update(means, host, |cluster| {
                let is_new = cluster.observe(attempt.host, now) == Observed::Added;
                is_new.then_some((Vec::new(), true))
            });
        }
    }

    /// Counts an outcome for all workers. Nothing is written where nothing changes, as with a success
    /// of a host without failures.
    fn count<H: SharedData>(
        &self,
        address: &[u8],
        standing: Standing,
        outcome: Outcome,
        host: &H,
    ) -> count::Detections {
        let key = self.keys.counts(address);
        for _ in 0..MAX_TRIES {
            let stored = host.stored(&key);
            let fingerprint = self.settings.fingerprint;
            let before = stored
                .as_ref()
                .and_then(|stored| stored::decode_counts(fingerprint, &stored.value));
            let before = before.unwrap_or_default();
            let (after, found) = before.record(&self.settings, standing, outcome);
            if after == before {
                return found;
            }
            let value = stored::encode_counts(fingerprint, after);
            if host.replace(&key, &value, stored.map(|stored| stored.version)) {
                return found;
            }
        }
        count::Detections::default()
    }

    /// The end of an attempt with an ejected host, which may have been a probe.
    fn end_probe<H: SharedData>(&self, attempt: Attempt<'_>, means: Means<'_>, host: &H) {
        if self.settings.half_open.is_none() {
            return;
        }
        let is_failure = attempt.outcome.map(is_failure);
        let now = host.uptime();
        let mut draws = means.random;
        self.update(means, host, |cluster| {
            let before = cluster.clone();
            let effect = cluster.end_probe(
                &self.settings,
                attempt.host,
                attempt.began,
                is_failure,
                now,
                &mut draws,
            );
            (*cluster != before).then(|| (effect.into_iter().collect(), true))
        });
    }

    /// Takes the right to send a probe, if it is time for one, and the host that it is for.
    pub fn take_probe<H: SharedData>(&self, means: Means<'_>, host: &H) -> Option<Vec<u8>> {
        let now = host.uptime();
        let is_due = self.known.borrow().view.next_probe.is_some_and(|time| time <= now);
        if !is_due {
            return None;
        }
        let mut address = None;
        let is_taken = self.update(means, host, |cluster| {
            address = cluster.take_probe(&self.settings, now).map(<[u8]>::to_vec);
            address.is_some().then_some((Vec::new(), true))
        });
        if is_taken { address } else { None }
    }

    /// When something is to be done next; `None` if nothing is.
    pub fn next_wake(&self) -> Option<Duration> {
        let known = self.known.borrow();
        let due = known.next_tick.filter(|_| !known.is_superseded)?;
        if !self.settings.has_rates() {
            return Some(due);
        }
        let flush = due.saturating_sub(LEAD.min(self.settings.interval / 10));
        Some(if self.flushed.get() < flush { flush } else { due })
    }

    /// Adds what was counted, and does the tick if it is due and no other worker has done it.
    pub fn tick<H: SharedData>(&self, means: Means<'_>, host: &H) {
        let now = host.uptime();
        self.refresh(host);
        if self.known.borrow().is_superseded || self.next_wake().is_none_or(|wake| wake > now) {
            return;
        }
        self.flushed.set(now);
        let seen = self.seen.take();
        let endpoints = self.endpoints();
        let mut next_tick = None;
        let mut draws = means.random;
        self.update(means, host, |cluster| {
            let mut is_news = false;
            for (address, rates) in seen.iter() {
                is_news |= cluster.observe(address, now) == Observed::Added;
                cluster.add_rates(address, *rates);
            }
            let is_due = cluster.next_tick(&self.settings) <= now;
            let effects = match is_due {
                true => cluster.on_interval(&self.settings, endpoints, now, &mut draws),
                false => Vec::new(),
            };
            next_tick = Some(cluster.next_tick(&self.settings));
            is_news |= !effects.is_empty();
            (is_due || !seen.is_empty()).then_some((effects, is_news))
        });
        self.known.borrow_mut().next_tick = next_tick;
    }
}
