//! Percentages, as integers per million.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;

/// Draws are taken out of a million, as in the fractions that Istio gives to Envoy.
const MILLION: u32 = 1_000_000;

/// A percentage from 0 to 100 with a step of 0.0001.
///
/// What is finer is cut off and not rounded, as Istio does (`uint32(value * 10000)`): 0.57 % is
/// 5,699 in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    per_million: u32,
}

impl Percent {
    /// Always.
    pub const ALL: Self = Self { per_million: MILLION };
    /// Never.
    pub const NONE: Self = Self { per_million: 0 };

    /// A percentage from 0 to 100; `None` outside of that and for NaN.
    pub fn new(percent: f64) -> Option<Self> {
        let in_range = (0.0..=100.0).contains(&percent);
        in_range.then_some(Self { per_million: (percent * 10_000.0) as u32 })
    }

    /// How many of a million draws are hits.
    pub fn per_million(self) -> u32 {
        self.per_million
    }

    /// Whether the draw `random` is a hit; 0 % never is, 100 % always.
    pub fn hit(self, random: u64) -> bool {
        random % u64::from(MILLION) < u64::from(self.per_million)
    }
}

fields!(Percent, "A percentage.", {
    "value": Kind::Percentage => "0 to 100, in steps of 0.0001; 0 if absent.";
});

/// Reads `Percent { value }` of a fault: 0, or 0.0001 to 100 (`validatePercentage`). Without a
/// value it is 0, as protobuf has it.
pub fn read_fault_percent(node: &Node<'_>) -> Result<Percent, Reported> {
    read(node, "is neither 0 nor in the range 0.0001 to 100", |value, percent| {
        value == 0.0 || percent > Percent::NONE
    })
}

/// Reads `Percent { value }` of a mirror: 0 to 100. Without a value it is 0, as protobuf has it.
pub fn read_mirror_percent(node: &Node<'_>) -> Result<Percent, Reported> {
    read(node, NOT_A_PERCENTAGE, |_, _| true)
}

/// Reads a deprecated percentage that is a plain number.
pub fn read_plain_percent(node: &Node<'_>) -> Result<Percent, Reported> {
    Percent::new(node.number()?).ok_or_else(|| node.invalid(NOT_A_PERCENTAGE))
}

const NOT_A_PERCENTAGE: &str = "is not in the range 0 to 100";

fn read(
    node: &Node<'_>,
    reason: &str,
    is_valid: impl Fn(f64, Percent) -> bool,
) -> Result<Percent, Reported> {
    let Some(node) = node.object::<Percent>()?.field("value") else {
        return Ok(Percent::NONE);
    };
    let value = node.number()?;
    let percent = Percent::new(value).filter(|percent| is_valid(value, *percent));
    percent.ok_or_else(|| node.invalid(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_off_below_a_ten_thousandth_of_a_percent() {
        assert_eq!(Percent::new(0.57).unwrap().per_million(), 5_699);
        assert_eq!(Percent::new(50.0).unwrap().per_million(), 500_000);
        assert_eq!(Percent::new(0.0001).unwrap().per_million(), 1);
        assert_eq!(Percent::new(0.00001), Some(Percent::NONE));
    }

    #[test]
    fn outside_of_the_range_there_is_no_percentage() {
        for value in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::new(value), None, "{value}");
        }
    }

    #[test]
    fn zero_never_hits_and_hundred_always_does() {
        for random in [0, 1, 999_999, 1_000_000, u64::MAX] {
            assert!(!Percent::NONE.hit(random));
            assert!(Percent::ALL.hit(random));
        }
        let half = Percent::new(50.0).unwrap();
        assert!(half.hit(499_999) && !half.hit(500_000) && half.hit(1_000_000));
    }
}
