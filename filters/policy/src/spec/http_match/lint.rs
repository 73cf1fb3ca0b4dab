//! What a match can never do: fit a request at all, or one that an earlier match left.

use super::HttpMatch;
use crate::spec::string_match::{StringMatch, ValueMatch};

/// A header and what its value has to be, if that matters.
pub(crate) type HeaderKey<'a> = (&'a str, Option<&'a StringMatch>);

impl StringMatch {
    /// Whether every value that fits `other` fits this too. `false` also where that is not plain: of a
    /// regular expression only that it fits an exact value or is the same.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(own), Self::Exact(other)) => own == other,
            (Self::Prefix(own), Self::Exact(other) | Self::Prefix(other)) => other.starts_with(own),
            (Self::Regex(own), Self::Exact(other)) => own.is_match(other),
            (Self::Regex(own), Self::Regex(other)) => own.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl ValueMatch {
    /// As [`StringMatch::covers`].
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, _) => true,
            (Self::Value(own), Self::Value(other)) => own.covers(other),
            (Self::Value(_), Self::Present) => false,
        }
    }
}

impl HttpMatch {
    /// Whether every request that fits `other` fits this too; `false` also where that is not plain.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let covers = |own: &Option<StringMatch>, other: &Option<StringMatch>| {
            own.as_ref().is_none_or(|own| other.as_ref().is_some_and(|other| own.covers(other)))
        };
        self.port.is_none_or(|port| other.port == Some(port))
            && self.headers.iter().all(|own| other.headers.iter().any(|other| own.covers(other)))
            && self.query.iter().all(|(name, own)| {
                other.query.iter().any(|(known, other)| name == known && own.covers(other))
            })
            && self.claims.iter().all(|own| {
                other.claims.iter().any(|other| {
                    own.path == other.path
                        && own.is_inverted == other.is_inverted
                        && own.condition.covers(&other.condition)
                        && (!own.is_inverted || other.condition.covers(&own.condition))
                })
            })
            && covers(&self.method, &other.method)
            && covers(&self.scheme, &other.scheme)
            && covers(&self.authority, &other.authority)
            && self.covers_path(other)
    }

    fn covers_path(&self, other: &Self) -> bool {
        let Some(own) = &self.uri else {
            // Every path that starts with a slash.
            return match &other.uri {
                None => true,
                Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) => {
                    path.starts_with(b"/")
                }
                Some(StringMatch::Regex(_)) => false,
            };
        };
        let slash = StringMatch::Prefix(b"/"[..].into());
        let other_uri = other.uri.as_ref().unwrap_or(&slash);
        let has_letters = |condition: &StringMatch| match condition {
            StringMatch::Exact(text) | StringMatch::Prefix(text) => {
                text.iter().any(u8::is_ascii_alphabetic)
            }
            StringMatch::Regex(_) => false,
        };
        if self.ignore_uri_case {
            lower(own).covers(&lower(other_uri))
        } else if other.ignore_uri_case && has_letters(other_uri) {
            // Only what has no letter beyond the common start.
            matches!(own, StringMatch::Prefix(own) if own.iter().all(|b| !b.is_ascii_alphabetic()))
                && own.covers(other_uri)
        } else {
            own.covers(other_uri)
        }
    }

    /// What is asked of the path, in lower case.
    pub(crate) fn path_key(&self) -> Option<StringMatch> {
        self.uri.as_ref().map(lower)
    }

    /// The headers that have to be there, with what is asked of their values.
    pub(crate) fn header_keys(&self) -> impl Iterator<Item = HeaderKey<'_>> {
        self.headers.iter().map(super::HeaderCondition::parts).filter(|parts| !parts.2).map(
            |(name, condition, _)| match condition {
                ValueMatch::Value(value) => (name, Some(value)),
                ValueMatch::Present => (name, None),
            },
        )
    }

    /// Why no request can fit, if that is so.
    pub(crate) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        if let Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) = &self.uri {
            if path.iter().any(|byte| matches!(byte, b'?' | b'#')) {
                return Some(("uri", "never matches: paths are compared without their query"));
            }
            if !path.is_empty() && !path.starts_with(b"/") && &**path != b"*" {
                return Some(("uri", "never matches: paths start with /"));
            }
        }
        if let Some(StringMatch::Exact(method)) = &self.method
            && method.iter().any(u8::is_ascii_lowercase)
        {
            return Some(("method", "never matches: methods are case-sensitive and in upper case"));
        }
        if let Some(StringMatch::Exact(scheme)) = &self.scheme
            && !matches!(&**scheme, b"http" | b"https")
        {
            return Some(("scheme", "never matches: schemes are http and https"));
        }
        for header in &self.headers {
            if self.headers.iter().any(|other| header.excludes(other)) {
                return Some((
                    "withoutHeaders",
                    "never matches: headers asks for what is refused here",
                ));
            }
            if let (_, ValueMatch::Value(StringMatch::Exact(value)), false) = header.parts()
                && value.trim_ascii().len() < value.len()
            {
                return Some((
                    "headers",
                    "never matches: header values have no space at their ends",
                ));
            }
        }
        None
    }
}

fn lower(condition: &StringMatch) -> StringMatch {
    match condition {
        StringMatch::Exact(text) => StringMatch::Exact(text.to_ascii_lowercase().into()),
        StringMatch::Prefix(text) => StringMatch::Prefix(text.to_ascii_lowercase().into()),
        StringMatch::Regex(pattern) => StringMatch::Regex(pattern.clone()),
    }
}
