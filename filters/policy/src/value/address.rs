//! Sets of IP addresses, written as addresses and CIDR ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::document::node::Node;
use crate::document::report::Reported;
use crate::sort::sort;

/// A range of consecutive addresses: one address, or a CIDR range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Reads an address or a range, see [`AddressRange::parse`].
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        Self::parse(node.string()?)
            .ok_or_else(|| node.invalid("is neither an IP address nor a range such as 10.0.0.0/8"))
    }

    /// Parses an address such as `10.0.0.1` or `2001:db8::1`, or a range such as `10.0.0.0/8`. The
    /// address bits after the prefix are ignored. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((address, bits)) = text.split_once('/') else {
            let address = text.parse::<IpAddr>().ok()?.to_canonical();
            return Some(Self { first: address, last: address });
        };
        // The prefix length has only digits and no leading zero (RFC 4632).
        let is_plain = bits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain || (bits.starts_with('0') && bits.len() > 1) {
            return None;
        }
        let bits: u32 = bits.parse().ok()?;
        let (first, last) = match address.parse().ok()? {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
                let address = u32::from(address);
                (Ipv4Addr::from(address & !rest).into(), Ipv4Addr::from(address | rest).into())
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
                let address = u128::from(address);
                (Ipv6Addr::from(address & !rest).into(), Ipv6Addr::from(address | rest).into())
            }
        };
        (bits <= if IpAddr::is_ipv4(&first) { 32 } else { 128 }).then_some(Self { first, last })
    }

    /// The first address of the range.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address of the range.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Returns whether the range contains all addresses of `other`.
    pub fn includes(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// A set of addresses. A lookup is a binary search in the ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// In ascending order, without overlaps
    ranges: Vec<AddressRange>,
}

impl AddressSet {
    /// The set of all addresses of `ranges`, which may overlap.
    pub fn new(mut ranges: Vec<AddressRange>) -> Self {
        sort(&mut ranges, Ord::cmp);
        ranges.dedup_by(|next, kept| {
            let overlaps = next.first <= kept.last;
            if overlaps {
                kept.last = kept.last.max(next.last);
            }
            overlaps
        });
        Self { ranges }
    }

    /// Returns whether the set has no addresses.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns whether the set contains `address`. An IPv4-mapped IPv6 address is the same as its
    /// IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.ranges.partition_point(|range| range.first <= address);
        let range = after.checked_sub(1).and_then(|index| self.ranges.get(index));
        range.is_some_and(|range| address <= range.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[&str]) -> AddressSet {
        AddressSet::new(ranges.iter().map(|text| AddressRange::parse(text).unwrap()).collect())
    }

    #[test]
    fn sets_contain_the_addresses_of_their_ranges_only() {
        let set = set(&["10.1.2.3/8", "192.0.2.1", "192.0.2.128/25", "2001:db8::/32", "::1"]);
        for inside in
            ["10.0.0.0", "10.255.255.255", "192.0.2.1", "192.0.2.255", "2001:db8::1", "::1"]
        {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["9.255.255.255", "11.0.0.0", "192.0.2.2", "192.0.2.127", "2001:db9::", "::2"]
        {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn nested_and_adjacent_ranges_are_merged() {
        let set = set(&["10.0.0.0/16", "10.0.0.0/8", "10.200.0.0/16", "11.0.0.0/8", "10.0.0.1"]);
        for inside in ["10.0.0.0", "10.100.0.0", "10.255.0.0", "11.255.255.255"] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        assert!(!set.contains("12.0.0.0".parse().unwrap()));
        assert!(!AddressSet::default().contains("10.0.0.0".parse().unwrap()));
    }

    #[test]
    fn ipv4_and_ipv6_are_separate_and_mapped_addresses_are_ipv4() {
        assert!(!set(&["::/0"]).contains("10.0.0.1".parse().unwrap()));
        assert!(!set(&["0.0.0.0/0"]).contains("::1".parse().unwrap()));
        assert!(set(&["0.0.0.0/0"]).contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(set(&["::ffff:10.0.0.1"]).contains("10.0.0.1".parse().unwrap()));
        assert!(set(&["::/0"]).contains("ffff::".parse().unwrap()));
    }

    #[test]
    fn invalid_ranges_are_rejected() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "/8",
            "a.b",
            "10.0.0.01",
            "10.0.0.1:80",
            "[::1]",
            "10.0.0.0/4294967296",
        ] {
            assert_eq!(AddressRange::parse(text), None, "{text}");
        }
    }
}
