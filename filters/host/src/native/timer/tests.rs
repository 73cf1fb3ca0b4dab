//! The threads of the timer and of two workers in every order that loom finds within a number of
//! preemptions. loom fails if all threads wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use loom::model::Builder;
use loom::thread;

use super::*;

/// A timer whose streams are numbers, and what happens to them.
struct Model {
    timer: Timer<usize>,
    start: Instant,
    /// The time in milliseconds
    now: AtomicU64,
    /// The end of the wait of the timer's thread, which may be none. loom has no time: a wait with
    /// an end has none there, so the model ends it
    until: AtomicU64,
    /// How many times each stream was woken
    woken: Mutex<[usize; 3]>,
    is_woken: Condvar,
}

const NEVER: u64 = u64::MAX;

impl Model {
    fn new() -> Self {
        Self {
            timer: Timer::new(),
            start: Instant::now(),
            now: AtomicU64::new(0),
            until: AtomicU64::new(NEVER),
            woken: Mutex::new([0; 3]),
            is_woken: Condvar::new(),
        }
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(milliseconds)
    }

    fn add(&self, milliseconds: u64, stream: usize) -> Key {
        self.timer.add(self.at(milliseconds), stream)
    }

    /// Sets the time, and ends the thread's wait if it is over. The lock is held, so that the
    /// thread either waits or has not read the time yet.
    fn set_time(&self, milliseconds: u64) {
        let queue = self.timer.queue();
        self.now.store(milliseconds, Ordering::Relaxed);
        if self.until.load(Ordering::Relaxed) <= milliseconds {
            self.timer.is_earlier.notify_all();
        }
        drop(queue);
    }

    /// The thread of the timer, until `count` streams are woken.
    fn run(&self, count: usize) {
        let mut queue = self.timer.queue();
        while self.woken.lock().unwrap().iter().sum::<usize>() < count {
            let first = queue.waiting.first_key_value().map(|((time, _), _)| *time - self.start);
            let until = first.map_or(NEVER, |first| first.as_millis() as u64);
            self.until.store(until, Ordering::Relaxed);
            let now = self.at(self.now.load(Ordering::Relaxed));
            queue = self.timer.advance(queue, now, |stream| {
                self.woken.lock().unwrap()[stream] += 1;
                self.is_woken.notify_all();
            });
        }
    }

    fn wait_for(&self, stream: usize) {
        let mut woken = self.woken.lock().unwrap();
        while woken[stream] == 0 {
            woken = self.is_woken.wait(woken).unwrap();
        }
    }

    fn count(&self, stream: usize) -> usize {
        self.woken.lock().unwrap()[stream]
    }
}

/// Runs a worker and `other` beside the thread of the timer, until `count` streams are woken, in
/// every order. Returns the number of orders.
fn every_order(count: usize, worker: fn(&Model), other: fn(&Model), after: fn(&Model)) -> usize {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let model = Arc::new(Model::new());
        let of_timer = thread::spawn({
            let model = Arc::clone(&model);
            move || model.run(count)
        });
        let of_worker = thread::spawn({
            let model = Arc::clone(&model);
            move || worker(&model)
        });
        other(&model);
        of_worker.join().unwrap();
        after(&model);
        of_timer.join().unwrap();
        assert!(model.timer.queue().waiting.is_empty());
    });
    let orders = orders.load(Ordering::Relaxed);
    println!("{orders} orders");
    orders
}

#[test]
fn each_stream_is_woken_once_when_its_time_has_come() {
    let orders = every_order(
        3,
        |model| {
            model.add(20, 0);
            model.add(10, 1);
        },
        |model| {
            model.add(15, 2);
            model.set_time(12);
        },
        |model| {
            // Nothing but its own time wakes it.
            model.wait_for(1);
            assert_eq!([0, 1, 2].map(|stream| model.count(stream)), [0, 1, 0]);
            model.set_time(20);
            [0, 2].iter().for_each(|stream| model.wait_for(*stream));
            assert_eq!([0, 1, 2].map(|stream| model.count(stream)), [1, 1, 1]);
        },
    );
    assert!(orders > 100, "{orders} orders");
}

#[test]
fn a_stream_that_has_ended_is_not_woken_and_the_others_are() {
    let orders = every_order(
        2,
        |model| {
            let ended = model.add(10, 0);
            model.add(20, 1);
            let is_removed = model.timer.remove(ended).is_some();
            // From now on the stream is gone, so another one takes its place in the count.
            assert_eq!(model.count(0), usize::from(!is_removed));
            if is_removed {
                model.add(20, 2);
            }
        },
        |model| model.set_time(10),
        |model| {
            model.set_time(20);
            model.wait_for(1);
            // Exactly one of them, because the thread ends after two.
            let [first, _, other] = [0, 1, 2].map(|stream| model.count(stream));
            assert!(first + other <= 1);
        },
    );
    assert!(orders > 100, "{orders} orders");
}
