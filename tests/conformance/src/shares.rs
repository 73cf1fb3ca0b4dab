//! Comparing where many requests went with the shares of a row.

use std::collections::BTreeMap;

use crate::rows::Distribution;

/// How many requests each cluster got.
pub type Counts = BTreeMap<String, u32>;

impl Distribution {
    /// What is further from its share than three standard deviations; empty if all is well. A fair
    /// split is off by that once in 370 counts, so what cannot be seeded is to draw twice.
    pub fn differences(&self, counts: &Counts) -> Vec<String> {
        let total = f64::from(self.requests);
        let strange = counts.keys().filter(|cluster| !self.shares.contains_key(*cluster));
        let mut differences: Vec<_> =
            strange.map(|cluster| format!("{cluster} is not among the shares")).collect();
        for (cluster, share) in &self.shares {
            let count = counts.get(cluster).copied().unwrap_or_default();
            let off = (f64::from(count) - total * share).abs();
            let allowed = 3.0 * (total * share * (1.0 - share)).sqrt();
            if off > allowed {
                let expected = total * share;
                differences
                    .push(format!("{cluster} got {count}, expected {expected} +- {allowed:.1}"));
            }
        }
        differences
    }
}
