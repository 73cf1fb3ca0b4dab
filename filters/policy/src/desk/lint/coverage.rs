//! Compares matches: whether an earlier match covers a later one.

use std::collections::HashMap;

use crate::spec::header_condition::HeaderCondition;
use crate::spec::http_match::HttpMatch;
use crate::spec::string_match::{StringMatch, ValueMatch};

/// A match that is compared with earlier ones. Its conditions are found by their names.
pub(super) struct Later<'a> {
    own: &'a HttpMatch,
    headers: HashMap<&'a str, Vec<&'a HeaderCondition>>,
    query: HashMap<&'a [u8], &'a ValueMatch>,
}

impl<'a> Later<'a> {
    pub(super) fn new(own: &'a HttpMatch) -> Self {
        let query = own.query.iter().map(|(name, condition)| (&**name, condition)).collect();
        Self { own, headers: by_name(&own.headers), query }
    }
}

/// Returns the conditions of each header, which may be one of `headers` and one of
/// `withoutHeaders`.
pub(super) fn by_name(conditions: &[HeaderCondition]) -> HashMap<&str, Vec<&HeaderCondition>> {
    let mut by_name: HashMap<&str, Vec<_>> = HashMap::with_capacity(conditions.len());
    for condition in conditions {
        by_name.entry(&condition.name).or_default().push(condition);
    }
    by_name
}

/// A header, and the condition on its value if there is one.
pub(super) type HeaderKey<'a> = (&'a str, Option<&'a StringMatch>);

/// Returns whether every request that satisfies `later` also satisfies `earlier`; `false` if this
/// is not certain.
pub(super) fn covers(earlier: &HttpMatch, later: &Later<'_>) -> bool {
    let Later { own: later, headers, query } = later;
    let covers = |earlier: &Option<StringMatch>, later: &Option<StringMatch>| {
        let Some(earlier) = earlier else { return true };
        later.as_ref().is_some_and(|later| earlier.covers(later))
    };
    earlier.port.is_none_or(|port| later.port == Some(port))
        && earlier.headers.iter().all(|own| {
            headers.get(&*own.name).is_some_and(|others| others.iter().any(|it| own.covers(it)))
        })
        && earlier
            .query
            .iter()
            .all(|(name, own)| query.get(&**name).is_some_and(|other| own.covers(other)))
        && earlier.claims.iter().all(|own| {
            later.claims.iter().any(|other| {
                own.path == other.path
                    && own.is_inverted == other.is_inverted
                    && own.condition.covers(&other.condition)
                    && (!own.is_inverted || other.condition.covers(&own.condition))
            })
        })
        && covers(&earlier.method, &later.method)
        && covers(&earlier.scheme, &later.scheme)
        && covers(&earlier.authority, &later.authority)
        && covers_path(earlier, later)
}

fn covers_path(earlier: &HttpMatch, later: &HttpMatch) -> bool {
    let Some(uri) = &earlier.uri else {
        // Every path that starts with a slash.
        return match &later.uri {
            None => true,
            Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) => path.starts_with(b"/"),
            Some(StringMatch::Regex(pattern)) => pattern.start().starts_with(b"/"),
        };
    };
    if earlier.is_by_element {
        return covers_elements(uri, later);
    }
    let slash = StringMatch::Prefix(b"/"[..].into());
    let later_uri = later.uri.as_ref().unwrap_or(&slash);
    let has_letters = |condition: &StringMatch| match condition {
        StringMatch::Exact(text) | StringMatch::Prefix(text) => {
            text.iter().any(u8::is_ascii_alphabetic)
        }
        StringMatch::Regex(_) => false,
    };
    if earlier.ignore_uri_case {
        lower(uri).covers(&lower(later_uri))
    } else if later.ignore_uri_case && has_letters(later_uri) {
        // Only a prefix without letters.
        matches!(uri, StringMatch::Prefix(own) if own.iter().all(|b| !b.is_ascii_alphabetic()))
            && uri.covers(later_uri)
    } else {
        uri.covers(later_uri)
    }
}

/// As [`covers_path`], for a prefix of whole path elements.
fn covers_elements(uri: &StringMatch, later: &HttpMatch) -> bool {
    let rest_of = |path: &[u8]| match uri {
        StringMatch::Prefix(own) => path.strip_prefix(&**own).map(<[u8]>::to_vec),
        StringMatch::Exact(_) | StringMatch::Regex(_) => None,
    };
    match &later.uri {
        _ if later.ignore_uri_case => false,
        Some(StringMatch::Exact(path)) => {
            rest_of(path).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        }
        Some(StringMatch::Prefix(path)) => rest_of(path).is_some_and(|rest| match rest.first() {
            None => later.is_by_element,
            Some(next) => *next == b'/',
        }),
        Some(StringMatch::Regex(_)) | None => false,
    }
}

/// The condition on the path, in lower case.
pub(super) fn path_key(own: &HttpMatch) -> Option<StringMatch> {
    own.uri.as_ref().map(lower)
}

/// The headers that a request must have, with the conditions on their values.
pub(super) fn header_keys(own: &HttpMatch) -> impl Iterator<Item = HeaderKey<'_>> {
    let required = own.headers.iter().filter(|header| !header.is_inverted);
    required.map(|header| match &header.condition {
        ValueMatch::Value(value) => (header.name.as_str(), Some(value)),
        ValueMatch::Present => (header.name.as_str(), None),
    })
}

fn lower(condition: &StringMatch) -> StringMatch {
    match condition {
        StringMatch::Exact(text) => StringMatch::Exact(text.to_ascii_lowercase().into()),
        StringMatch::Prefix(text) => StringMatch::Prefix(text.to_ascii_lowercase().into()),
        StringMatch::Regex(pattern) => StringMatch::Regex(pattern.clone()),
    }
}
