//! TLS server names, and the patterns of the configuration that match them.

use std::fmt;

use crate::bytes;
use crate::name_set::NameSet;
use crate::value::host_name;

/// The server name that a client sends in its ClientHello, in lower case.
///
/// It contains only letters, digits, `-`, `_` and dots, so a log can show it without escapes. IP
/// addresses and names that end in a dot are not server names (RFC 6066 section 3).
#[derive(Clone, Debug, Eq)]
pub struct ServerName(Box<str>);

impl PartialEq for ServerName {
    fn eq(&self, other: &Self) -> bool {
        bytes::equal(self.0.as_bytes(), other.0.as_bytes())
    }
}

/// Maximum length of a name: 253 characters without the final dot (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// Maximum length of a label of a name (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

impl ServerName {
    /// Reads a name. `None` if `bytes` is not a server name.
    #[inline]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_NAME {
            return None;
        }
        let is_label =
            |label: &[u8]| (1..=MAX_LABEL).contains(&label.len()) && !label.ends_with(b"-");
        // One pass, because this runs for each connection. `start` is the start of the current
        // label.
        let (mut start, mut has_digits_only, mut has_upper_case) = (0, true, false);
        for (place, byte) in bytes.iter().enumerate() {
            match byte {
                b'a'..=b'z' | b'_' => has_digits_only = false,
                b'0'..=b'9' => {}
                b'A'..=b'Z' => (has_digits_only, has_upper_case) = (false, true),
                b'-' if place > start => has_digits_only = false,
                b'.' if is_label(bytes.get(start..place)?) => {
                    (start, has_digits_only) = (place + 1, true);
                }
                _ => return None,
            }
        }
        // A name whose last label is a number could be read as an IPv4 address: 127.1, 0x7f.1.
        if !is_label(bytes.get(start..)?) || has_digits_only {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Self(if has_upper_case { text.to_ascii_lowercase().into() } else { text.into() }))
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks an entry of `sniHosts`, in lower case: a name, `*.SUFFIX` or `*`. Partial wildcards such
/// as `*-a.com` are rejected, as in Envoy. IP addresses are rejected because no ClientHello
/// contains one; Istio only warns about them.
///
/// # Errors
/// The reason, as a phrase that follows the rejected text.
pub fn check_pattern(text: &str) -> Result<(), &'static str> {
    let rest = text.strip_prefix("*.");
    if text == "*" || ServerName::new(rest.unwrap_or(text).as_bytes()).is_some() {
        return Ok(());
    }
    Err(match host_name::check(text) {
        _ if text.parse::<std::net::IpAddr>().is_ok() => {
            "is an IP address, which is never a server name"
        }
        Ok(()) if text.starts_with('*') => "is a partial wildcard; write *.SUFFIX",
        _ => "is not a server name",
    })
}

/// Hosts in lower case, of which some may start with `*`.
#[derive(Debug, Default)]
pub struct HostPatterns {
    hosts: NameSet,
    /// Lengths of the shortest and of the longest wildcard, without the `*`
    lengths: Option<(usize, usize)>,
}

impl HostPatterns {
    /// The set of `hosts`.
    pub fn new(hosts: &[String]) -> Self {
        let mut patterns = Self::default();
        for host in hosts {
            patterns.hosts.insert(host.as_bytes());
            if let Some(suffix) = host.strip_prefix('*') {
                let (least, most) = patterns.lengths.unwrap_or((suffix.len(), suffix.len()));
                patterns.lengths = Some((least.min(suffix.len()), most.max(suffix.len())));
            }
        }
        patterns
    }

    /// Returns whether one of the hosts matches all names that `pattern` matches. `pattern` is in
    /// lower case and may start with `*`. Source: Istio `host.Name.SubsetOf`.
    pub fn include(&self, pattern: &str) -> bool {
        if self.hosts.contains(pattern.as_bytes()) {
            return true;
        }
        // A wildcard matches at least one character, of a name or of another wildcard.
        let most = pattern.len().saturating_sub(1);
        let (least, longest) = self.lengths.unwrap_or((usize::MAX, 0));
        (least..=longest.min(most)).any(|length| {
            let suffix = pattern.as_bytes().get(pattern.len() - length..).unwrap_or_default();
            self.hosts.contains(&[b"*", suffix].concat())
        })
    }
}

