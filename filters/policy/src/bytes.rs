//! Comparing bytes, eight at a time.
//!
//! Under wasm a comparison of slices goes through the C library's `memcmp`, which takes them one by one.

/// Whether both are the same.
#[inline]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    // Most of what is compared differs here, which costs no call.
    a.len() == b.len() && have_same_bytes(a, b)
}

/// Whether `bytes` start with `prefix`.
#[inline]
pub fn start_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| have_same_bytes(start, prefix))
}

/// For slices of the same length.
#[inline(never)]
fn have_same_bytes(a: &[u8], b: &[u8]) -> bool {
    let (mut rest, mut other) = (a, b);
    while let (Some((word, next)), Some((other_word, other_next))) =
        (rest.split_first_chunk::<8>(), other.split_first_chunk::<8>())
    {
        if u64::from_le_bytes(*word) != u64::from_le_bytes(*other_word) {
            return false;
        }
        (rest, other) = (next, other_next);
    }
    end(a) == end(b)
}

/// What is left of bytes after all words of eight, or more of their end, as one number. Bytes of the same
/// length and with the same words have the same one if they are the same.
#[inline]
pub fn end(bytes: &[u8]) -> u64 {
    if let Some(word) = bytes.last_chunk() {
        return u64::from_le_bytes(*word);
    }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let text = b"0123456789abcdefghijklmn";
        for length in 0..text.len() {
            let same = text[..length].to_vec();
            assert!(equal(&text[..length], &same) && start_with(text, &same));
            assert!(!equal(text, &same) && !start_with(&same, text));
            for place in 0..length {
                let mut other = same.clone();
                other[place] ^= 0x80;
                assert!(!equal(&same, &other), "{length} bytes, place {place}");
                assert!(!start_with(text, &other), "{length} bytes, place {place}");
            }
        }
    }
}
