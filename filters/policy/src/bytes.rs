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
#[inline]
fn have_same_bytes(a: &[u8], b: &[u8]) -> bool {
    let ((words, rest), (others, other_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    if words.iter().zip(others).any(|(a, b)| u64::from_le_bytes(*a) != u64::from_le_bytes(*b)) {
        return false;
    }
    // The rest together with some of what is equal already, in place of one by one.
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a), Some(b)) => u64::from_le_bytes(*a) == u64::from_le_bytes(*b),
        _ => rest.iter().zip(other_rest).all(|(a, b)| a == b),
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
