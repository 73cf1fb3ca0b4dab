//! A hash table of names from the configuration or from Envoy.

use std::ops::Range;

use hashbrown::hash_table::{self, HashTable};

use crate::bytes;
use crate::lookup::hash::Hash;

/// Names, each with a value. Clients must not choose the names, because they could choose names
/// with the same [`Hash`](struct@Hash). Clients may choose which names are looked up.
#[derive(Debug)]
pub struct NameTable<T> {
    names: Names,
    values: Vec<T>,
}

/// The names, each with its index in the order in which they were added.
#[derive(Debug, Default)]
struct Names {
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

impl<T> Default for NameTable<T> {
    fn default() -> Self {
        Self { names: Names::default(), values: Vec::new() }
    }
}

impl<T> NameTable<T> {
    /// The value of a name. A new name is added with the value that `make` returns.
    pub fn entry(&mut self, name: &[u8], make: impl FnOnce() -> T) -> &mut T {
        let index = self.names.add(name);
        if index == self.values.len() {
            self.values.push(make());
        }
        #[allow(clippy::indexing_slicing, reason = "there is a value for each index of a name")]
        &mut self.values[index]
    }

    /// The value of a name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        self.values.get(self.names.find(name)?)
    }

    /// A mutable reference to the value of a name.
    #[inline]
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        self.values.get_mut(self.names.find(name)?)
    }

    /// All names with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.names.iter().filter_map(|(name, index)| Some((name, self.values.get(index)?)))
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether the table has no names.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Names {
    /// The index of a name, which is added if it is new.
    fn add(&mut self, name: &[u8]) -> usize {
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

    #[inline]
    fn find(&self, name: &[u8]) -> Option<usize> {
        let is_name = |entry: &Entry| bytes::equal(slice(&self.text, &entry.name), name);
        self.entries.find(hash(name), is_name).map(|entry| entry.index)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
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
    fn each_name_keeps_its_value() {
        let mut table = NameTable::default();
        let name = |number: usize| format!("host-{number}").into_bytes();
        for number in 0..1000 {
            assert_eq!(*table.entry(&name(number), || number), number);
        }
        assert_eq!((*table.entry(&name(7), || 0), table.len()), (7, 1000));
        if let Some(value) = table.get_mut(&name(8)) {
            *value = 0;
        }
        assert_eq!(
            [7, 8, 1000].map(|number| table.get(&name(number)).copied()),
            [Some(7), Some(0), None]
        );
        assert_eq!(table.iter().map(|(_, value)| value).sum::<usize>(), 999 * 500 - 8);
    }
}
