//! A header map in the encoding of proxy-wasm, in which Envoy passes it to a module.
//!
//! The encoding contains the number of headers, then the lengths of each name and value, then the
//! names and values themselves, each followed by a zero byte. Numbers have 32 bits, little-endian.
//! The headers are read in place. This needs one allocation for all headers, instead of two for
//! each.

use smallvec::SmallVec;

/// Header names in lower case with their values, in order. Up to 24 headers, the case of most
/// requests, need no allocation.
pub type HeaderRefs<'a> = SmallVec<[(&'a [u8], &'a [u8]); 24]>;

/// A set of header names with false positives but no false negatives (a Bloom filter). A test takes
/// less time than a comparison of two names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameFilter(u64);

impl NameFilter {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The factor 39 gives few false positives for the set of headers that the router removes. A
    /// test of the router lists the common header names among them. A false positive costs only the
    /// comparison of the name.
    #[inline]
    const fn bit(name: &[u8]) -> u64 {
        let last = match name {
            [.., last] => *last as usize,
            [] => 0,
        };
        1 << (name.len().wrapping_add(last.wrapping_mul(39)) % 64)
    }

    /// Returns the set with `name` added.
    #[must_use]
    #[inline]
    pub const fn with(self, name: &[u8]) -> Self {
        Self(self.0 | Self::bit(name))
    }

    /// Returns whether the set may contain `name`.
    #[inline]
    pub fn may_have(self, name: &[u8]) -> bool {
        self.0 & Self::bit(name) != 0
    }

    /// Returns the part of the set that may be `name`: empty if the set does not contain it.
    #[must_use]
    #[inline]
    pub fn common(self, name: &[u8]) -> Self {
        Self(self.0 & Self::bit(name))
    }

    /// Returns the union of both sets.
    #[must_use]
    #[inline]
    pub fn joined(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether both sets may have a name in common.
    #[inline]
    pub fn may_meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Encodes headers.
pub fn encode<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let sizes = pairs.clone().map(|(name, value)| 2 * 4 + name.len() + value.len() + 2);
    let mut bytes = Vec::with_capacity(sizes.fold(4, usize::saturating_add));
    bytes.extend_from_slice(&number(pairs.clone().count()));
    for (name, value) in pairs.clone() {
        bytes.extend_from_slice(&number(name.len()));
        bytes.extend_from_slice(&number(value.len()));
    }
    for text in pairs.flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

/// Reads headers. If the encoding is truncated, only the complete headers are returned.
#[inline]
pub fn decode(bytes: &[u8]) -> Headers<'_> {
    let split = bytes.split_first_chunk::<4>().and_then(|(count, rest)| {
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        rest.split_at_checked(count.saturating_mul(8))
    });
    let (lengths, texts) = split.unwrap_or_default();
    Headers { lengths: lengths.as_chunks().0.iter(), texts }
}

/// The headers of a map, one after another.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    /// For each header, the length of its name and the length of its value
    lengths: std::slice::Iter<'a, [u8; 8]>,
    texts: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let lengths = u64::from_le_bytes(*self.lengths.next()?);
        let header = take_text(self.texts, lengths as u32)
            .and_then(|(name, rest)| Some((name, take_text(rest, (lengths >> 32) as u32)?)));
        let Some((name, (value, rest))) = header else {
            // Nothing after a truncated header is a header.
            self.lengths = Default::default();
            return None;
        };
        self.texts = rest;
        Some((name, value))
    }
}

#[inline]
fn take_text(texts: &[u8], length: u32) -> Option<(&[u8], &[u8])> {
    let (text, rest) = texts.split_at_checked(usize::try_from(length).ok()?)?;
    let (_, rest) = rest.split_first()?;
    Some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_returns_the_encoded_headers() {
        let headers: [(&[u8], &[u8]); 3] = [(b":path", b"/"), (b"x", b"\xff\0"), (b"x", b"")];
        let bytes = encode(headers.iter().copied());
        assert_eq!(bytes[..12], [3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0]);
        assert!(decode(&bytes).eq(headers));
        assert_eq!(decode(&encode([].into_iter())).next(), None);
    }

    #[test]
    fn truncated_maps_have_their_complete_headers() {
        let headers: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
        let bytes = encode(headers.iter().copied());
        for length in 0..bytes.len() {
            let read: Vec<_> = decode(&bytes[..length]).collect();
            assert_eq!(read, headers[..read.len()], "{length} bytes");
            assert_eq!(read.len(), usize::from(length >= 24), "{length} bytes");
        }
        assert_eq!(decode(b"\xff\xff\xff\xff").next(), None);
        // The length of the first name exceeds the map, so the start of the second one is unknown.
        let mut longer = bytes.clone();
        longer[4] = 200;
        let mut headers = decode(&longer);
        assert_eq!([headers.next(), headers.next()], [None; 2]);
    }

    #[test]
    fn filters_have_no_false_negatives() {
        let names = ["a", "x-b", "content-length", ""].map(str::as_bytes);
        let filter = names.iter().fold(NameFilter::NONE, |filter, name| filter.with(name));
        for name in names {
            assert!(filter.may_have(name) && filter.may_meet(NameFilter::NONE.with(name)));
        }
        assert!(!filter.may_have(b"content-lengt"));
        assert!(!filter.may_meet(NameFilter::NONE));
    }
}
