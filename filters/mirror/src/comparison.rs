//! Comparison of the answer to a copy with that to its original.
//!
//! The answer may arrive in another thread than the one that has sent the copy: in a dynamic module
//! Envoy's main thread has all answers. So nothing here belongs to a thread.

use std::collections::HashSet;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sluice_host::counters::Counters;
use sluice_host::host::{Histogram, PluginHost};
use sluice_host::http::{CallAnswer, CallFailure, HttpHost};
use sluice_host::log_rate::{LogRate, Suppressed};
use sluice_policy::mirror::Mirrors;
use sluice_policy::spec::mirror::compare::{Answer, BodyHash, Compare, Difference};

use crate::event::Event;

/// How much longer compared copies took than their originals, in milliseconds. Copies that took as
/// long are 0.
pub const SLOWER: &str = "sluice.mirror.compare_slower_ms";

/// How much faster compared copies were than their originals, in milliseconds.
pub const FASTER: &str = "sluice.mirror.compare_faster_ms";

/// The histograms of comparisons.
pub const HISTOGRAMS: [&str; 2] = [SLOWER, FASTER];

/// What all comparisons of a worker share.
#[derive(Debug)]
pub struct Comparisons {
    mirrors: Arc<Mirrors>,
    counters: Arc<Counters<Event>>,
    /// How much longer copies took than their originals
    slower: Histogram,
    /// How much faster copies were than their originals
    faster: Histogram,
    /// The number of copies that were sent and have no answer yet
    active: AtomicU32,
    /// Limits the log lines about answers that differ
    mismatch_log: Mutex<LogRate>,
    /// The unknown clusters that have been logged
    unknown_clusters: Mutex<HashSet<Arc<str>>>,
}

impl Comparisons {
    /// No comparisons yet.
    pub fn new(
        mirrors: Arc<Mirrors>,
        counters: Arc<Counters<Event>>,
        host: &impl PluginHost,
    ) -> Self {
        Self {
            mirrors,
            counters,
            slower: host.define_histogram(SLOWER),
            faster: host.define_histogram(FASTER),
            active: AtomicU32::new(0),
            mismatch_log: Mutex::default(),
            unknown_clusters: Mutex::default(),
        }
    }

    /// The number of copies that were sent and have no answer yet.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    fn compare(&self) -> Option<&Compare> {
        self.mirrors.settings.compare.as_ref()
    }

    /// Admits a line about answers that differ. See [`LogRate::admit`].
    fn admit_line(&self, now: Instant) -> Option<Suppressed> {
        lock(&self.mismatch_log).admit(now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves nothing half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy that was sent. It is active until it is dropped.
#[derive(Debug)]
pub struct Comparison {
    all: Arc<Comparisons>,
    route: Arc<str>,
    cluster: Arc<str>,
    original: Arc<Answer>,
}

impl Comparison {
    /// A copy that is about to be sent to `cluster`. `None` if as many as may be are active.
    pub fn begin(
        all: &Arc<Comparisons>,
        route: Arc<str>,
        cluster: Arc<str>,
        original: Arc<Answer>,
    ) -> Option<Self> {
        let max = all.compare()?.max_active;
        // Only this worker adds to them, while others may take away.
        if all.active() >= max {
            return None;
        }
        all.active.fetch_add(1, Relaxed);
        Some(Self { all: Arc::clone(all), route, cluster, original })
    }

    /// Compares the answer to the copy.
    pub fn on_answer(self, result: Result<CallAnswer, CallFailure>, host: &impl HttpHost) {
        let all = &*self.all;
        let Some(compare) = all.compare() else { return };
        let counters = &all.counters;
        let copy = match result {
            Err(CallFailure::Failed) => return counters.increment(Event::Failed, host),
            Err(CallFailure::Timeout) => return counters.increment(Event::Timeout, host),
            Err(CallFailure::UnknownCluster) => {
                counters.increment(Event::UnknownCluster, host);
                if lock(&all.unknown_clusters).insert(Arc::clone(&self.cluster)) {
                    log::error!(
                        "mirror cluster={:?} error=\"Envoy has no such cluster\"",
                        self.cluster
                    );
                }
                return;
            }
            Ok(copy) if compare.hashes_bodies() && copy.body_size > compare.max_body_bytes => {
                return counters.increment(Event::Skipped, host);
            }
            Ok(copy) => copy,
        };
        let mut hash = BodyHash::default();
        if compare.hashes_bodies() {
            hash.update(&copy.body);
        }
        let copy = compare.answer(&copy.headers, &copy.trailers, &hash);
        if let Some(difference) = self.original.difference_of_time(&copy) {
            let histogram = if difference < 0 { all.faster } else { all.slower };
            host.record(histogram, difference.unsigned_abs());
        }
        let differences = compare.differences(&self.original, &copy);
        if differences.is_empty() {
            return counters.increment(Event::Match, host);
        }
        counters.increment(Event::Mismatch, host);
        let mut kinds: Vec<_> = differences.iter().map(Event::from).collect();
        kinds.dedup();
        kinds.into_iter().for_each(|kind| counters.increment(kind, host));
        if let Some(suppressed) = all.admit_line(host.now()) {
            let differs: Vec<_> = differences.iter().map(ToString::to_string).collect();
            log::warn!(
                "mirror route={:?} cluster={:?} differs={} original={} copy={} \
                 {suppressed}",
                self.route,
                self.cluster,
                differs.join(","),
                String::from_utf8_lossy(self.original.status()),
                String::from_utf8_lossy(copy.status()),
            );
        }
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        self.all.active.fetch_sub(1, Relaxed);
    }
}

impl From<&Difference<'_>> for Event {
    fn from(difference: &Difference<'_>) -> Self {
        match difference {
            Difference::Body => Self::BodyMismatch,
            Difference::Header(_) => Self::HeaderMismatch,
            Difference::Status => Self::StatusMismatch,
        }
    }
}
