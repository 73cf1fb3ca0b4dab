//! A set of names from the configuration or from Envoy, each with a number.

use std::ops::Range;

use hashbrown::hash_table::{self, HashTable};

use crate::bytes;
use crate::hash::Hash;

/// Names, each with its index in the order in which they were added. Clients must not choose the
/// names, because they could choose names with the same [`Hash`](struct@Hash).
#[derive(Debug, Default)]
pub struct NameSet {
    entries: HashTable<Entry>,
    /// All names, concatenated. An allocation for each name would fragment the heap of the module,
    /// which makes later allocations slower.
    text: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    name: Range<usize>,
    index: usize,
}

impl NameSet {
    /// The index of a name, which is added if it is new.
    #[inline(never)]
    pub fn add(&mut self, name: &[u8]) -> usize {
        let Self { entries, text } = self;
        let index = entries.len();
        let is_name = |entry: &Entry| bytes::equal(slice(text, &entry.name), name);
        let hash_of = |entry: &Entry| hash(slice(text, &entry.name));
        match entries.entry(hash(name), is_name, hash_of) {
            hash_table::Entry::Occupied(entry) => entry.get().index,
            hash_table::Entry::Vacant(place) => {
                let range = text.len()..text.len() + name.len();
                text.extend_from_slice(name);
                place.insert(Entry { name: range, index });
                index
            }
        }
    }

    /// Adds a name. Returns false if the set has the name already.
    pub fn insert(&mut self, name: &[u8]) -> bool {
        let count = self.len();
        self.add(name) == count
    }

    /// The index of a name.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let is_name = |entry: &Entry| bytes::equal(slice(&self.text, &entry.name), name);
        self.entries.find(hash(name), is_name).map(|entry| entry.index)
    }

    /// Returns whether the set has a name.
    #[inline(never)]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the set has no names.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All names with their indices, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.entries.iter().map(|entry| (slice(&self.text, &entry.name), entry.index))
    }
}

#[inline]
fn slice<'a>(text: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    text.get(range.clone()).unwrap_or_default()
}

#[inline]
fn hash(name: &[u8]) -> u64 {
    let mut hash = Hash::default();
    hash.piece(name);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once() {
        let mut names = NameSet::default();
        assert!(names.is_empty() && !names.contains(b""));
        for number in 0..1000_usize {
            assert!(names.insert(&number.to_le_bytes()));
        }
        assert!(!names.insert(&7_usize.to_le_bytes()) && names.insert(b""));
        assert_eq!(names.find(&7_usize.to_le_bytes()), Some(7));
        assert_eq!((names.add(b""), names.len()), (1000, 1001));
        assert_eq!(names.iter().map(|(_, index)| index).sum::<usize>(), 1000 * 1001 / 2);
    }
}
