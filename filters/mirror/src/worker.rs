//! The mirror filter on one worker: what its streams share.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::host::{Histogram, PluginHost};
use sluice_host::log_rate::LogRate;
use sluice_host::random::Random;
use sluice_policy::explain;
use sluice_policy::mirror::Mirrors;
use sluice_policy::request::Request;
use sluice_policy::value::budget::Spending;

/// How much longer compared copies took than their originals, in milliseconds. Copies that took as
/// long are 0.
pub const SLOWER: &str = "sluice.mirror.compare_slower_ms";

/// How much faster compared copies were than their originals, in milliseconds.
pub const FASTER: &str = "sluice.mirror.compare_faster_ms";

counters! {
    /// What is counted, as `wasmcustom.sluice.mirror.*` in Envoy's statistics.
    pub enum Event in "sluice.mirror." {
        /// Envoy was asked for a copy.
        Mirrored = "mirrored",
        /// A mirror was left out by its percentage.
        NotSampled = "not_sampled",
        /// A mirror was left out because the request is not safe to repeat.
        NotEligible = "not_eligible",
        /// The copies of a request were left out because the budget was used up.
        BudgetExhausted = "budget_exhausted",
        /// The answer to a copy equals the original one.
        Match = "compare_match",
        /// The answer to a copy differs.
        Mismatch = "compare_mismatch",
        /// The status of the answer differs.
        StatusMismatch = "compare_mismatch_status",
        /// A header of the answer differs.
        HeaderMismatch = "compare_mismatch_header",
        /// The body of the answer differs.
        BodyMismatch = "compare_mismatch_body",
        /// A copy that is compared took too long.
        Timeout = "compare_timeout",
        /// A copy that is compared has no answer.
        Failed = "compare_failed",
        /// A copy was not compared because its request or one of the answers is unsuitable.
        Skipped = "compare_skipped",
        /// A copy was not sent because `maxActive` comparisons were active.
        Overflowed = "compare_overflow",
        /// A copy was not compared because the kept bodies of the worker had no room for its own.
        BufferFull = "compare_buffer_full",
        /// Envoy has no cluster with the name of the mirror's.
        UnknownCluster = "unknown_cluster",
        /// `mode: shadow` left out a copy.
        ShadowMirrored = "shadow_mirrored",
    }
}

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Worker {
    /// The context of the plugin
    pub plugin: u32,
    /// The compiled policy
    pub mirrors: Arc<Mirrors>,
    /// The counters
    pub counters: Counters<Event>,
    /// How much longer copies took than their originals
    pub slower: Histogram,
    /// How much faster copies were than their originals
    pub faster: Histogram,
    /// Draws for percentages
    pub random: Random,
    /// The copies in the current window of the budget
    pub spending: Spending,
    /// The number of active comparisons
    pub active: Cell<u32>,
    /// The memory of all bodies that are kept, in bytes
    pub kept_bytes: Cell<usize>,
    /// Limits the log lines about answers that differ
    pub mismatch_log: LogRate,
    /// The unknown clusters that have been logged
    pub unknown_clusters: RefCell<HashSet<Arc<str>>>,
}

impl Worker {
    /// The filter of a worker, for the plugin with this context.
    pub fn with_policy(mirrors: Arc<Mirrors>, plugin: u32, host: &impl PluginHost) -> Self {
        Self {
            plugin,
            mirrors,
            counters: Counters::define(host),
            slower: host.define_histogram(SLOWER),
            faster: host.define_histogram(FASTER),
            random: Random::default(),
            spending: Spending::default(),
            active: Cell::default(),
            kept_bytes: Cell::default(),
            mismatch_log: LogRate::default(),
            unknown_clusters: RefCell::default(),
        }
    }

    /// Explains the next plan.
    pub fn explain(&self, request: &Request<'_>) -> String {
        explain::mirror(&self.mirrors, request, &mut &self.random.ahead())
    }
}
