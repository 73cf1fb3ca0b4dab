//! The registry of the names and addresses of service entries, by protocol and port.
//!
//! A lookup needs one hash for each label of the name, and a binary search in a list. Its time does
//! not depend on the number of service entries.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::lookup::name_table::NameTable;
use crate::sort::sort;
use crate::spec::service_entry::{Protocol, ServiceEntry, ServicePort};
use crate::value::address::AddressSet;

/// Maximum length of a host name (RFC 1035, section 2.3.4, in text form).
const MAX_NAME: usize = 253;

/// Service entries, compiled.
#[derive(Debug, Default)]
pub struct Registry {
    /// Names in lower case. A wildcard is stored without its `*`, so it starts with a dot
    names: Names,
    /// The addresses that are allowed without a name, sorted by their keys
    addresses: Vec<(Key, Arc<AddressSet>)>,
}

/// The protocol of the client, and the port.
type Key = (Protocol, u16);

/// The service entry and the addresses of a name, for one protocol and port.
#[derive(Debug)]
struct Binding {
    key: Key,
    /// Index of the first service entry with this name, protocol and port
    entry: usize,
    /// The allowed addresses; `None` if all addresses are allowed
    addresses: Option<Arc<AddressSet>>,
}

/// The keys of a port, one for each of its protocols.
fn keys(port: &ServicePort) -> impl Iterator<Item = Key> + Clone {
    let number = port.number;
    port.protocols.iter().map(move |protocol| (*protocol, number))
}

/// A key, and the index of a service entry that has it.
type Draft = (Key, usize);

/// Sorts drafts by their keys. Those of one key stay in the order of the service entries.
fn sort_drafts(drafts: &mut [Draft]) {
    sort(drafts, |(left, _), (right, _)| left.cmp(right));
}

/// The drafts of each key.
fn by_key(drafts: &[Draft]) -> impl Iterator<Item = &[Draft]> {
    drafts.chunk_by(|(left, _), (right, _)| left == right)
}

/// Sets of the addresses of service entries. Most ports and hosts have the same service entries as
/// the ones before them, and share their set.
struct Addresses<'a> {
    entries: &'a [ServiceEntry],
    last: Vec<usize>,
    set: Arc<AddressSet>,
}

impl Addresses<'_> {
    fn of(&mut self, drafts: &[Draft]) -> Arc<AddressSet> {
        let indices = drafts.iter().map(|(_, entry)| *entry);
        if !self.last.iter().copied().eq(indices.clone()) {
            let entries = indices.clone().filter_map(|index| self.entries.get(index));
            let ranges = entries.flat_map(|entry| entry.addresses.iter().copied());
            self.set = Arc::new(AddressSet::new(ranges.collect()));
            self.last = indices.collect();
        }
        Arc::clone(&self.set)
    }
}

/// Why no service entry matches a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// A service entry has the name, but not the address.
    Address,
    /// No service entry has the name.
    Name,
    /// A service entry has the name, but not for this protocol and port.
    Port,
}

impl Registry {
    /// Compiles service entries. Entries with the same name, protocol and port are merged: an
    /// address is allowed if one of them allows it.
    pub fn new(entries: &[ServiceEntry]) -> Self {
        let mut names: NameTable<Vec<Draft>> = NameTable::default();
        let mut by_address: Vec<Draft> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let drafts = entry.ports.iter().flat_map(keys).map(|key| (key, index));
            if !entry.addresses.is_empty() {
                by_address.extend(drafts.clone());
            }
            for host in &entry.hosts {
                let name = host.strip_prefix('*').unwrap_or(host).as_bytes();
                names.entry(name, Vec::new).extend(drafts.clone());
            }
        }
        sort_drafts(&mut by_address);
        let mut sets = Addresses { entries, last: Vec::new(), set: Arc::default() };
        let of_key = |own: &[Draft]| Some((own.first()?.0, sets.of(own)));
        let addresses = by_key(&by_address).filter_map(of_key).collect();
        Self { names: Names::new(names, entries), addresses }
    }

    /// The index of the service entry that allows a name, in upper or lower case and without a dot
    /// at the end. If several names of service entries match, the most specific one decides, as in
    /// Envoy: first the name itself, then the wildcard with the most labels.
    ///
    /// `address` is the destination address.
    ///
    /// # Errors
    /// [`Unknown`] if no service entry allows the name.
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
            let is_allowed = match &binding.addresses {
                None => true,
                Some(allowed) => address.is_some_and(|address| allowed.contains(address)),
            };
            return if is_allowed { Ok(binding.entry) } else { Err(Unknown::Address) };
        }
        Err(unknown)
    }

    /// Returns whether an address is allowed without a name.
    pub fn has_address(&self, address: IpAddr, protocol: Protocol, port: u16) -> bool {
        let found = self.addresses.binary_search_by_key(&(protocol, port), |(key, _)| *key);
        let known = found.ok().and_then(|index| self.addresses.get(index));
        known.is_some_and(|(_, known)| known.contains(address))
    }
}

