//! What the mirror filter counts.

use sluice_host::counters;

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
