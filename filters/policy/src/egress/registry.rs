//! The registry: which names and addresses service entries make known, for which protocol and port.
//!
//! A lookup costs a hash for each label of the name and the binary search of one list; how many entries
//! there are does not matter.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use crate::lookup::name_table::NameTable;
use crate::spec::service_entry::{Protocol, ServiceEntry, ServicePort};
use crate::value::address::{AddressRange, AddressSet};

/// The longest host name (RFC 1035, section 2.3.4, in text form).
const MAX_NAME: usize = 253;

/// Service entries, compiled.
#[derive(Debug, Default)]
pub struct Registry {
    /// Names, and for wildcards what follows the `*`, with a dot in front; in lower case
    names: Names,
    /// The addresses that are known without a name
    addresses: HashMap<Key, AddressSet>,
}

/// What a client speaks, and the port.
type Key = (Protocol, u16);

/// What is known of a name for one protocol and port.
#[derive(Debug)]
struct Binding {
    key: Key,
    /// The first service entry that has it
    entry: usize,
    /// Where the name may be called; anywhere when absent
    addresses: Option<AddressSet>,
}

/// All that may be spoken at a port.
fn keys(port: &ServicePort) -> impl Iterator<Item = Key> {
    let number = port.number;
    port.protocols.iter().map(move |protocol| (*protocol, number))
}

/// A binding of which not all entries have been read.
struct Draft {
    entry: usize,
    addresses: Option<Vec<AddressRange>>,
}

impl Binding {
    fn new((key, draft): (Key, Draft)) -> Self {
        Self { key, entry: draft.entry, addresses: draft.addresses.map(AddressSet::new) }
    }
}

/// Why a name is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The name is known, but not at this address.
    Address,
    /// No entry has the name.
    Name,
    /// The name is known, but not for this protocol and port.
    Port,
}

impl Registry {
    /// Compiles service entries. What several say of one name, protocol and port holds together.
    pub fn new(entries: &[ServiceEntry]) -> Self {
        let mut names: HashMap<&str, HashMap<Key, Draft>> = HashMap::new();
        let mut addresses: HashMap<Key, Vec<AddressRange>> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let is_bound = entry.keeps_destination && !entry.addresses.is_empty();
            for key in entry.ports.iter().flat_map(keys) {
                addresses.entry(key).or_default().extend(&entry.addresses);
                for host in &entry.hosts {
                    let name = host.strip_prefix('*').unwrap_or(host);
                    let first = || Draft { entry: index, addresses: Some(Vec::new()) };
                    let draft = names.entry(name).or_default().entry(key).or_insert_with(first);
                    match &mut draft.addresses {
                        Some(ranges) if is_bound => ranges.extend(&entry.addresses),
                        allowed => *allowed = None,
                    }
                }
            }
        }
        let addresses = addresses.into_iter().map(|(key, ranges)| (key, AddressSet::new(ranges)));
        Self { names: Names::new(names), addresses: addresses.collect() }
    }

    /// The index of the service entry by which the name, as a client gives it, may be called. Of the
    /// names that fit the most specific one decides, as in Envoy: the name itself, then the wildcard
    /// with the most labels.
    ///
    /// `address` is where the client wants to go.
    ///
    /// # Errors
    /// Why there is none.
    #[inline]
    pub fn find(
        &self,
        name: &[u8],
        protocol: Protocol,
        port: u16,
        address: Option<IpAddr>,
    ) -> Result<usize, Unknown> {
        let Some(name) = normalize(name) else { return Err(Unknown::Name) };
        let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        let parents = dots.filter_map(|(index, _)| name.get(index..));
        let mut unknown = Unknown::Name;
        for part in std::iter::once(&*name).chain(parents) {
            let Some(bindings) = self.names.get(part) else { continue };
            unknown = Unknown::Port;
            let place = bindings.binary_search_by_key(&(protocol, port), |binding| binding.key);
            let Some(binding) = place.ok().and_then(|place| bindings.get(place)) else { continue };
            let fits = match &binding.addresses {
                None => true,
                Some(allowed) => address.is_some_and(|address| allowed.contains(address)),
            };
            return if fits { Ok(binding.entry) } else { Err(Unknown::Address) };
        }
        Err(unknown)
    }

    /// Whether an address may be called without a name.
    pub fn has_address(&self, address: IpAddr, protocol: Protocol, port: u16) -> bool {
        let known = self.addresses.get(&(protocol, port));
        known.is_some_and(|known| known.contains(address))
    }
}

