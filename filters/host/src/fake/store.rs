//! The shared data of fake hosts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use crate::shared_data::{Stored, Version};

/// A store that fake hosts can share, as the workers of an Envoy do.
#[derive(Clone, Default)]
pub struct FakeStore(Rc<RefCell<State>>);

/// A write of another worker.
type Rival = Box<dyn FnOnce(&FakeStore)>;

#[derive(Default)]
struct State {
    values: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    last_version: u32,
    writes: usize,
    rivals: Vec<Rival>,
    before_access: Option<Rc<dyn Fn()>>,
}

impl fmt::Debug for FakeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeStore").finish_non_exhaustive()
    }
}

impl FakeStore {
    /// Returns the value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.borrow().values.get(key).map(|(value, _)| value.clone())
    }

    /// Sets the value of a key, as another worker would.
    pub fn set(&self, key: &[u8], value: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.last_version += 1;
        let entry = (value.to_vec(), state.last_version);
        state.values.insert(key.to_vec(), entry);
    }

    /// How many times hosts have written to the store.
    pub fn writes(&self) -> usize {
        self.0.borrow().writes
    }

    /// Lets another worker write just before the next write with a condition.
    pub fn race(&self, rival: impl FnOnce(&Self) + 'static) {
        self.0.borrow_mut().rivals.push(Box::new(rival));
    }

    /// Calls a function before each access of a host: before a read, and before a write.
    pub fn before_access(&self, function: impl Fn() + 'static) {
        self.0.borrow_mut().before_access = Some(Rc::new(function));
    }

    fn begin_access(&self) {
        // Outside of the borrow, as other workers may have access meanwhile.
        let function = self.0.borrow().before_access.clone();
        if let Some(function) = function {
            function();
        }
    }

    pub(super) fn stored(&self, key: &[u8]) -> Option<Stored> {
        self.begin_access();
        self.read(key)
    }

    fn read(&self, key: &[u8]) -> Option<Stored> {
        let state = self.0.borrow();
        let (value, version) = state.values.get(key)?;
        Some(Stored { value: value.clone(), version: Version(*version) })
    }

    pub(super) fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool {
        self.begin_access();
        let rival = self.0.borrow_mut().rivals.pop();
        if let Some(rival) = rival {
            rival(self);
        }
        let is_current = self.read(key).map(|stored| stored.version) == version;
        if is_current {
            self.write(key, value);
        }
        is_current
    }

    pub(super) fn overwrite(&self, key: &[u8], value: &[u8]) {
        self.begin_access();
        self.write(key, value);
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        self.set(key, value);
        self.0.borrow_mut().writes += 1;
    }
}
