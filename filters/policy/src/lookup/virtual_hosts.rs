//! Selects the virtual host of a request, as Envoy does: the exact name, then the longest suffix,
//! then the longest prefix, then `*`. Matches ignore case and the port, as Istio configures Envoy.

use crate::lookup::name_table::NameTable;
use crate::value::host_name::without_port;

/// Domains, each with the index of its virtual host.
#[derive(Debug, Default)]
pub struct VirtualHosts {
    exact: NameTable<usize>,
    suffixes: Wildcards,
    prefixes: Wildcards,
    any: Option<usize>,
}

/// Wildcard domains, stored by their text without the `*`.
#[derive(Debug, Default)]
struct Wildcards {
    parts: NameTable<usize>,
    /// The distinct lengths of the parts, the longest first. A lookup tries one part of each
    /// length.
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

    /// The index of the longest part that matches. `part_of` returns the part of the host with the
    /// given length.
    fn find<'a>(&self, part_of: impl Fn(usize) -> Option<&'a [u8]>) -> Option<usize> {
        self.lengths.iter().find_map(|length| self.parts.get(part_of(*length)?).copied())
    }
}

impl VirtualHosts {
    /// The index of `domain`, which is in lower case. A new domain is added with `index`.
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

    /// Replaces each index with what `index_of` returns for it.
    pub fn replace_indices(&mut self, index_of: impl Fn(usize) -> usize) {
        let Self { exact, suffixes, prefixes, any } = self;
        let tables = [exact, &mut suffixes.parts, &mut prefixes.parts];
        let indices = tables.into_iter().flat_map(NameTable::values_mut).chain(any);
        indices.for_each(|index| *index = index_of(*index));
    }

    /// The index for a request with this authority.
    #[inline]
    pub fn find(&self, authority: &[u8]) -> Option<usize> {
        let host = without_port(authority);
        // The stored names are in lower case, so most hosts match without a conversion.
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
        // The wildcard matches at least one character.
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
    fn hosts_without_a_matching_domain_have_no_virtual_host() {
        let hosts = hosts(&["a.com", "*.b.com"]);
        for authority in ["b.com", "xa.com", "a.com.", "[::1]:80"] {
            assert_eq!(hosts.find(authority.as_bytes()), None, "{authority}");
        }
    }
}
