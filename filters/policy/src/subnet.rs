//! Sets of IP addresses: `10.0.0.0/8`, or a single address.

use std::net::IpAddr;

use crate::node::Node;

/// An address or a CIDR block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    network: IpAddr,
    /// How many of its bits are the network's
    length: u32,
}

impl Subnet {
    /// Reads `ADDRESS` or `ADDRESS/LENGTH`. Bits behind the length do not count, as in Envoy.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let subnet = parse(node.string()?);
        if subnet.is_none() {
            node.invalid("is not an IP address or a block such as 10.0.0.0/8");
        }
        subnet
    }

    /// Whether `address` is in it. An IPv4 address may be written as IPv6, `::ffff:10.0.0.1`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, width) = bits(self.network);
        let (other, other_width) = bits(address.to_canonical());
        let shift = width.saturating_sub(self.length);
        // A shift by all bits is none that Rust does: such a block has every address.
        width == other_width && (own ^ other).checked_shr(shift).unwrap_or_default() == 0
    }
}

fn parse(text: &str) -> Option<Subnet> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let network: IpAddr = address.parse().ok()?;
    let (_, width) = bits(network);
    let length = match length {
        // u32's parser takes a sign, too.
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
        None => width,
    };
    (length <= width).then_some(Subnet { network, length })
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(subnet: &str, address: &str) -> bool {
        parse(subnet).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn blocks_contain_what_begins_like_them() {
        for (subnet, address) in [
            ("10.0.0.0/8", "10.255.255.255"),
            ("10.1.2.3/8", "10.0.0.0"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", "::ffff:10.1.2.3"),
            ("0.0.0.0/0", "192.0.2.1"),
            ("::/0", "2001:db8::1"),
            ("2001:db8::/33", "2001:db8:7fff::"),
            ("2001:db8::1/128", "2001:db8::1"),
        ] {
            assert!(contains(subnet, address), "{address} in {subnet}");
        }
        for (subnet, address) in [
            ("10.0.0.0/8", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "2001:db8::1"),
            ("::/0", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:8000::"),
        ] {
            assert!(!contains(subnet, address), "{address} in {subnet}");
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", "a", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "/8"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
