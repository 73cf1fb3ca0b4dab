//! Percentiles.

use std::fmt;
use std::time::Duration;

/// Durations in milliseconds, which may be negative.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// The median and the 99th percentile, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The median
    pub p50: f64,
    /// The 99th percentile; of less than a hundred samples, the largest
    pub p99: f64,
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds what `elapsed` is more than `nominal`.
    pub fn add(&mut self, elapsed: Duration, nominal: Duration) {
        self.0.push((elapsed.as_secs_f64() - nominal.as_secs_f64()) * 1000.0);
    }

    /// Adds those of another.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Sums them up; NaN when there are none.
    pub fn summary(&self) -> Summary {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        // The nearest rank: the smallest sample that so many per cent do not exceed.
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Summary { p50: at(50), p99: at(99) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2} / {:.2}", self.p50, self.p99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(milliseconds: impl Iterator<Item = u64>) -> (f64, f64) {
        let mut samples = Samples::default();
        milliseconds.for_each(|ms| samples.add(Duration::from_millis(ms), Duration::ZERO));
        let Summary { p50, p99 } = samples.summary();
        (p50, p99)
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(summary((1..=200).rev()), (100.0, 198.0));
        assert_eq!(summary(1..=60), (30.0, 60.0));
        assert_eq!(summary(7..=7), (7.0, 7.0));
    }
}
