//! Whole numbers.

use crate::document::node::Node;

/// Reads a number from 0 to 4294967295.
pub fn read_count(node: &Node<'_>) -> Option<u32> {
    let count = u32::try_from(node.integer()?).ok();
    if count.is_none() {
        node.invalid("is not in 0..=4294967295");
    }
    count
}

/// A whole number in `range`.
#[inline(never)]
pub fn whole(node: &Node<'_>, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let number = node.integer()?;
    let number = u32::try_from(number).ok().filter(|number| range.contains(number));
    if number.is_none() {
        node.invalid(format_args!("is not in {range:?}"));
    }
    number
}
