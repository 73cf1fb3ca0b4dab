//! A hash table of names from the configuration or from Envoy.

use std::ops::Range;

use hashbrown::hash_table::{self, HashTable};

use crate::bytes;
use crate::lookup::hash::Hash;

/// Names, each with a value. Clients must not choose the names, because they could choose names
/// with the same [`Hash`](struct@Hash). Clients may choose which names are looked up.
#[derive(Debug)]
pub struct NameTable<T> {
    entries: HashTable<Entry<T>>,
    /// All names, concatenated. An allocation for each name would fragment the heap of the module,
    /// which makes later allocations slower.
    text: Vec<u8>,
}

#[derive(Debug)]
struct Entry<T> {
    name: Range<usize>,
    value: T,
}

impl<T> Default for NameTable<T> {
    fn default() -> Self {
        Self { entries: HashTable::new(), text: Vec::new() }
    }
}

impl<T> NameTable<T> {
    /// The value of a name. A new name is added with the value that `make` returns.
    pub fn entry(&mut self, name: &[u8], make: impl FnOnce() -> T) -> &mut T {
        let Self { entries, text } = self;
        let is_name = |entry: &Entry<T>| bytes::equal(slice(text, &entry.name), name);
        let hash_of = |entry: &Entry<T>| hash(slice(text, &entry.name));
        let entry = match entries.entry(hash(name), is_name, hash_of) {
            hash_table::Entry::Occupied(entry) => entry,
            hash_table::Entry::Vacant(place) => {
                let range = text.len()..text.len() + name.len();
                text.extend_from_slice(name);
                place.insert(Entry { name: range, value: make() })
            }
        };
        &mut entry.into_mut().value
    }

    /// The value of a name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        let is_name = |entry: &Entry<T>| bytes::equal(slice(&self.text, &entry.name), name);
        self.entries.find(hash(name), is_name).map(|entry| &entry.value)
    }

    /// A mutable reference to the value of a name.
    #[inline]
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        let Self { entries, text } = self;
        let is_name = |entry: &Entry<T>| bytes::equal(slice(text, &entry.name), name);
        entries.find_mut(hash(name), is_name).map(|entry| &mut entry.value)
    }

    /// All names with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.entries.iter().map(|entry| (slice(&self.text, &entry.name), &entry.value))
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the table has no names.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
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
