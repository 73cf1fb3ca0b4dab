//! Comparison of the destinations of many requests with the shares of a row.

use std::collections::BTreeMap;

use crate::rows::Distribution;

/// Number of requests by cluster.
pub type Counts = BTreeMap<String, u32>;

impl Distribution {
    /// Returns the clusters whose count differs from their share by more than three standard
    /// deviations; empty if there are none. One of 370 counts of a fair split does, so tests
    /// without a seed must repeat a failed draw once.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_standard_deviations_are_allowed() {
        let text = r#"{"requests": 1000, "shares": {"a": 0.5, "b": 0.5, "c": 0}}"#;
        let half: Distribution = serde_json::from_str(text).unwrap();
        let differences = |counts: &[(&str, u32)]| {
            let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
            half.differences(&counts.collect())
        };
        assert!(differences(&[("a", 547), ("b", 453)]).is_empty());
        assert_eq!(
            differences(&[("a", 548), ("b", 451), ("c", 1)]),
            [
                "a got 548, expected 500 +- 47.4",
                "b got 451, expected 500 +- 47.4",
                "c got 1, expected 0 +- 0.0"
            ]
        );
        let strange = differences(&[("a", 500), ("b", 500), ("d", 1)]);
        assert_eq!(strange, ["d is not among the shares"]);
    }
}