/// Names with the bindings of each, which are in one allocation.
#[derive(Debug, Default)]
struct Names {
    /// Ranges of `bindings`
    ranges: NameTable<Range<usize>>,
    /// The bindings of each name are sorted by their keys
    bindings: Box<[Binding]>,
}

impl Names {
    fn new(drafts: HashMap<&str, HashMap<Key, Draft>>) -> Self {
        let mut ranges = NameTable::default();
        let mut bindings = Vec::with_capacity(drafts.values().map(HashMap::len).sum());
        for (name, drafts) in drafts {
            let start = bindings.len();
            let mut own: Vec<Binding> = drafts.into_iter().map(Binding::new).collect();
            own.sort_unstable_by_key(|binding| binding.key);
            bindings.append(&mut own);
            ranges.entry(name.as_bytes(), || start..bindings.len());
        }
        Self { ranges, bindings: bindings.into_boxed_slice() }
    }

    #[inline]
    fn get(&self, name: &[u8]) -> Option<&[Binding]> {
        self.bindings.get(self.ranges.get(name)?.clone())
    }
}

/// A name in lower case and without the dot at the end of a fully qualified one; `None` for what cannot
/// be a name. A wildcard must not stand for `evil.com/` or `evil.com:80 `.
#[inline]
fn normalize(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.len() > MAX_NAME {
        return None;
    }
    // A label is never empty.
    let (mut last, mut has_upper_case) = (b'.', false);
    for byte in name {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => has_upper_case = true,
            b'.' if last != b'.' => {}
            _ => return None,
        }
        last = *byte;
    }
    let lower = || if has_upper_case { name.to_ascii_lowercase().into() } else { name.into() };
    (last != b'.').then(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn registry(text: &str) -> Registry {
        let entries = testing::read(text, |node| node.each(ServiceEntry::read));
        Registry::new(&entries.unwrap())
    }

    /// The entry of a TLS name, at port 443 if it has none.
    fn find(registry: &Registry, name: &str, address: &str) -> Result<usize, Unknown> {
        let (name, port) = name.split_once(':').unwrap_or((name, "443"));
        let address = address.parse().ok();
        registry.find(name.as_bytes(), Protocol::Tls, port.parse().unwrap(), address)
    }

    #[test]
    fn the_most_specific_name_for_the_port_decides() {
        let registry = registry(
            r#"[{"hosts": ["*.b.com"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]},
                {"hosts": ["*.a.b.com", "a.com"], "ports": [{"number": 443, "name": "tls", "protocol": "HTTPS"},
                    {"number": 444, "name": "tls2", "protocol": "HTTPS"}]},
                {"hosts": ["x.a.b.com"], "ports": [{"number": 444, "name": "tls", "protocol": "TLS"}]},
                {"hosts": ["a.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}]"#,
        );
        let found = |name| find(&registry, name, "");
        for (name, entry) in
            [("x.b.com", 0), ("X.Y.B.com", 0), ("a.b.com", 0), ("y.a.b.com", 1), ("x.a.b.com", 1)]
        {
            assert_eq!(found(name), Ok(entry), "{name}");
        }
        assert_eq!(found("x.a.b.com:444"), Ok(2));
        assert_eq!(found("y.x.a.b.com:444"), Ok(1));
        assert_eq!(found("a.com."), Ok(1));
        assert_eq!(found("x.b.com:444"), Err(Unknown::Port));
        assert_eq!(found("a.com:80"), Err(Unknown::Port), "for HTTP only");
        for name in ["b.com", "com", "", ".b.com", "x..b.com", "a.com..", "b.com.evil.com"] {
            assert_eq!(found(name), Err(Unknown::Name), "{name}");
        }
    }

    #[test]
    fn of_many_names_each_has_its_own_entry() {
        let entry = |number| {
            let port = r#"{"number": 443, "name": "tls", "protocol": "TLS"}"#;
            format!(r#"{{"hosts": ["h{number}.com", "*.h{number}.com"], "ports": [{port}]}}"#)
        };
        let registry = registry(&format!("[{}]", Vec::from_iter((0..5000).map(entry)).join(",")));
        for number in 0..5000 {
            assert_eq!(find(&registry, &format!("h{number}.com"), ""), Ok(number));
            assert_eq!(find(&registry, &format!("x.h{number}.com"), ""), Ok(number));
            assert_eq!(find(&registry, &format!("h{number}.org"), ""), Err(Unknown::Name));
        }
        assert_eq!(find(&Registry::default(), "h1.com", ""), Err(Unknown::Name));
    }

    #[test]
    fn what_is_no_name_fits_no_wildcard() {
        let registry = registry(
            r#"[{"hosts": ["*.b.com"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]}]"#,
        );
        let find = |name: &[u8]| registry.find(name, Protocol::Tls, 443, None);
        let long = format!("{}b.com", "a.".repeat(124));
        assert_eq!((long.len(), find(long.as_bytes())), (253, Ok(0)));
        let longer = [b"a", long.as_bytes()].concat();
        for name in [
            b"evil.com/.b.com".as_slice(),
            b"evil.com:80.b.com",
            b"evil.com\0.b.com",
            b"user@evil.com#.b.com",
            b"evil com.b.com",
            b"*.b.com",
            b"\xff.b.com",
            &longer,
        ] {
            assert_eq!(find(name), Err(Unknown::Name), "{}", name.escape_ascii());
        }
        assert_eq!(find(b"my_service.b.com"), Ok(0));
    }

    #[test]
    fn a_name_with_addresses_is_known_there_only() {
        let port = r#"[{"number": 443, "name": "tls", "protocol": "TLS"}]"#;
        let registry = registry(&format!(
            r#"[{{"hosts": ["a.com"], "addresses": ["10.0.0.0/8"], "ports": {port}}},
                {{"hosts": ["a.com"], "addresses": ["192.0.2.1"], "ports": {port}}},
                {{"hosts": ["b.com"], "addresses": ["192.0.2.2"], "ports": {port}}},
                {{"hosts": ["b.com"], "ports": {port}}},
                {{"hosts": ["c.com"], "addresses": ["192.0.2.3"], "resolution": "DNS", "ports": {port}}},
                {{"hosts": ["*.com"], "ports": {port}}}]"#
        ));
        assert_eq!(find(&registry, "a.com", "10.1.1.1"), Ok(0));
        assert_eq!(find(&registry, "a.com", "192.0.2.1"), Ok(0));
        assert_eq!(find(&registry, "a.com", "192.0.2.2"), Err(Unknown::Address));
        assert_eq!(find(&registry, "a.com", ""), Err(Unknown::Address));
        assert_eq!(
            find(&registry, "b.com", "192.0.2.9"),
            Ok(2),
            "the fourth entry asks for no address"
        );
        assert_eq!(find(&registry, "c.com", "192.0.2.9"), Ok(4), "Envoy looks the name up itself");
        let has = |address: &str, port| {
            registry.has_address(address.parse().unwrap(), Protocol::Tls, port)
        };
        assert!(has("10.1.1.1", 443) && has("192.0.2.3", 443));
        assert!(!has("10.1.1.1", 444) && !has("192.0.2.9", 443));
    }
}
