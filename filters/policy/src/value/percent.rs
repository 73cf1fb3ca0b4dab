//! Percentages, as integers per million.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;

/// Denominator of all percentages, as in the fractions that Istio configures in Envoy.
const MILLION: u32 = 1_000_000;

/// A percentage from 0 to 100 in steps of 0.0001.
///
/// Smaller fractions are cut off, not rounded, as in Istio (`uint32(value * 10000)`): 0.57 % is
/// 5,699 per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    per_million: u32,
}

impl Percent {
    /// 100 %: every draw is a hit.
    pub const ALL: Self = Self { per_million: MILLION };
    /// 0 %: no draw is a hit.
    pub const NONE: Self = Self { per_million: 0 };

    /// A percentage from 0 to 100. `None` if `percent` is outside of this range or NaN.
    pub fn new(percent: f64) -> Option<Self> {
        let in_range = (0.0..=100.0).contains(&percent);
        in_range.then_some(Self { per_million: (percent * 10_000.0) as u32 })
    }

    /// The share `part` of `whole`; `None` if `part` is greater than `whole` or `whole` is 0.
    pub fn of(part: u32, whole: u32) -> Option<Self> {
        let per_million = (u64::from(part) * u64::from(MILLION)).checked_div(u64::from(whole))?;
        let per_million = u32::try_from(per_million).ok().filter(|own| *own <= MILLION)?;
        Some(Self { per_million })
    }

    /// The number of hits per million draws.
    pub fn per_million(self) -> u32 {
        self.per_million
    }

    /// Returns whether the draw `random` is a hit. At 0 % no draw is a hit, at 100 % every draw is.
    pub fn hit(self, random: u64) -> bool {
        random % u64::from(MILLION) < u64::from(self.per_million)
    }
}

fields!(Percent, "A percentage.", {
    "value": Kind::Percentage => "0 to 100, in steps of 0.0001; 0 if absent.";
});

/// Reads `Percent { value }` of a fault: 0, or 0.0001 to 100 (Istio's `validatePercentage`). An
/// absent value is 0, the default in protobuf.
pub fn read_fault_percent(node: &Node<'_>) -> Result<Percent, Reported> {
    read(node, "is neither 0 nor in the range 0.0001 to 100", |value, percent| {
        value == 0.0 || percent > Percent::NONE
    })
}

/// Reads `Percent { value }` of a mirror: 0 to 100. An absent value is 0, the default in protobuf.
pub fn read_mirror_percent(node: &Node<'_>) -> Result<Percent, Reported> {
    read(node, NOT_A_PERCENTAGE, |_, _| true)
}

/// Reads a percentage that is a plain number, the deprecated form.
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
    fn fractions_below_0_0001_percent_are_cut_off() {
        assert_eq!(Percent::new(0.57).unwrap().per_million(), 5_699);
        assert_eq!(Percent::new(50.0).unwrap().per_million(), 500_000);
        assert_eq!(Percent::new(0.0001).unwrap().per_million(), 1);
        assert_eq!(Percent::new(0.00001), Some(Percent::NONE));
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        for value in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::new(value), None, "{value}");
        }
    }

    #[test]
    fn at_0_percent_no_draw_is_a_hit_and_at_100_percent_every_draw_is() {
        for random in [0, 1, 999_999, 1_000_000, u64::MAX] {
            assert!(!Percent::NONE.hit(random));
            assert!(Percent::ALL.hit(random));
        }
        let half = Percent::new(50.0).unwrap();
        assert!(half.hit(499_999) && !half.hit(500_000) && half.hit(1_000_000));
    }
}
