//! A hash table by names that configurations, or Envoy, give.

use hashbrown::HashTable;

use crate::bytes;
use crate::lookup::hash::Hash;

/// Names, each with a value. As [`Hash`] says, clients are not to choose the names that are entered.
#[derive(Debug)]
pub struct NameTable<T>(HashTable<(Box<[u8]>, T)>);

impl<T> Default for NameTable<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl<T> NameTable<T> {
    /// The value of a name; of a new one it is made.
    pub fn entry(&mut self, name: &[u8], make: impl FnOnce() -> T) -> &mut T {
        let is_name = |known: &(Box<[u8]>, T)| bytes::equal(&known.0, name);
        let entry = self.0.entry(hash(name), is_name, |known| hash(&known.0));
        &mut entry.or_insert_with(|| (name.into(), make())).into_mut().1
    }

    /// The value of a name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        let found = self.0.find(hash(name), |known| bytes::equal(&known.0, name));
        found.map(|(_, value)| value)
    }

    /// The value of a name, to be changed.
    #[inline]
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        let found = self.0.find_mut(hash(name), |known| bytes::equal(&known.0, name));
        found.map(|(_, value)| value)
    }

    /// All names with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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
    fn each_name_has_the_value_that_it_was_entered_with() {
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
