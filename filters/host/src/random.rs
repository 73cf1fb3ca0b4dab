//! Random numbers for decisions that are not sticky.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use sluice_policy::request::Draws;

/// A random number generator. Each worker seeds one with random numbers of the operating system.
#[derive(Debug)]
pub struct Random(RefCell<fastrand::Rng>);

/// Returns a random number of the operating system.
pub fn seed() -> u64 {
    // The keys of a new RandomState are random numbers of the host.
    RandomState::new().hash_one("sluice")
}

/// Returns a random number that is always the same in this thread, and another one in others. A VM
/// has one thread.
pub fn of_thread() -> u64 {
    thread_local! {
        static NUMBER: u64 = seed();
    }
    NUMBER.with(|number| *number)
}

impl Default for Random {
    fn default() -> Self {
        Self(RefCell::new(fastrand::Rng::with_seed(seed())))
    }
}

impl Random {
    /// Returns a generator of the numbers that this one will return next.
    pub fn ahead(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Draws for &Random {
    fn draw(&mut self) -> u64 {
        self.0.borrow_mut().u64(..)
    }
}
