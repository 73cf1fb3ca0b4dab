//! Choosing the virtual host of a request, as Envoy does: by the exact name, the longest suffix,
//! the longest prefix, then `*`. Case does not matter, and neither does the port, which Istio has
//! Envoy ignore.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::host_name::without_port;

/// Names of hosts with the index of what they stand for.
#[derive(Debug, Default)]
pub struct VirtualHosts {
    exact: HashMap<Box<[u8]>, usize>,
    suffixes: ByLength,
    prefixes: ByLength,
    any: Option<usize>,
}

/// Wildcards by the length of their fixed part, the longest first.
type ByLength = BTreeMap<Reverse<usize>, HashMap<Box<[u8]>, usize>>;

impl VirtualHosts {
    /// What the domain `domain` stands for; entered as `index` if it is new. In lower case.
    pub fn entry(&mut self, domain: &str, index: usize) -> usize {
        if domain == "*" {
            return *self.any.get_or_insert(index);
        }
        let (map, name) = match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
            (Some(suffix), _) => (self.suffixes.entry(Reverse(suffix.len())).or_default(), suffix),
            (None, Some(prefix)) => {
                (self.prefixes.entry(Reverse(prefix.len())).or_default(), prefix)
            }
            (None, None) => (&mut self.exact, domain),
        };
        *map.entry(name.as_bytes().into()).or_insert(index)
    }

    /// The index for a request with this authority.
    pub fn find(&self, authority: &[u8]) -> Option<usize> {
        let host = without_port(authority);
        let host: Cow<'_, [u8]> = if host.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        let by_suffix =
            |(Reverse(length), names): (&Reverse<usize>, &HashMap<Box<[u8]>, usize>)| {
                // The wildcard stands for at least one character.
                let start = host.len().checked_sub(*length).filter(|start| *start > 0)?;
                names.get(host.get(start..)?).copied()
            };
        let by_prefix =
            |(Reverse(length), names): (&Reverse<usize>, &HashMap<Box<[u8]>, usize>)| {
                if host.len() > *length { names.get(host.get(..*length)?).copied() } else { None }
            };
        self.exact
            .get(&*host)
            .copied()
            .or_else(|| self.suffixes.iter().find_map(by_suffix))
            .or_else(|| self.prefixes.iter().find_map(by_prefix))
            .or(self.any)
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
