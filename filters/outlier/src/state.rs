//! The state of a cluster in the store ([`crate::stored`]), and what a worker has read of it.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::time::Duration;

use sluice_host::random::Random;
use sluice_host::shared_data::{SharedData, Version};
use sluice_policy::outlier::classify::Outcome;
use sluice_policy::outlier::count::Detections;
use sluice_policy::outlier::{Cluster, Effect, EffectKind, Standing, View};
use sluice_policy::spec::outlier_detection::Settings;

use crate::metrics::Metrics;
use crate::stored::{self, Keys};

/// How many times a write is tried. Each failure is a success of another worker, so this many
/// failures in a row do not happen.
const MAX_TRIES: usize = 1000;

/// How long an attempt may go by what the worker has read, as if the attempt had begun earlier.
/// Each value that is read costs a quarter of an attempt in a wasm module.
pub(crate) const FRESH: Duration = Duration::from_millis(1);

/// What an update needs beside the store.
#[derive(Clone, Copy, Debug)]
pub struct UpdateContext<'a> {
    /// The metrics that count the effects
    pub metrics: &'a Metrics,
    /// The draws
    pub random: &'a Random,
}

/// The state of a cluster.
#[derive(Debug)]
pub struct State {
    cluster: Box<str>,
    settings: Arc<Settings>,
    has_fallback: bool,
    /// When the plugin was configured
    configured: Duration,
    keys: Keys,
    known: RefCell<Known>,
    /// Until when attempts go by `known`, unless this worker finds a failure
    fresh_until: Cell<Duration>,
}

/// What was read of the values in the store.
#[derive(Debug, Default)]
struct Known {
    sign: Option<Version>,
    /// 0 if unknown
    endpoints: u32,
    view: View,
    next_tick: Option<Duration>,
    /// Whether a newer configuration has replaced the state
    is_superseded: bool,
}

impl State {
    /// The state of a cluster, for a plugin that was configured at `configured`.
    pub fn new(
        cluster: &str,
        settings: Arc<Settings>,
        has_fallback: bool,
        configured: Duration,
    ) -> Self {
        Self {
            keys: Keys::new(cluster),
            cluster: cluster.into(),
            settings,
            has_fallback,
            configured,
            known: RefCell::default(),
            fresh_until: Cell::default(),
        }
    }

    /// The name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The part that requests need. It is not read anew: see [`refresh`](Self::refresh).
    pub fn view(&self) -> Ref<'_, View> {
        Ref::map(self.known.borrow(), |known| &known.view)
    }

    /// The number of endpoints; 0 if it is unknown.
    pub fn endpoints(&self) -> u64 {
        u64::from(self.known.borrow().endpoints)
    }

    /// When the interval of the cluster ends. `None` if there is no state yet, or if a newer
    /// configuration has replaced it.
    pub fn next_tick(&self) -> Option<Duration> {
        let known = self.known.borrow();
        known.next_tick.filter(|_| !known.is_superseded)
    }

    /// Sets when the interval of the cluster ends.
    pub fn set_next_tick(&self, next_tick: Option<Duration>) {
        self.known.borrow_mut().next_tick = next_tick;
    }

    /// Whether a newer configuration has replaced the state.
    pub fn is_superseded(&self) -> bool {
        self.known.borrow().is_superseded
    }

    /// Reads the state if it has changed, unless an attempt has just done so.
    pub fn refresh_for_attempt(&self, now: Duration, host: &impl SharedData) {
        if now >= self.fresh_until.get() {
            self.refresh(host);
            self.fresh_until.set(now.saturating_add(FRESH));
        }
    }

    /// Reads the state if it has changed.
    pub fn refresh(&self, host: &impl SharedData) {
        let Some(sign) = host.stored(&self.keys.sign) else { return };
        if self.known.borrow().sign == Some(sign.version) {
            return;
        }
        // The sign was read first, so a change after that has a later sign.
        let (state, is_superseded) = self.read(host);
        let next_tick = state.as_ref().map(|cluster| cluster.next_tick(&self.settings));
        let cluster = state.unwrap_or_default();
        *self.known.borrow_mut() = Known {
            sign: Some(sign.version),
            endpoints: stored::decode_endpoints(&sign.value),
            view: View::new(&cluster, &self.settings, self.has_fallback),
            next_tick,
            is_superseded,
        };
    }

    /// Returns the state, and whether a newer configuration has replaced it.
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

    /// Changes the state. `change` returns the effects and whether they matter to requests, or
    /// `None` if nothing is to be written. It is called again if another worker was faster. Returns
    /// whether the state was written.
    pub fn update<H: SharedData>(
        &self,
        context: UpdateContext<'_>,
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
            let is_new = own.is_none();
            let mut cluster = own.unwrap_or_else(|| Cluster::new(host.uptime()));
            let Some((effects, is_relevant)) = change(&mut cluster) else { return false };
            let value = stored::encode_state(self.settings.fingerprint, self.configured, &cluster);
            if !host.replace(key, &value, stored.as_ref().map(|stored| stored.version)) {
                continue;
            }
            self.fresh_until.set(Duration::ZERO);
            if is_relevant || is_new {
                let sign = &self.keys.sign;
                let endpoints = host.stored(sign).map_or(vec![0; 4], |stored| stored.value);
                host.overwrite(sign, &endpoints);
            }
            self.set_next_tick(Some(cluster.next_tick(&self.settings)));
            context.metrics.forget(abandoned, host);
            context.metrics.report(&self.cluster, &effects, host);
            let is_gone = |effect: &&Effect| {
                matches!(effect.kind, EffectKind::Departed | EffectKind::Forgotten)
            };
            for effect in effects.iter().filter(is_gone) {
                let key = self.keys.counts(&effect.host);
                if host.stored(&key).is_some() {
                    host.overwrite(&key, &[]);
                }
            }
            return true;
        }
        false
    }

    /// Updates the number of endpoints of Envoy's cluster. Logs once if there are too few of them
    /// to eject any.
    pub fn update_endpoints(&self, endpoints: u64, host: &impl SharedData) {
        let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
        let before = self.known.borrow().endpoints;
        if endpoints == 0 || endpoints == before {
            return;
        }
        self.known.borrow_mut().endpoints = endpoints;
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
                "outlier cluster={:?} warning=\"nothing can be ejected: maxEjectionPercent {} \
                 takes {needed} hosts, or alwaysEjectOneHost, and there are {endpoints}\"",
                self.cluster,
                self.settings.max_ejection_percent,
            );
        }
    }

    /// Counts an outcome of a host for all workers, and returns what it shows. Writes nothing if
    /// nothing changes, as for a success of a host without failures.
    pub fn count(
        &self,
        address: &[u8],
        standing: Standing,
        outcome: Outcome,
        host: &impl SharedData,
    ) -> Detections {
        let key = self.keys.counts(address);
        for _ in 0..MAX_TRIES {
            let stored = host.stored(&key);
            let fingerprint = self.settings.fingerprint;
            let before = stored
                .as_ref()
                .and_then(|stored| stored::decode_counts(fingerprint, &stored.value));
            let before = before.unwrap_or_default();
            let (after, detections) = before.record(&self.settings, standing, outcome);
            if after == before {
                return detections;
            }
            // More failures may follow, also in other workers.
            self.fresh_until.set(Duration::ZERO);
            let value = stored::encode_counts(fingerprint, after);
            if host.replace(&key, &value, stored.map(|stored| stored.version)) {
                return detections;
            }
        }
        Detections::default()
    }
}
