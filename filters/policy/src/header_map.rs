//! A header map in the one piece of memory in which Envoy passes it to a module.
//!
//! The encoding is proxy-wasm's: the number of headers, the lengths of each name and value, then the
//! texts, each with a zero byte at its end; numbers have 32 bits, the least significant byte first.
//! Reading it in place is one allocation for all headers, not two for each.

/// Header names in lower case with their values, in order.
pub type HeaderRefs<'a> = Vec<(&'a [u8], &'a [u8])>;

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
pub fn decode(bytes: &[u8]) -> HeaderRefs<'_> {
    let Some((count, lengths)) = take_number(bytes) else { return Vec::new() };
    let size = count.saturating_mul(8);
    let Some((mut lengths, mut texts)) = lengths.split_at_checked(size) else {
        return Vec::new();
    };
    let mut headers = Vec::with_capacity(count);
    while let Some((name, value, rest)) = take_header(&mut lengths, texts) {
        headers.push((name, value));
        texts = rest;
    }
    headers
}

fn take_header<'a>(lengths: &mut &[u8], texts: &'a [u8]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    let (name, rest) = take_number(lengths)?;
    let (value, rest) = take_number(rest)?;
    *lengths = rest;
    let (name, texts) = take_text(texts, name)?;
    let (value, texts) = take_text(texts, value)?;
    Some((name, value, texts))
}

fn take_text(texts: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = texts.split_at_checked(length)?;
    Some((text, rest.get(1..)?))
}

fn take_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_again() {
        let headers: HeaderRefs<'_> = vec![(b":path", b"/"), (b"x", b"\xff\0"), (b"x", b"")];
        let bytes = encode(headers.iter().copied());
        assert_eq!(bytes[..12], [3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(decode(&bytes), headers);
        assert!(decode(&encode([].into_iter())).is_empty());
    }

    #[test]
    fn what_is_cut_off_has_its_whole_headers() {
        let headers: HeaderRefs<'_> = vec![(b"a", b"1"), (b"b", b"2")];
        let bytes = encode(headers.iter().copied());
        for length in 0..bytes.len() {
            let read = decode(&bytes[..length]);
            assert_eq!(read, headers[..read.len()], "{length} bytes");
            assert_eq!(read.len(), usize::from(length >= 24), "{length} bytes");
        }
        assert!(decode(b"\xff\xff\xff\xff").is_empty());
    }
}
