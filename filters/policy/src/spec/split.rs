//! Selects one of several destinations by weight.

use std::fmt;

use crate::document::node::Node;
use crate::document::report::Reported;
use crate::request::{Chance, Draws};
use crate::spec::sampling;

/// Destinations with weights, of which at least one is above 0, or no destinations.
#[derive(Clone, Debug)]
pub struct Split<T> {
    choices: Box<[Choice<T>]>,
    total: u64,
}

/// One destination of a split.
#[derive(Clone, Debug)]
pub struct Choice<T> {
    /// Weight; the share is the weight divided by the sum of all weights
    pub weight: u32,
    /// Name in sticky draws; not used for a single choice
    pub sampling_name: Box<str>,
    /// Value of the choice, such as a cluster
    pub target: T,
}

impl<T> Default for Split<T> {
    /// Creates a split without destinations, for a route that only other filters use.
    fn default() -> Self {
        Self { choices: Box::default(), total: 0 }
    }
}

/// Reason why a split is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSplit {
    /// There is no destination, or there are several and all weights are 0.
    NoWeight,
    /// The sum of the weights is greater than 2^32 - 1, Envoy's limit.
    TooHeavy(u64),
}

impl fmt::Display for InvalidSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWeight => f.write_str("the total weight of the destinations is 0"),
            Self::TooHeavy(total) => {
                write!(f, "the total weight {total} is greater than 4294967295")
            }
        }
    }
}

impl<T> Split<T> {
    /// Creates a split. Choices with weight 0 are never selected. As in Istio, a single choice is
    /// always selected, independent of its weight.
    ///
    /// # Errors
    /// [`InvalidSplit`] if no choice can be selected, or if the sum of the weights is greater than
    /// Envoy's limit.
    pub fn try_new(mut choices: Vec<Choice<T>>) -> Result<Self, InvalidSplit> {
        if let [single] = choices.as_mut_slice() {
            single.weight = 1;
        }
        choices.retain(|choice| choice.weight > 0);
        let total = choices.iter().map(|choice| u64::from(choice.weight)).sum();
        match total {
            0 => Err(InvalidSplit::NoWeight),
            total if total > u64::from(u32::MAX) => Err(InvalidSplit::TooHeavy(total)),
            total => Ok(Self { choices: choices.into(), total }),
        }
    }

    /// Creates a split with one choice, which is always selected.
    pub fn single(target: T) -> Self {
        let choices = Box::new([Choice { weight: 1, sampling_name: Box::default(), target }]);
        Self { choices, total: 1 }
    }

    /// Returns the selected choice and its index: by the hash of the user if present, else by a
    /// random draw.
    ///
    /// A draw selects as Envoy does: each choice has an interval as long as its weight, in order,
    /// and the draw modulo the total weight is in the interval of the selected choice.
    #[inline]
    pub fn pick(&self, user: Option<u64>, draws: &mut dyn Draws) -> Option<(usize, &T)> {
        let index = match (&*self.choices, user) {
            ([_], _) => 0,
            (choices, Some(user)) => winner(choices, user),
            (choices, None) => {
                let mut rest = draws.draw().checked_rem(self.total)?;
                let (of, total) = ("destination", self.total);
                draws.chose(Chance { of, drawn: rest, total, below: None });
                choices.iter().position(|choice| {
                    let weight = u64::from(choice.weight);
                    let is_inside = rest < weight;
                    rest = rest.saturating_sub(weight);
                    is_inside
                })?
            }
        };
        Some((index, &self.choices.get(index)?.target))
    }

    /// Returns the targets with their weights, without those of weight 0.
    pub fn shares(&self) -> impl Iterator<Item = (u32, &T)> {
        self.choices.iter().map(|choice| (choice.weight, &choice.target))
    }

    /// Returns the target of the choice with the index `index`.
    pub fn target(&self, index: usize) -> Option<&T> {
        Some(&self.choices.get(index)?.target)
    }
}

/// Reads the weight of a destination: 0 to 2147483647.
pub fn read_weight(node: &Node<'_>) -> Result<u32, Reported> {
    let weight = node.integer()?;
    if weight < 0 {
        return Err(node.invalid("is negative"));
    }
    let weight = i32::try_from(weight).ok().and_then(|weight| u32::try_from(weight).ok());
    weight.ok_or_else(|| node.invalid("is greater than 2147483647"))
}

/// Returns the index of the choice with the lowest score for `user`; the first one if scores are
/// equal.
fn winner<T>(choices: &[Choice<T>], user: u64) -> usize {
    let mut best = (0, f64::INFINITY);
    for (index, choice) in choices.iter().enumerate() {
        let score = sampling::score(user, &choice.sampling_name, choice.weight);
        if score < best.1 {
            best = (index, score);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FixedDraw;

    fn split(weights: &[u32]) -> Result<Split<usize>, InvalidSplit> {
        let choice = |(target, weight): (usize, &u32)| Choice {
            weight: *weight,
            sampling_name: format!("v{target}").into(),
            target,
        };
        Split::try_new(weights.iter().enumerate().map(choice).collect())
    }

    fn pick(weights: &[u32], random: u64) -> usize {
        *split(weights).unwrap().pick(None, &mut FixedDraw(random)).unwrap().1
    }

    #[test]
    fn draws_select_the_same_interval_as_envoy() {
        let weights = [30, 30, 40];
        assert_eq!([115, 445, 560].map(|random| pick(&weights, random)), [0, 1, 2]);
        let weights = [2000, 3000, 5000];
        assert_eq!([1150, 4500, 8900].map(|random| pick(&weights, random)), [0, 1, 2]);
        assert_eq!([0, 74, 75, 99].map(|random| pick(&[75, 25, 0], random)), [0, 0, 1, 1]);
    }

    #[test]
    fn weight_0_is_never_selected_but_a_single_destination_always_is() {
        assert_eq!(pick(&[0], u64::MAX), 0);
        assert_eq!(pick(&[0, 1], 0), 1);
        assert_eq!(split(&[0, 0]).unwrap_err(), InvalidSplit::NoWeight);
        assert_eq!(split(&[]).unwrap_err(), InvalidSplit::NoWeight);
        let heavy = split(&[u32::MAX, 1]).unwrap_err();
        assert_eq!(heavy, InvalidSplit::TooHeavy(1 << 32));
    }

    /// Compares the shares of 10,000 users with the weights; the tolerance is four standard
    /// deviations.
    #[test]
    fn sticky_shares_follow_the_weights() {
        let split = split(&[70, 20, 10]).unwrap();
        let mut counts = [0u32; 3];
        for user in 0u64..10_000 {
            let user = xxhash_rust::xxh64::xxh64(&user.to_le_bytes(), 7);
            counts[*split.pick(Some(user), &mut FixedDraw(0)).unwrap().1] += 1;
        }
        for (count, share) in counts.iter().zip([0.7, 0.2, 0.1]) {
            let deviation = (10_000.0_f64 * share * (1.0 - share)).sqrt();
            assert!((f64::from(*count) - 10_000.0 * share).abs() < 4.0 * deviation, "{counts:?}");
        }
    }
}
