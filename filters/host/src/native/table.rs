//! The streams of a worker by their numbers.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;

/// Requests or connections of this thread. `None` in the place of a number that is not used again.
#[derive(Debug)]
pub struct Table<T>(RefCell<Slab<Option<Rc<T>>>>);

impl<T> Table<T> {
    /// A table without streams.
    pub const fn new() -> Self {
        Self(RefCell::new(Slab::new()))
    }

    /// The number that the next stream gets. `None` if there are too many.
    pub fn next(&self) -> Option<u32> {
        u32::try_from(self.0.borrow().vacant_key()).ok()
    }

    /// Adds a stream with the [next](Self::next) number.
    pub fn add(&self, stream: T) {
        self.0.borrow_mut().insert(Some(Rc::new(stream)));
    }

    /// Returns a stream.
    #[inline]
    pub fn get(&self, id: u32) -> Option<Rc<T>> {
        self.0.borrow().get(id as usize)?.clone()
    }

    /// Takes out a stream. Its number is used again only if `is_forgotten` is true for it: what a
    /// filter still keeps for this one would apply to the next one.
    pub fn remove(&self, id: u32, is_forgotten: impl FnOnce(&T) -> bool) -> Option<Rc<T>> {
        let mut streams = self.0.borrow_mut();
        let removed = streams.get_mut(id as usize)?.take();
        if removed.as_ref().is_none_or(|stream| is_forgotten(stream)) {
            streams.try_remove(id as usize);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_stream_that_is_not_forgotten_is_not_used_again() {
        let table = Table::new();
        for name in ["a", "b"] {
            table.add(name);
        }
        assert_eq!(table.remove(0, |_| false).as_deref(), Some(&"a"));
        assert_eq!((table.get(0), table.next()), (None, Some(2)));
        assert_eq!(table.remove(1, |_| true).as_deref(), Some(&"b"));
        assert_eq!((table.get(1), table.next()), (None, Some(1)));
        assert_eq!(table.remove(7, |_| true), None, "there is none");
    }
}
