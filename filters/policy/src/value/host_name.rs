//! Host names of a configuration: what is valid, and how short ones become long.

use std::fmt;

/// The domain that Kubernetes gives to services; Istio's default.
const CLUSTER_DOMAIN: &str = "svc.cluster.local";

/// Why a text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHostName {
    /// More than 255 characters.
    TooLong,
    /// A `*` that is not in the first label, or at the end where that is allowed.
    Wildcard,
    /// A label that is empty, too long or has other characters than letters, digits and `-`.
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

/// Checks a host name whose first label may be or start with `*`
/// (Istio's `ValidateWildcardDomain`). `*` alone is valid here.
pub fn check(name: &str) -> Result<(), InvalidHostName> {
    if name.len() > 255 {
        return Err(InvalidHostName::TooLong);
    }
    let (first, rest) = name.split_once('.').map_or((name, None), |(a, b)| (a, Some(b)));
    let tail = first.strip_prefix('*').unwrap_or(first);
    if tail.contains('*') || rest.is_some_and(|rest| rest.contains('*')) {
        return Err(InvalidHostName::Wildcard);
    }
    // "*-bar" is a wildcard with a label that may then start with "-".
    let tail = if tail.len() < first.len() { tail.strip_prefix('-').unwrap_or(tail) } else { tail };
    let first_is_valid = is_label(tail) || (first.starts_with('*') && tail.is_empty());
    // The dot at the end of a fully qualified name is allowed.
    let mut rest = rest.map(|rest| rest.strip_suffix('.').unwrap_or(rest)).into_iter();
    if first_is_valid && rest.all(|rest| rest.is_empty() || rest.split('.').all(is_label)) {
        Ok(())
    } else {
        Err(InvalidHostName::Label)
    }
}

/// Whether `text` is a DNS label: 1 to 63 letters, digits and `-`, the latter not at an end.
pub fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The full name of a host: a short one (without a dot) is a service of `namespace`. Without a
/// namespace, names stay as they are. Always in lower case.
pub fn qualify(name: &str, namespace: Option<&str>) -> String {
    let name = name.to_ascii_lowercase();
    match namespace {
        Some(namespace) if is_short(&name) => format!("{name}.{namespace}.{CLUSTER_DOMAIN}"),
        _ => name,
    }
}

/// Whether `name` is a short name, to be completed by a namespace.
pub fn is_short(name: &str) -> bool {
    !name.contains(['.', '*', ':'])
}

/// The other names by which clients inside the mesh call the service `full_name`, as Istio gives
/// them to a virtual host: `reviews.default.svc.cluster.local` is also `reviews.default.svc`,
/// `reviews.default` and, for clients of the same namespace, `reviews`. Empty for other names.
pub fn aliases(full_name: &str, namespace: Option<&str>) -> Vec<String> {
    let service = full_name.strip_suffix(CLUSTER_DOMAIN).and_then(|s| s.strip_suffix('.'));
    // A wildcard is no service: without the domain it would stand for names outside of it too.
    let Some(service) = service.filter(|service| !service.contains('*')) else {
        return Vec::new();
    };
    let mut aliases = vec![format!("{service}.svc"), service.to_owned()];
    if let (Some((name, of)), Some(namespace)) = (service.split_once('.'), namespace)
        && of == namespace
    {
        aliases.push(name.to_owned());
    }
    aliases
}

/// A host header or authority without its port.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_at_the_start() {
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
    fn short_names_become_long_in_a_namespace_only() {
        assert_eq!(qualify("Reviews", Some("prod")), "reviews.prod.svc.cluster.local");
        assert_eq!(qualify("reviews", None), "reviews");
        assert_eq!(qualify("Example.com", Some("prod")), "example.com");
        assert_eq!(qualify("*", Some("prod")), "*");
    }

    #[test]
    fn services_have_shorter_names_too() {
        let full = "reviews.prod.svc.cluster.local";
        assert_eq!(aliases(full, Some("prod")), ["reviews.prod.svc", "reviews.prod", "reviews"]);
        assert_eq!(aliases(full, Some("test")), ["reviews.prod.svc", "reviews.prod"]);
        assert!(aliases("example.com", Some("prod")).is_empty());
        for wildcard in ["*.prod.svc.cluster.local", "*-v1.prod.svc.cluster.local"] {
            assert!(aliases(wildcard, Some("prod")).is_empty(), "{wildcard}");
        }
    }

    #[test]
    fn ports_are_cut_off() {
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
        }
    }
}
