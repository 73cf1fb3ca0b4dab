//! A hash table of names from the configuration or from Envoy.

use crate::name_set::NameSet;

/// Names, each with a value. Clients must not choose the names, see [`NameSet`]. Clients may choose
/// which names are looked up.
#[derive(Debug)]
pub struct NameTable<T> {
    names: NameSet,
    values: Vec<T>,
}

impl<T> Default for NameTable<T> {
    fn default() -> Self {
        Self { names: NameSet::default(), values: Vec::new() }
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

    /// Mutable references to the values, in the order in which their names were added.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut()
    }

    /// Replaces each value with what `make` makes of it.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> NameTable<U> {
        NameTable { names: self.names, values: self.values.into_iter().map(make).collect() }
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
