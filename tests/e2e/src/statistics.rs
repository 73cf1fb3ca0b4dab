//! Exact tests of counts, for shares that are random.

/// Significance level of the tests: a correct result fails a comparison once in a million.
pub const SIGNIFICANCE: f64 = 1e-6;

/// Returns the probability that `hits` of `count` draws, or a less probable number, occur if each
/// draw hits with probability `share` (two-sided binomial test).
pub fn binomial_test(hits: u64, count: u64, share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        let expected = if share <= 0.0 { 0 } else { count };
        return if hits == expected { 1.0 } else { 0.0 };
    }
    let logarithm = |hits: u64| {
        ln_choose(count, hits) + hits as f64 * share.ln() + (count - hits) as f64 * (-share).ln_1p()
    };
    two_sided(hits, 0..=count, logarithm)
}

/// Returns the probability that two samples with the same share differ as much as `a.0` hits of
/// `a.1` draws and `b.0` of `b.1`, or more (Fisher's exact test, two-sided).
pub fn two_sample_test(a: (u64, u64), b: (u64, u64)) -> f64 {
    let (hits, all) = (a.0 + b.0, a.1 + b.1);
    let logarithm =
        |first| ln_choose(a.1, first) + ln_choose(b.1, hits - first) - ln_choose(all, hits);
    two_sided(a.0, hits.saturating_sub(b.1)..=hits.min(a.1), logarithm)
}

/// Returns the probability that two samples of one distribution differ as much as these counts by
/// category: the smallest one of all categories, times their number (Bonferroni correction).
///
/// # Panics
/// If the samples have different numbers of categories.
pub fn same_distribution(a: &[u64], b: &[u64]) -> f64 {
    assert_eq!(a.len(), b.len(), "categories");
    let (all_a, all_b) = (a.iter().sum(), b.iter().sum());
    let tests = a.iter().zip(b).map(|(a, b)| two_sample_test((*a, all_a), (*b, all_b)));
    (tests.fold(1.0, f64::min) * a.len() as f64).min(1.0)
}

/// Like [`same_distribution`], for one sample and known weights of the categories.
///
/// # Panics
/// If the numbers of counts and weights differ.
pub fn has_distribution(counts: &[u64], weights: &[f64]) -> f64 {
    assert_eq!(counts.len(), weights.len(), "categories");
    let (count, weight) = (counts.iter().sum(), weights.iter().sum::<f64>());
    let tests = counts.iter().zip(weights);
    let tests = tests.map(|(hits, share)| binomial_test(*hits, count, share / weight));
    (tests.fold(1.0, f64::min) * counts.len() as f64).min(1.0)
}

/// Sums the probabilities of all outcomes that are at most as probable as `observed`.
fn two_sided(
    observed: u64,
    outcomes: std::ops::RangeInclusive<u64>,
    logarithm: impl Fn(u64) -> f64,
) -> f64 {
    // Outcomes that are equally probable may differ by rounding.
    let limit = logarithm(observed) + 1e-7;
    let logarithms = outcomes.map(logarithm).filter(|logarithm| *logarithm <= limit);
    logarithms.map(f64::exp).sum::<f64>().min(1.0)
}

fn ln_choose(count: u64, chosen: u64) -> f64 {
    ln_factorial(count) - ln_factorial(chosen) - ln_factorial(count - chosen)
}

fn ln_factorial(number: u64) -> f64 {
    if number < 20 {
        return (2..=number).map(|factor| (factor as f64).ln()).sum();
    }
    // Stirling's series, exact to more than ten digits from 20 on.
    let n = number as f64;
    n * n.ln() - n + (std::f64::consts::TAU * n).ln() / 2.0 + 1.0 / (12.0 * n)
        - 1.0 / (360.0 * n.powi(3))
        + 1.0 / (1260.0 * n.powi(5))
}

#[cfg(test)]
mod tests {
    use super::{
        binomial_test, has_distribution, ln_factorial, same_distribution, two_sample_test,
    };

    fn assert_near(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-6 * expected, "{value} is not {expected}");
    }

    #[test]
    fn factorials_are_exact() {
        let sum = |number: u64| (2..=number).map(|factor| (factor as f64).ln()).sum::<f64>();
        for number in [0, 1, 2, 19, 20, 21, 100, 5000] {
            assert!((ln_factorial(number) - sum(number)).abs() < 1e-8, "{number}");
        }
    }

    #[test]
    fn the_binomial_test_adds_both_tails() {
        // Ten heads of ten: 2 / 1024.
        assert_near(binomial_test(10, 10, 0.5), 2.0 / 1024.0);
        // Nine heads of ten: 22 / 1024.
        assert_near(binomial_test(9, 10, 0.5), 22.0 / 1024.0);
        assert_near(binomial_test(5, 10, 0.5), 1.0);
        // The other tail of a skewed distribution is less probable than six sixes of six.
        assert_near(binomial_test(6, 6, 1.0 / 6.0), 6.0_f64.powi(-6));
        assert_eq!(binomial_test(0, 50, 0.0), 1.0);
        assert_eq!(binomial_test(1, 50, 0.0), 0.0);
        assert_eq!(binomial_test(50, 50, 1.0), 1.0);
        assert_eq!(binomial_test(49, 50, 1.0), 0.0);
    }

    #[test]
    fn the_two_sample_test_is_that_of_fisher() {
        // The lady tasting tea: (1 + 16 + 16 + 1) / 70.
        assert_near(two_sample_test((3, 4), (1, 4)), 34.0 / 70.0);
        assert_near(two_sample_test((4, 4), (0, 4)), 2.0 / 70.0);
        assert_near(two_sample_test((2, 4), (2, 4)), 1.0);
        assert_near(two_sample_test((0, 4), (0, 9)), 1.0);
        assert_near(two_sample_test((1, 4), (3, 4)), two_sample_test((3, 4), (1, 4)));
    }

    #[test]
    fn distributions_are_told_apart() {
        assert_near(same_distribution(&[100, 100, 100], &[100, 100, 100]), 1.0);
        assert!(same_distribution(&[100, 100, 100], &[110, 95, 95]) > 0.1);
        assert!(same_distribution(&[150, 0, 150], &[100, 100, 100]) < 1e-20);
        // A host that gets a third of what it should.
        assert!(same_distribution(&[100, 100, 100], &[33, 133, 134]) < 1e-6);
        assert!(has_distribution(&[800, 100, 100], &[8.0, 1.0, 1.0]) > 0.9);
        assert!(has_distribution(&[700, 150, 150], &[8.0, 1.0, 1.0]) < 1e-6);
        assert_eq!(has_distribution(&[800, 100, 1], &[8.0, 1.0, 0.0]), 0.0);
    }

    /// Five standard deviations are about as rare as the level of the tests.
    #[test]
    fn the_level_is_about_five_standard_deviations() {
        let deviation = (1000.0_f64 * 0.25).sqrt();
        let within = 500 + (4.7 * deviation) as u64;
        let beyond = 500 + (5.1 * deviation) as u64;
        assert!(binomial_test(within, 1000, 0.5) > super::SIGNIFICANCE);
        assert!(binomial_test(beyond, 1000, 0.5) < super::SIGNIFICANCE);
    }
}
