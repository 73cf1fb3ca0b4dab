//! The timer of all workers: one thread, which wakes streams by Envoy's schedulers.
//!
//! An HTTP filter of a dynamic module has no timer of Envoy.

use std::collections::BTreeMap;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::native::calls::Scheduler;

/// When a stream is woken, and a number that no other one has.
type Key = (Instant, u64);

/// The streams that wait.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Key, Scheduler>,
    next_number: u64,
}

#[derive(Debug, Default)]
struct Timer {
    queue: Mutex<Queue>,
    /// An earlier stream was added
    is_earlier: Condvar,
}

/// `None` if there is no thread.
static TIMER: LazyLock<Option<Timer>> = LazyLock::new(|| {
    let builder = thread::Builder::new().name("sluice-timer".to_owned());
    builder.spawn(|| TIMER.as_ref().map(Timer::run)).ok().map(|_| Timer::default())
});

impl Timer {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes streams, for ever.
    fn run(&self) {
        let mut queue = self.queue();
        loop {
            let now = Instant::now();
            let Some(first) = queue.waiting.first_entry() else {
                queue = self.is_earlier.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            match first.key().0.checked_duration_since(now).filter(|wait| !wait.is_zero()) {
                // The lock is held: a stream cannot end in between.
                None => first.remove().commit(),
                Some(wait) => {
                    let waited = self.is_earlier.wait_timeout(queue, wait);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
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
        let mut queue = timer.queue();
        let key = (time, queue.next_number);
        queue.next_number = queue.next_number.wrapping_add(1);
        queue.waiting.insert(key, scheduler);
        if queue.waiting.first_key_value().is_some_and(|(first, _)| *first == key) {
            timer.is_earlier.notify_one();
        }
        Some(Self(key))
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(timer) = &*TIMER {
            let scheduler = timer.queue().waiting.remove(&self.0);
            drop(scheduler);
        }
    }
}
