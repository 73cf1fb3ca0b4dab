//! Host names of a configuration: validation, and the full names of short names.

use std::fmt;

/// The domain of Kubernetes services. This is Istio's default.
const CLUSTER_DOMAIN: &str = "svc.cluster.local";

/// Why a text is not a valid host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHostName {
    /// The text has more than 255 characters.
    TooLong,
    /// The text has a `*` that is not its first character.
    Wildcard,
    /// A label is empty, too long, or has characters other than letters, digits and `-`.
    Label,
}

impl fmt::Display for InvalidHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "is longer than 255 characters",
            Self::Wildcard => "has a * that is not at the start",
            Self::Label => "is not a host name",
        })
    }
}

/// Checks a host name. Its first label may be `*` or start with `*`, and `*` alone is valid.
/// Source: Istio `ValidateWildcardDomain`.
pub fn check(name: &str) -> Result<(), InvalidHostName> {
    if name.len() > 255 {
        return Err(InvalidHostName::TooLong);
    }
    let (first, rest) = name.split_once('.').map_or((name, None), |(a, b)| (a, Some(b)));
    let tail = first.strip_prefix('*').unwrap_or(first);
    if tail.contains('*') || rest.is_some_and(|rest| rest.contains('*')) {
        return Err(InvalidHostName::Wildcard);
    }
    // In a label with a wildcard, the part after "*" may start with "-", as in "*-bar".
    let tail = if tail.len() < first.len() { tail.strip_prefix('-').unwrap_or(tail) } else { tail };
    let first_is_valid = is_label(tail) || (first.starts_with('*') && tail.is_empty());
    // A fully qualified name may end in a dot.
    let mut rest = rest.map(|rest| rest.strip_suffix('.').unwrap_or(rest)).into_iter();
    if first_is_valid && rest.all(|rest| rest.is_empty() || rest.split('.').all(is_label)) {
        Ok(())
    } else {
        Err(InvalidHostName::Label)
    }
}

/// Returns whether `text` is a DNS label: 1 to 63 letters, digits and `-`, with no `-` at the start
/// or at the end.
pub fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The full name of a host, in lower case. A short name is a service of `namespace`. Without a
/// namespace, short names are not completed.
pub fn qualify(name: &str, namespace: Option<&str>) -> String {
    let name = name.to_ascii_lowercase();
    match namespace {
        Some(namespace) if is_short(&name) => {
            [name.as_str(), ".", namespace, ".", CLUSTER_DOMAIN].concat()
        }
        _ => name,
    }
}

/// Returns whether `name` is the short name of a service, which [`qualify`] completes. A short name
/// has no `.`, `*` or `:`.
pub fn is_short(name: &str) -> bool {
    !name.contains(['.', '*', ':'])
}

/// The other names of the service `full_name` for clients inside the mesh, as Istio adds them to a
/// virtual host: `reviews.default.svc.cluster.local` is also `reviews.default.svc`,
/// `reviews.default` and, for clients in the same namespace, `reviews`. Empty if `full_name` is not
/// a service.
pub fn aliases(full_name: &str, namespace: Option<&str>) -> Vec<String> {
    let service = full_name.strip_suffix(CLUSTER_DOMAIN).and_then(|s| s.strip_suffix('.'));
    // Wildcards have no aliases: without the cluster domain, they would match names of other
    // domains.
    let Some(service) = service.filter(|service| !service.contains('*')) else {
        return Vec::new();
    };
    let mut aliases = vec![format!("{service}.svc"), service.to_owned()];
    if let (Some((name, own_namespace)), Some(namespace)) = (service.split_once('.'), namespace)
        && own_namespace == namespace
    {
        aliases.push(name.to_owned());
    }
    aliases
}

/// Returns a Host header or an authority without its port.
#[inline]
pub fn without_port(authority: &[u8]) -> &[u8] {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let Some((rest, _)) = authority.split_at_checked(authority.len() - digits) else {
        return authority;
    };
    match rest.split_last() {
        // In a bare IPv6 address a colon does not start a port.
        Some((b':', host)) if host.ends_with(b"]") || !host.contains(&b':') => host,
        _ => authority,
    }
}

/// Returns the host of a Host header or an authority: without its port, and without the one dot
/// that a fully qualified name may end in (RFC 3986 section 3.2.2). Names with and without this dot
/// are the same name.
///
/// A TLS server name has no such dot (RFC 6066 section 3), see
/// [`ServerName`](crate::value::server_name::ServerName).
#[inline]
pub fn of_authority(authority: &[u8]) -> &[u8] {
    let host = without_port(authority);
    match host.split_last() {
        Some((b'.', name)) if !name.is_empty() && !name.contains(&b':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_allowed_at_the_start_only() {
        for name in
            ["*", "*.foo.com", "*-bar.baz.com", "*foo.com", "foo", "a.b.c", "10.0.0.1", "a.b."]
        {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["foo.*", "foo.*.com", "**.com", "f*o.com"] {
            assert_eq!(check(name), Err(InvalidHostName::Wildcard), "{name}");
        }
        for name in ["", ".com", "a..b", "-a.com", "a-.com", "a_b.com", "a b", "a/b", "x:80"] {
            assert_eq!(check(name), Err(InvalidHostName::Label), "{name}");
        }
        assert_eq!(check(&"a.".repeat(128)), Err(InvalidHostName::TooLong));
    }

    #[test]
    fn short_names_are_completed_only_with_a_namespace() {
        assert_eq!(qualify("Reviews", Some("prod")), "reviews.prod.svc.cluster.local");
        assert_eq!(qualify("reviews", None), "reviews");
        assert_eq!(qualify("Example.com", Some("prod")), "example.com");
        assert_eq!(qualify("*", Some("prod")), "*");
    }

    #[test]
    fn services_have_aliases() {
        let full = "reviews.prod.svc.cluster.local";
        assert_eq!(aliases(full, Some("prod")), ["reviews.prod.svc", "reviews.prod", "reviews"]);
        assert_eq!(aliases(full, Some("test")), ["reviews.prod.svc", "reviews.prod"]);
        assert!(aliases("example.com", Some("prod")).is_empty());
        for wildcard in ["*.prod.svc.cluster.local", "*-v1.prod.svc.cluster.local"] {
            assert!(aliases(wildcard, Some("prod")).is_empty(), "{wildcard}");
        }
    }

    #[test]
    fn ports_are_removed() {
        for (authority, host) in [
            ("foo.com:80", "foo.com"),
            ("foo.com", "foo.com"),
            ("foo.com:", "foo.com"),
            ("10.0.0.1:8080", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(without_port(authority.as_bytes()), host.as_bytes(), "{authority}");
            assert_eq!(of_authority(authority.as_bytes()), host.as_bytes(), "{authority}");
        }
    }

    #[test]
    fn one_dot_at_the_end_of_a_host_is_removed() {
        for (authority, host) in [
            ("foo.com.", "foo.com"),
            ("foo.com.:80", "foo.com"),
            ("foo.com..", "foo.com."),
            ("localhost.", "localhost"),
            (".", "."),
            (".:80", "."),
            ("foo.com:80.", "foo.com:80."),
            ("[::1].", "[::1]."),
        ] {
            assert_eq!(of_authority(authority.as_bytes()), host.as_bytes(), "{authority}");
        }
    }
}
