//! Samples and their percentiles.

use std::time::Duration;

/// Durations in milliseconds, which may be negative.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// Summary of samples, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The smallest
    pub min: f64,
    /// The median
    pub p50: f64,
    /// The 99th percentile; the maximum if there are fewer than 100 samples
    pub p99: f64,
}

impl Samples {
    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the difference `elapsed - nominal`.
    pub fn add(&mut self, elapsed: Duration, nominal: Duration) {
        self.0.push((elapsed.as_secs_f64() - nominal.as_secs_f64()) * 1000.0);
    }

    /// Adds the samples of another set.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Returns the largest sample; NaN if there are none.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Summarizes the samples; NaN if there are none.
    pub fn summary(&self) -> Summary {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        // Nearest rank: at least this percentage of the samples is not larger.
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Summary { min: at(0), p50: at(50), p99: at(99) }
    }
}

impl Summary {
    /// Returns the minimum of all rounds and the medians of their percentiles, so that a single
    /// disturbed round has no effect.
    pub fn of_rounds(rounds: &[Samples]) -> Self {
        let of = |value: fn(&Self) -> f64| {
            Samples(rounds.iter().map(|round| value(&round.summary())).collect()).summary()
        };
        Self {
            min: of(|round| round.min).min,
            p50: of(|round| round.p50).p50,
            p99: of(|round| round.p99).p50,
        }
    }
}

/// Sorts the values and returns the median; the lower one of two.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Sorts the values and returns the quartiles.
pub fn quartiles(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let at = |place: Option<usize>| place.and_then(|place| values.get(place)).copied();
    let upper = values.len().checked_sub(1 + quarter);
    (at(Some(quarter)).unwrap_or(f64::NAN), at(upper).unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(milliseconds: impl Iterator<Item = u64>) -> (f64, f64, f64) {
        let mut samples = Samples::default();
        milliseconds.for_each(|ms| samples.add(Duration::from_millis(ms), Duration::ZERO));
        let Summary { min, p50, p99 } = samples.summary();
        (min, p50, p99)
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(summary((1..=200).rev()), (1.0, 100.0, 198.0));
        assert_eq!(summary(1..=60), (1.0, 30.0, 60.0));
        assert_eq!(summary(7..=7), (7.0, 7.0, 7.0));
    }

    #[test]
    fn one_disturbed_round_is_not_in_the_medians() {
        let rounds = [[2.0, 3.0], [1.0, 90.0], [2.5, 4.0]].map(|round| Samples(round.to_vec()));
        let Summary { min, p50, p99 } = Summary::of_rounds(&rounds);
        assert_eq!((min, p50, p99), (1.0, 2.0, 4.0));
    }
}
