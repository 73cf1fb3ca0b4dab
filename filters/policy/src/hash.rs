//! A fast hash for keys from configurations: a few instructions for eight bytes.
//!
//! The hash does not resist chosen keys: whoever chooses the stored keys can make them collide. The
//! stored keys come from the configuration, and requests only look keys up.

use crate::bytes;

/// The state of a hash. The division into pieces changes the result: two pieces have a different
/// hash than one piece with the same bytes. For a text that is hashed in steps, use [`Hash::byte`]
/// only.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Adds one byte, as in FNV-1a.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    /// Adds a piece, including its length.
    #[inline(never)]
    pub fn piece(&mut self, bytes: &[u8]) {
        // The length is included, so that zero bytes at the end change the hash.
        let mut hash = mix(self.0 ^ bytes.len() as u64);
        let mut rest = bytes;
        while let Some((word, next)) = rest.split_first_chunk() {
            hash = mix(hash ^ u64::from_le_bytes(*word));
            rest = next;
        }
        self.0 = if rest.is_empty() { hash } else { mix(hash ^ bytes::end(bytes)) };
    }

    /// Returns the hash. A final step makes all bits depend on the input.
    #[inline]
    pub fn finish(&self) -> u64 {
        mix(self.0 ^ (self.0 >> 32))
    }
}

/// Makes all bits depend on `number`: the product changes the high bits, the shift the low bits.
#[inline]
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn hash_of(bytes: &[u8]) -> u64 {
        let mut hash = Hash::default();
        hash.piece(bytes);
        hash.finish()
    }

    #[test]
    fn similar_texts_have_different_hashes() {
        let mut texts = vec![Vec::new()];
        for length in 1..30 {
            texts.push(vec![0; length]);
            for place in 0..length {
                let mut text = vec![0; length];
                text[place] = 1;
                texts.push(text);
            }
        }
        texts.extend((0..10_000).map(|number| format!("user-{number}").into_bytes()));
        let hashes: Vec<u64> = texts.iter().map(|text| hash_of(text)).collect();
        let distinct =
            |shift| hashes.iter().map(|hash| (hash >> shift) as u32).collect::<HashSet<_>>();
        // Among 10,436 random numbers of 32 bits, the expected number of equal pairs is 0.01.
        assert_eq!([distinct(0).len(), distinct(32).len()], [texts.len(); 2]);
    }
}
