//! The registry of the egress filter gives the same answers as a walk through all entries.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use sluice_policy::egress::{Decision, Egress, Reason};
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;
use sluice_policy::value::address::{AddressRange, AddressSet};

/// A service entry with one port.
#[derive(Clone, Debug)]
struct Entry {
    hosts: Vec<String>,
    addresses: Vec<(Ipv4Addr, u32)>,
    port: u16,
    protocol: &'static str,
    resolution: &'static str,
}

/// Few labels and numbers, so that entries often overlap.
fn name() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "c"]), 1..=4).prop_map(|labels| labels.join("."))
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    (0u32..8).prop_map(|number| Ipv4Addr::from(0x0a00_0000 | number))
}

fn port() -> impl Strategy<Value = u16> {
    1u16..=3
}

fn entry() -> impl Strategy<Value = Entry> {
    let host = (any::<bool>(), name()).prop_map(|(wildcard, name)| match wildcard {
        true => format!("*.{name}"),
        false => name,
    });
    (
        vec(host, 1..4),
        vec((address(), 29u32..=32), 0..3),
        port(),
        select(vec!["HTTP", "TLS", "TCP", ""]),
        select(vec!["NONE", "STATIC"]),
    )
        .prop_map(|(mut hosts, addresses, port, protocol, resolution)| {
            hosts.sort();
            hosts.dedup();
            if !["HTTP", "TLS"].contains(&protocol) && resolution != "NONE" {
                hosts.truncate(1);
            }
            Entry { hosts, addresses, port, protocol, resolution }
        })
}

impl Entry {
    fn to_json(&self) -> serde_json::Value {
        let addresses = self.addresses.iter().map(|(address, bits)| format!("{address}/{bits}"));
        json!({
            "hosts": self.hosts,
            "addresses": addresses.collect::<Vec<_>>(),
            "ports": [{ "number": self.port, "name": "p", "protocol": self.protocol }],
            "resolution": self.resolution,
        })
    }

    fn serves(&self, protocol: &str, port: u16) -> bool {
        self.port == port && (self.protocol == protocol || self.protocol.is_empty())
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(network, bits)| {
            (u32::from(*network) ^ u32::from(address)).checked_shr(32 - bits).unwrap_or(0) == 0
        })
    }

    fn takes(&self, address: Ipv4Addr) -> bool {
        self.resolution != "NONE" || self.addresses.is_empty() || self.has(address)
    }
}

/// Number of characters of the name that the host matches; an exact match counts more than any
/// wildcard.
fn specificity(host: &str, name: &str) -> Option<usize> {
    match host.strip_prefix('*') {
        Some(suffix) => name.ends_with(suffix).then_some(suffix.len()),
        None => (host == name).then_some(usize::MAX),
    }
}

/// The documented decision for a name, computed entry by entry.
fn walk(entries: &[Entry], name: &str, protocol: &str, to: (Ipv4Addr, u16)) -> Decision {
    let fitting =
        |entry: &Entry| entry.hosts.iter().filter_map(|host| specificity(host, name)).max();
    let serving = || entries.iter().enumerate().filter(|(_, entry)| entry.serves(protocol, to.1));
    let Some(best) = serving().filter_map(|(_, entry)| fitting(entry)).max() else {
        let is_known = entries.iter().any(|entry| fitting(entry).is_some());
        return Decision::Refused(if is_known { Reason::UnknownPort } else { Reason::UnknownName });
    };
    let best: Vec<_> = serving()
        .filter(|(_, entry)| entry.hosts.iter().any(|host| specificity(host, name) == Some(best)))
        .collect();
    if best.iter().any(|(_, entry)| entry.takes(to.0)) {
        Decision::Known { entry: Some(best[0].0) }
    } else {
        Decision::Refused(Reason::AddressMismatch)
    }
}

proptest! {
    #[test]
    fn the_index_gives_the_same_answers_as_a_scan(
        entries in vec(entry(), 0..8),
        asked in vec((name(), address(), port()), 1..20),
    ) {
        let list: Vec<_> = entries.iter().map(Entry::to_json).collect();
        let document = json!({
            "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" },
            "serviceEntries": list,
        });
        let (egress, _) = Egress::compile(document.to_string().as_bytes(), &NoMetadata).unwrap();
        for (name, address, port) in asked {
            let to = Some(SocketAddr::new(IpAddr::V4(address), port));
            let expected = walk(&entries, &name, "HTTP", (address, port));
            prop_assert_eq!(egress.request(name.as_bytes(), false, to), expected);

            let is_opaque =
                entries.iter().any(|entry| entry.serves("TCP", port) && entry.has(address));
            let expected = match is_opaque {
                true => Decision::Known { entry: None },
                false => walk(&entries, &name, "TLS", (address, port)),
            };
            prop_assert_eq!(egress.connection(name.as_bytes(), to), expected);
        }
    }

    /// Names that are not below the wildcard never pass, for any bytes of a client.
    #[test]
    fn a_wildcard_matches_only_names_below_it(name in "\\PC{0,20}", bytes in any::<Vec<u8>>()) {
        let document = br#"{"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}, "egress": {"port": 80},
            "serviceEntries": [{"hosts": ["*.a.com"], "ports": [{"number": 80, "name": "any"}]}]}"#;
        let (egress, _) = Egress::compile(document, &NoMetadata).unwrap();
        for name in [name.as_bytes(), &bytes] {
            for name in [name.to_vec(), [name, b".a.com"].concat()] {
                let is_label = |label: &[u8]| {
                    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
                    !label.is_empty() && label.iter().all(is_name)
                };
                let below = name.strip_suffix(b".a.com");
                let is_below = below.is_some_and(|below| below.split(|b| *b == b'.').all(is_label));
                let known = Decision::Known { entry: Some(0) };
                prop_assert_eq!(egress.connection(&name, None) == known, is_below);
            }
        }
    }

    #[test]
    fn a_set_contains_the_addresses_of_all_its_ranges(
        ranges in vec((any::<u32>(), 0u32..=32), 0..6),
        near in vec((0usize..6, -2i64..=2, any::<bool>()), 0..20),
        anywhere in any::<u32>(),
    ) {
        let mask = |bits: u32| !u32::MAX.checked_shr(bits).unwrap_or(0);
        let text = |(network, bits): &(u32, u32)| format!("{}/{bits}", Ipv4Addr::from(*network));
        let texts = ranges.iter().map(text);
        let set = AddressSet::new(texts.map(|text| AddressRange::parse(&text).unwrap()).collect());
        // Addresses near the ends of the ranges, where errors are likely.
        let beside = near.iter().filter_map(|(index, offset, at_end)| {
            let (network, bits) = ranges.get(*index)?;
            let edge = if *at_end { network | !mask(*bits) } else { network & mask(*bits) };
            u32::try_from(i64::from(edge) + offset).ok()
        });
        for address in beside.chain([anywhere]) {
            let is_in =
                |(network, bits): &(u32, u32)| network & mask(*bits) == address & mask(*bits);
            let expected = ranges.iter().any(is_in);
            prop_assert_eq!(set.contains(Ipv4Addr::from(address).into()), expected);
        }
    }
}
