//! Finds the most specific of the address ranges that contain an address, as Envoy does for filter
//! chains.

use std::net::IpAddr;

use crate::sort::sort;
use crate::value::address::AddressRange;

/// Distinct address ranges, each with its index. Two ranges are either disjoint, or one of them
/// includes the other.
///
/// A lookup is a binary search, and then a step for each range that includes the one that it found.
#[derive(Debug, Default)]
pub struct AddressRanges {
    /// Sorted by first address; a range comes before the ranges that it includes
    ranges: Vec<AddressRange>,
    /// For each range, the index of the most specific range that includes it
    parents: Vec<Option<usize>>,
}

impl AddressRanges {
    /// Creates the table. Ranges may occur several times.
    pub fn new(mut ranges: Vec<AddressRange>) -> Self {
        let key = |range: &AddressRange| (range.first(), std::cmp::Reverse(range.last()));
        sort(&mut ranges, |left, right| key(left).cmp(&key(right)));
        ranges.dedup();
        let mut parents: Vec<Option<usize>> = Vec::with_capacity(ranges.len());
        for (index, range) in ranges.iter().enumerate() {
            let mut parent = index.checked_sub(1);
            while let Some(candidate) = parent
                && !ranges.get(candidate).is_some_and(|candidate| candidate.includes(range))
            {
                parent = parents.get(candidate).copied().flatten();
            }
            parents.push(parent);
        }
        Self { ranges, parents }
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns whether the table has no ranges.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The index of a range; `None` if it is not in the table.
    pub fn index(&self, range: &AddressRange) -> Option<usize> {
        let key = |range: &AddressRange| (range.first(), std::cmp::Reverse(range.last()));
        self.ranges.binary_search_by_key(&key(range), key).ok()
    }

    /// The indices of all ranges that contain `address`, the most specific range first. An
    /// IPv4-mapped IPv6 address is the same as its IPv4 address.
    pub fn containing(&self, address: IpAddr) -> impl Iterator<Item = usize> {
        let address = address.to_canonical();
        let after = self.ranges.partition_point(|range| range.first() <= address);
        let parent = |index: &usize| self.parents.get(*index).copied().flatten();
        std::iter::successors(after.checked_sub(1), parent)
            .filter(move |index| self.ranges.get(*index).is_some_and(|it| address <= it.last()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: [&str; 9] = [
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.1.0.0/16",
        "10.1.2.3",
        "10.1.0.0/24",
        "192.0.2.0/24",
        "0.0.0.0/0",
        "2001:db8::/32",
        "10.1.255.255",
    ];

    fn parse(text: &str) -> AddressRange {
        AddressRange::parse(text).unwrap()
    }

    fn containing(ranges: &AddressRanges, address: &str) -> Vec<&'static str> {
        let text = |index| {
            let is_it = |text: &&&str| ranges.index(&parse(text)) == Some(index);
            *RANGES.iter().find(is_it).unwrap()
        };
        ranges.containing(address.parse().unwrap()).map(text).collect()
    }

    #[test]
    fn the_most_specific_range_comes_first() {
        let ranges = AddressRanges::new([RANGES, RANGES].concat().into_iter().map(parse).collect());
        for (address, expected) in [
            ("10.1.2.3", &["10.1.2.3", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"][..]),
            ("10.1.2.4", &["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]),
            ("10.1.0.4", &["10.1.0.0/24", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]),
            ("::ffff:10.0.9.9", &["10.0.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]),
            ("10.1.255.255", &["10.1.255.255", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]),
            ("10.255.0.0", &["10.0.0.0/8", "0.0.0.0/0"]),
            ("192.0.2.7", &["192.0.2.0/24", "0.0.0.0/0"]),
            ("255.255.255.255", &["0.0.0.0/0"]),
            ("2001:db8::7", &["2001:db8::/32"]),
            ("::1", &[]),
        ] {
            assert_eq!(containing(&ranges, address), expected, "{address}");
        }
        assert_eq!(ranges.index(&parse("10.0.0.0/9")), None);
    }

    #[test]
    fn an_empty_table_contains_no_address() {
        let ranges = AddressRanges::default();
        assert!(ranges.is_empty());
        assert_eq!(containing(&ranges, "10.0.0.1"), [""; 0]);
    }
}
