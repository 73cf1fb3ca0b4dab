//! FNV-1a, a hash that takes its bytes one after another, for keys from configurations.
//!
//! Whoever chooses the keys can make them collide. Requests only look keys up, and so cannot.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes the keys of a map by [`Fnv`].
pub type BuildFnv = BuildHasherDefault<Fnv>;

/// The hash of the bytes so far.
#[derive(Clone, Copy, Debug)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Takes one more byte.
    pub fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.byte(*byte));
    }

    /// The length of a slice: one step is enough for it.
    fn write_usize(&mut self, number: usize) {
        self.0 = (self.0 ^ number as u64).wrapping_mul(0x0100_0000_01b3);
    }

    /// With a last step that spreads the hash over all bits.
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    }
}
