//! Whole numbers.

use std::ops::RangeInclusive;

use crate::document::node::Node;
use crate::document::report::Reported;

/// Reads a number from 0 to 4294967295.
pub fn read_count(node: &Node<'_>) -> Result<u32, Reported> {
    read_in(node, 0..=u32::MAX)
}

/// Reads a whole number in `range`.
// Not inlined, because each numeric field would add a copy to each module.
#[inline(never)]
pub fn read_in(node: &Node<'_>, range: RangeInclusive<u32>) -> Result<u32, Reported> {
    let number = u32::try_from(node.integer()?).ok().filter(|number| range.contains(number));
    let (least, most) = (range.start(), range.end());
    number.ok_or_else(|| node.invalid(format_args!("is not in the range {least} to {most}")))
}
