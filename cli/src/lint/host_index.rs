//! Values by hosts, of which some are wildcards.

use std::collections::HashMap;

/// Values by hosts. A wildcard such as `*.example.com` has all hosts that end as it does.
#[derive(Debug)]
pub struct HostIndex<T> {
    exact: HashMap<String, Vec<T>>,
    /// Wildcards, without the `*`
    suffixes: HashMap<String, Vec<T>>,
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), suffixes: HashMap::new() }
    }
}

impl<T> HostIndex<T> {
    /// Returns whether no host has a value.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty()
    }

    /// Adds a value of a host, which is complete and in lower case.
    pub fn insert(&mut self, host: &str, value: T) {
        let values = match host.strip_prefix('*') {
            Some(suffix) => self.suffixes.entry(suffix.to_owned()),
            None => self.exact.entry(host.to_owned()),
        };
        values.or_default().push(value);
    }

    /// The values of a host, or of all hosts of a wildcard: first those of the host itself, then
    /// those of wildcards, the most specific one first.
    pub fn get<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a T> {
        let end = host.strip_prefix('*').unwrap_or(host);
        let starts = if self.suffixes.is_empty() { 0 } else { end.len() + 1 };
        let suffixes = (0..starts).filter_map(move |start| self.suffixes.get(end.get(start..)?));
        self.exact.get(host).into_iter().chain(suffixes).flatten()
    }

    /// The values of all hosts that a wildcard includes.
    pub fn within<'a>(&'a self, wildcard: &'a str) -> impl Iterator<Item = &'a T> {
        let suffix = wildcard.strip_prefix('*');
        suffix.into_iter().flat_map(move |suffix| {
            let names = self.exact.iter().chain(&self.suffixes);
            names.filter(move |(host, _)| host.ends_with(suffix)).flat_map(|(_, values)| values)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_their_own_values_and_those_of_wildcards() {
        let mut index = HostIndex::default();
        let hosts = ["a.com", "*.com", "*.b.com", "*", "a.com"];
        hosts.into_iter().enumerate().for_each(|(value, host)| index.insert(host, value));
        let get = |host| index.get(host).copied().collect::<Vec<_>>();
        assert_eq!(get("a.com"), [0, 4, 1, 3]);
        assert_eq!(get("x.b.com"), [2, 1, 3]);
        assert_eq!(get("b.com"), [1, 3]);
        assert_eq!(get("*.b.com"), [2, 1, 3]);
        assert_eq!(get("a.org"), [3]);
        assert!(HostIndex::<u8>::default().get("a.com").next().is_none());
        let within = |host| {
            let mut found: Vec<_> = index.within(host).copied().collect();
            found.sort_unstable();
            found
        };
        assert_eq!(within("*.com"), [0, 1, 2, 4]);
        assert_eq!(within("*.org"), [0; 0]);
        assert_eq!(within("a.com"), [0; 0]);
    }
}
