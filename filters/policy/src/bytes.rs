//! Compares byte slices, eight bytes at a time.
//!
//! In wasm, the comparison of slices calls `memcmp` of the C library, which compares single bytes.

/// Returns whether both slices are equal.
#[inline]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    // Most unequal slices differ in length, and that check needs no call.
    a.len() == b.len() && have_same_bytes(a, b)
}

/// Returns whether `bytes` starts with `prefix`.
#[inline]
pub fn start_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| have_same_bytes(start, prefix))
}

/// Compares slices of the same length.
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

/// The last eight bytes as one number, or all bytes if there are fewer than eight. The number
/// covers the bytes that remain after the last complete word of eight bytes. Slices that have the
/// same length and the same complete words are equal if and only if this number is equal.
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
    fn every_byte_is_compared() {
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
