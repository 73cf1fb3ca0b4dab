//! Choosing the virtual host of a request, as Envoy does: by the exact name, the longest suffix,
//! the longest prefix, then `*`. Case does not matter, and neither does the port, which Istio has
//! Envoy ignore.

use crate::lookup::name_table::NameTable;
use crate::value::host_name::without_port;

/// Names of hosts with the index of what they stand for.
#[derive(Debug, Default)]
pub struct VirtualHosts {
    exact: NameTable<usize>,
    suffixes: Wildcards,
    prefixes: Wildcards,
    any: Option<usize>,
}

/// The fixed parts of wildcards.
#[derive(Debug, Default)]
struct Wildcards {
    parts: NameTable<usize>,
    /// Every length that occurs, the longest first: a lookup tries one of each.
    lengths: Vec<usize>,
}

impl Wildcards {
    fn entry(&mut self, part: &[u8], index: usize) -> usize {
        let place = self.lengths.partition_point(|length| *length > part.len());
        if self.lengths.get(place) != Some(&part.len()) {
            self.lengths.insert(place, part.len());
        }
        *self.parts.entry(part, || index)
    }

    /// The longest part for which `part_of` finds a part of the host of that length.
    fn find<'a>(&self, part_of: impl Fn(usize) -> Option<&'a [u8]>) -> Option<usize> {
        self.lengths.iter().find_map(|length| self.parts.get(part_of(*length)?).copied())
    }
}

impl VirtualHosts {
    /// What the domain `domain` stands for; entered as `index` if it is new. In lower case.
    pub fn entry(&mut self, domain: &str, index: usize) -> usize {
        if domain == "*" {
            return *self.any.get_or_insert(index);
        }
        match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
            (Some(suffix), _) => self.suffixes.entry(suffix.as_bytes(), index),
            (None, Some(prefix)) => self.prefixes.entry(prefix.as_bytes(), index),
            (None, None) => *self.exact.entry(domain.as_bytes(), || index),
        }
    }

    /// The index for a request with this authority.
    #[inline]
    pub fn find(&self, authority: &[u8]) -> Option<usize> {
        let host = without_port(authority);
        // Names are in lower case, so one that is found as it was sent is too.
        let exact = self.exact.get(host).copied();
        if exact.is_some() {
            return exact;
        }
        if host.iter().any(u8::is_ascii_uppercase) {
            let lower = host.to_ascii_lowercase();
            return self.exact.get(&lower).copied().or_else(|| self.find_wildcard(&lower));
        }
        self.find_wildcard(host)
    }

    fn find_wildcard(&self, host: &[u8]) -> Option<usize> {
        // The wildcard stands for at least one character.
        let suffix = |length| {
            let start = host.len().checked_sub(length).filter(|start| *start > 0)?;
            host.get(start..)
        };
        let prefix = |length| host.get(..length).filter(|_| host.len() > length);
        let found = self.suffixes.find(suffix).or_else(|| self.prefixes.find(prefix));
        found.or(self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(domains: &[&str]) -> VirtualHosts {
        let mut hosts = VirtualHosts::default();
        for (index, domain) in domains.iter().enumerate() {
            hosts.entry(domain, index);
        }
        hosts
    }

    #[test]
    fn exact_then_longest_suffix_then_longest_prefix_then_any() {
        let domains =
            ["lyft.com", "*.foo.com", "*-bar.baz.com", "*.baz.com", "foo.*", "foo.b*", "*"];
        let hosts = hosts(&domains);
        let found = |authority: &str| domains[hosts.find(authority.as_bytes()).unwrap()];
        assert_eq!(found("LYFT.COM:8080"), "lyft.com");
        assert_eq!(found("www.foo.com"), "*.foo.com");
        assert_eq!(found("foo.com"), "foo.*");
        assert_eq!(found(".foo.com"), "*");
        assert_eq!(found("foo-bar.baz.com"), "*-bar.baz.com");
        assert_eq!(found("x.baz.com"), "*.baz.com");
        assert_eq!(found("foo.bar"), "foo.b*");
        assert_eq!(found("foo."), "*");
        assert_eq!(found(""), "*");
    }

    #[test]
    fn without_a_fitting_name_there_is_none() {
        let hosts = hosts(&["a.com", "*.b.com"]);
        for authority in ["b.com", "xa.com", "a.com.", "[::1]:80"] {
            assert_eq!(hosts.find(authority.as_bytes()), None, "{authority}");
        }
    }
}
