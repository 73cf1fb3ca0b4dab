//! A header map in the one piece of memory in which Envoy passes it to a module.
//!
//! The encoding is proxy-wasm's: the number of headers, the lengths of each name and value, then the
//! texts, each with a zero byte at its end; numbers have 32 bits, the least significant byte first.
//! Reading it in place is one allocation for all headers, not two for each.

use smallvec::SmallVec;

/// Header names in lower case with their values, in order. Those of most requests need no memory of their
/// own.
pub type HeaderRefs<'a> = SmallVec<[(&'a [u8], &'a [u8]); 24]>;

/// A set of header names that may take another name for one of its own, but never misses one. Asking it
/// takes less time than a comparison of two names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameFilter(u64);

impl NameFilter {
    /// The set without a name.
    pub const NONE: Self = Self(0);

    /// With this factor few common header names are taken for one by which the router steers Envoy.
    /// A test of the router lists them. Such a header only costs the comparison of its name.
    #[inline]
    const fn bit(name: &[u8]) -> u64 {
        let last = match name {
            [.., last] => *last as usize,
            [] => 0,
        };
        1 << (name.len().wrapping_add(last.wrapping_mul(39)) % 64)
    }

    /// This, with one name more.
    #[must_use]
    #[inline]
    pub const fn with(self, name: &[u8]) -> Self {
        Self(self.0 | Self::bit(name))
    }

    /// Whether a name may be in the set.
    #[inline]
    pub fn may_have(self, name: &[u8]) -> bool {
        self.0 & Self::bit(name) != 0
    }

    /// The part of the set that may be this name.
    #[must_use]
    #[inline]
    pub fn common(self, name: &[u8]) -> Self {
        Self(self.0 & Self::bit(name))
    }

    /// Both sets in one.
    #[must_use]
    #[inline]
    pub fn joined(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a name may be in both sets.
    #[inline]
    pub fn may_meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Encodes headers.
pub fn encode<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(pairs.clone().count()).to_vec();
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

/// Reads headers. What is cut off has only the headers that are there as a whole.
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
    /// Of each header the length of the name and of the value
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
            // What comes after a header that is cut off is none.
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
    fn what_is_encoded_is_read_again() {
        let headers: [(&[u8], &[u8]); 3] = [(b":path", b"/"), (b"x", b"\xff\0"), (b"x", b"")];
        let bytes = encode(headers.iter().copied());
        assert_eq!(bytes[..12], [3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0]);
        assert!(decode(&bytes).eq(headers));
        assert_eq!(decode(&encode([].into_iter())).next(), None);
    }

    #[test]
    fn what_is_cut_off_has_its_whole_headers() {
        let headers: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
        let bytes = encode(headers.iter().copied());
        for length in 0..bytes.len() {
            let read: Vec<_> = decode(&bytes[..length]).collect();
            assert_eq!(read, headers[..read.len()], "{length} bytes");
            assert_eq!(read.len(), usize::from(length >= 24), "{length} bytes");
        }
        assert_eq!(decode(b"\xff\xff\xff\xff").next(), None);
        // The first one says that it is longer than all, so the second is not known to be one.
        let mut longer = bytes.clone();
        longer[4] = 200;
        let mut headers = decode(&longer);
        assert_eq!([headers.next(), headers.next()], [None; 2]);
    }

    #[test]
    fn filters_never_miss_a_name() {
        let names = ["a", "x-b", "content-length", ""].map(str::as_bytes);
        let filter = names.iter().fold(NameFilter::NONE, |filter, name| filter.with(name));
        for name in names {
            assert!(filter.may_have(name) && filter.may_meet(NameFilter::NONE.with(name)));
        }
        assert!(!filter.may_have(b"content-lengt"));
        assert!(!filter.may_meet(NameFilter::NONE));
    }
}