/// The keys of all patterns that match `name`, the most specific one first: the name itself, then
/// `.SUFFIX` for each pattern `*.SUFFIX`, the longest first, then the empty key for `*`.
pub fn keys(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
    let suffixes = dots.filter_map(|(dot, _)| name.get(dot..));
    std::iter::once(name).chain(suffixes).chain(std::iter::once(""))
}

/// The key of a pattern: the text without its `*`. See [`keys`].
pub fn key(pattern: &str) -> &str {
    pattern.strip_prefix('*').unwrap_or(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_addresses_are_rejected() {
        let name = |bytes: &[u8]| ServerName::new(bytes).map(|name| name.to_string());
        assert_eq!(name(b"WWW.Example.com").as_deref(), Some("www.example.com"));
        assert_eq!(
            name(b"my_bucket.s3---x.xn--p1ai").as_deref(),
            Some("my_bucket.s3---x.xn--p1ai")
        );
        assert_eq!(name(b"localhost").as_deref(), Some("localhost"));
        for bytes in [
            &b""[..],
            b".",
            b"a.",
            b".a",
            b"a..b",
            b"-a.com",
            b"a-.com",
            b"10.0.0.1",
            b"127.1",
            b"1",
            b"::1",
            b"[::1]",
            b"a b",
            b"a\0b",
            b"a\n",
            b"*.a.com",
            b"\xff",
            "\u{e4}.com".as_bytes(),
        ] {
            assert_eq!(name(bytes), None, "{bytes:?}");
        }
        let long = "a.".repeat(126) + "b";
        assert!(name(long.as_bytes()).is_some());
        assert_eq!(name(format!("{long}b").as_bytes()), None);
        assert_eq!(name("a".repeat(64).as_bytes()), None);
    }

    #[test]
    fn invalid_patterns_are_rejected() {
        for text in ["a.com", "*.a.com", "*", "*.com"] {
            assert_eq!(check_pattern(text), Ok(()), "{text}");
        }
        for (text, reason) in [
            ("10.0.0.1", "is an IP address, which is never a server name"),
            ("::1", "is an IP address, which is never a server name"),
            ("*-a.com", "is a partial wildcard; write *.SUFFIX"),
            ("a.*", "is not a server name"),
            ("*.*.com", "is not a server name"),
            ("a.com.", "is not a server name"),
            ("", "is not a server name"),
        ] {
            assert_eq!(check_pattern(text), Err(reason), "{text}");
        }
    }

    /// Source: istio pkg/config/host, TestNameMatches and TestNameSubsetOf
    #[test]
    fn patterns_that_are_subsets_of_wildcards() {
        for (pattern, other) in [
            ("bar.foo.com", "*.foo.com"),
            ("a.bar.foo.com", "*.foo.com"),
            ("foo.com", "*"),
            ("*", "*"),
            ("*.foo.com", "*.com"),
            ("*.foo.com", "*.foo.com"),
            ("a.com", "a.com"),
            ("x-a.com", "*-a.com"),
        ] {
            assert!(
                HostPatterns::new(&[other.to_owned()]).include(pattern),
                "{pattern} in {other}"
            );
        }
        for (pattern, other) in [
            ("foo.com", "*.foo.com"),
            ("*.com", "*.foo.com"),
            ("*", "*.com"),
            ("xfoo.com", "foo.com"),
            ("*.foo.com", "a.foo.com"),
            (".foo.com", "*.foo.com"),
        ] {
            assert!(
                !HostPatterns::new(&[other.to_owned()]).include(pattern),
                "{pattern} in {other}"
            );
        }
    }

    #[test]
    fn keys_are_ordered_from_the_exact_name_to_the_wildcard() {
        assert_eq!(keys("a.b.com").collect::<Vec<_>>(), ["a.b.com", ".b.com", ".com", ""]);
        assert_eq!(["a.com", "*.com", "*"].map(key), ["a.com", ".com", ""]);
    }
}