/// Names, each with its bindings. All bindings are in one allocation.
#[derive(Debug, Default)]
struct Names {
    /// For each name, the range of its bindings in `bindings`
    ranges: NameTable<Range<usize>>,
    /// The bindings of all names. Those of one name are sorted by their keys
    bindings: Box<[Binding]>,
    /// A bit for each length that a name has. Most parents of a name have another length, so that
    /// they need no lookup
    lengths: [u64; MAX_NAME / 64 + 1],
}

impl Names {
    fn new(drafts: NameTable<Vec<Draft>>, entries: &[ServiceEntry]) -> Self {
        let mut lengths = [0; MAX_NAME / 64 + 1];
        for (name, _) in drafts.iter() {
            if let Some(bits) = lengths.get_mut(name.len() / 64) {
                *bits |= 1 << (name.len() % 64);
            }
        }
        let mut bindings = Vec::with_capacity(drafts.iter().map(|(_, own)| own.len()).sum());
        let mut sets = Addresses { entries, last: Vec::new(), set: Arc::default() };
        let is_bound = |(_, index): &Draft| {
            let entry = entries.get(*index);
            entry.is_some_and(|entry| entry.keeps_destination && !entry.addresses.is_empty())
        };
        let ranges = drafts.map(|mut own| {
            let start = bindings.len();
            if own.len() > 1 {
                sort_drafts(&mut own);
            }
            for own in by_key(&own) {
                let Some((key, entry)) = own.first().copied() else { continue };
                let addresses = own.iter().all(is_bound).then(|| sets.of(own));
                bindings.push(Binding { key, entry, addresses });
            }
            start..bindings.len()
        });
        Self { ranges, bindings: bindings.into_boxed_slice(), lengths }
    }

    #[inline]
    fn get(&self, name: &[u8]) -> Option<&[Binding]> {
        if self.lengths.get(name.len() / 64)? >> (name.len() % 64) & 1 == 0 {
            return None;
        }
        self.bindings.get(self.ranges.get(name)?.clone())
    }
}

/// Returns a name in lower case. `None` for text that is not a name, because a wildcard must not
/// match `evil.com/` or `evil.com:80 `.
#[inline]
fn normalize(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if name.len() > MAX_NAME {
        return None;
    }
    // Starts with a dot, because the first label must not be empty.
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

    /// The entry of a TLS name. The default port is 443.
    fn find(registry: &Registry, name: &str, address: &str) -> Result<usize, Unknown> {
        let (name, port) = name.split_once(':').unwrap_or((name, "443"));
        let address = address.parse().ok();
        registry.find(name.as_bytes(), Protocol::Tls, port.parse().unwrap(), address)
    }

    #[test]
    fn the_most_specific_name_with_the_port_decides() {
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
        assert_eq!(found("x.b.com:444"), Err(Unknown::Port));
        assert_eq!(found("a.com:80"), Err(Unknown::Port), "this port is HTTP only");
        for name in ["b.com", "com", "", ".b.com", "x..b.com", "a.com.", "b.com.evil.com"] {
            assert_eq!(found(name), Err(Unknown::Name), "{name}");
        }
    }

    #[test]
    fn each_of_many_names_has_its_own_entry() {
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
    fn wildcards_do_not_match_invalid_names() {
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
    fn a_name_with_addresses_is_allowed_at_these_only() {
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
            "the fourth entry allows all addresses"
        );
        assert_eq!(find(&registry, "c.com", "192.0.2.9"), Ok(4), "Envoy resolves the name itself");
        let has = |address: &str, port| {
            registry.has_address(address.parse().unwrap(), Protocol::Tls, port)
        };
        assert!(has("10.1.1.1", 443) && has("192.0.2.3", 443));
        assert!(!has("10.1.1.1", 444) && !has("192.0.2.9", 443));
    }
}
