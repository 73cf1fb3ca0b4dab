//! The timer of all workers: one thread, which wakes streams by Envoy's schedulers.
//!
//! An HTTP filter of a dynamic module has no timer of Envoy.

use std::collections::BTreeMap;
use std::sync::{LazyLock, PoisonError};
use std::thread;
use std::time::Instant;

// The tests try the orders in which threads can use them.
#[cfg(test)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(test))]
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::native::calls::Scheduler;

/// When a stream is woken, and a number that no other one has.
type Key = (Instant, u64);

/// The streams that wait, each with what wakes it.
#[derive(Debug)]
struct Queue<S> {
    waiting: BTreeMap<Key, S>,
    next_number: u64,
}

#[derive(Debug)]
struct Timer<S> {
    queue: Mutex<Queue<S>>,
    /// An earlier stream was added
    is_earlier: Condvar,
}

/// `None` if there is no thread.
static TIMER: LazyLock<Option<Timer<Scheduler>>> = LazyLock::new(|| {
    let run = || {
        if let Some(timer) = &*TIMER {
            let mut queue = timer.queue();
            loop {
                queue = timer.advance(queue, Instant::now(), |scheduler| scheduler.commit());
            }
        }
    };
    let builder = thread::Builder::new().name("sluice-timer".to_owned());
    builder.spawn(run).ok().map(|_| Timer::new())
});

impl<S> Timer<S> {
    fn new() -> Self {
        let queue = Queue { waiting: BTreeMap::new(), next_number: 0 };
        Self { queue: Mutex::new(queue), is_earlier: Condvar::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<S>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the first stream, or waits until the queue has to be looked at again.
    fn advance<'t>(
        &'t self,
        mut queue: MutexGuard<'t, Queue<S>>,
        now: Instant,
        wake: impl FnOnce(S),
    ) -> MutexGuard<'t, Queue<S>> {
        let Some(first) = queue.waiting.first_entry() else {
            return self.is_earlier.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        match first.key().0.checked_duration_since(now).filter(|wait| !wait.is_zero()) {
            // The lock is held: a stream cannot end in between.
            None => wake(first.remove()),
            Some(wait) => {
                let waited = self.is_earlier.wait_timeout(queue, wait);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        queue
    }

    fn add(&self, time: Instant, stream: S) -> Key {
        let mut queue = self.queue();
        let key = (time, queue.next_number);
        queue.next_number = queue.next_number.wrapping_add(1);
        queue.waiting.insert(key, stream);
        if queue.waiting.first_key_value().is_some_and(|(first, _)| *first == key) {
            self.is_earlier.notify_one();
        }
        key
    }

    /// Takes out a stream, unless it was woken.
    fn remove(&self, key: Key) -> Option<S> {
        self.queue().waiting.remove(&key)
    }
}

/// A stream that is woken at a time, unless this is dropped before.
#[derive(Debug)]
pub struct Wake(Key);

impl Wake {
    /// Wakes the stream of a scheduler at this time. `None` if the stream is woken at once, because
    /// the system has no thread for the timer.
    pub fn at(time: Instant, scheduler: Scheduler) -> Option<Self> {
        let Some(timer) = &*TIMER else {
            scheduler.commit();
            return None;
        };
        Some(Self(timer.add(time, scheduler)))
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(timer) = &*TIMER {
            drop(timer.remove(self.0));
        }
    }
}

#[cfg(test)]
mod tests;
