//! Streams that wait: a queue by deadline behind the one timer that a plugin has on a worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How much before its deadline a stream may go on: half a step of the clock that Envoy's timers go
/// by, which moves every 4 ms on many kernels. Waiting for the rest would most often cost a whole step.
const EARLY: Duration = Duration::from_millis(2);

/// What waits for its time, at most one entry for each stream.
#[derive(Debug)]
pub struct DelayQueue<T> {
    waiting: BTreeMap<(Instant, u32), T>,
    /// When the timer is going to tick
    armed: Option<Instant>,
}

impl<T> Default for DelayQueue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), armed: None }
    }
}

/// What to do with the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Nothing: it ticks early enough.
    Keep,
    /// Let it tick after this time.
    Arm(Duration),
    /// Turn it off.
    Off,
}

impl<T> DelayQueue<T> {
    /// Lets the stream `id` wait until `deadline`.
    pub fn push(&mut self, id: u32, deadline: Instant, now: Instant, entry: T) -> Timer {
        self.waiting.insert((deadline, id), entry);
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return Timer::Keep;
        }
        self.arm(now)
    }

    /// Takes out a stream that ended before its deadline. The timer stays as it is: a tick that
    /// finds nothing to do arms it anew.
    pub fn remove(&mut self, id: u32, deadline: Instant) -> Option<T> {
        self.waiting.remove(&(deadline, id))
    }

    /// Takes out the next stream whose deadline has come, or almost. To be called in a tick: that one
    /// is for the deadline that it was armed for, also where Envoy's clock is ahead of `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<(u32, T)> {
        let tick = self.armed.map_or(now, |armed| armed.max(now));
        let due = tick.checked_add(EARLY).unwrap_or(tick);
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= due)?;
        let ((_, id), entry) = first.remove_entry();
        Some((id, entry))
    }

    /// Arms the timer for the earliest deadline, once a tick has done its work.
    pub fn arm(&mut self, now: Instant) -> Timer {
        self.armed = self.waiting.keys().next().map(|(deadline, _)| *deadline);
        self.armed.map_or(Timer::Off, |next| Timer::Arm(next.saturating_duration_since(now)))
    }

    /// How many streams wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no stream waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_out_by_their_deadlines() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = DelayQueue::default();
        assert_eq!(queue.push(1, at(50), start, "b"), Timer::Arm(Duration::from_millis(50)));
        assert_eq!(queue.push(2, at(70), start, "c"), Timer::Keep);
        assert_eq!(queue.push(3, at(10), start, "a"), Timer::Arm(Duration::from_millis(10)));
        assert_eq!(queue.push(4, at(50), start, "d"), Timer::Keep);
        assert_eq!(queue.pop_due(at(7)), Some((3, "a")), "the tick was armed for it");
        assert_eq!(queue.pop_due(at(47)), None);
        assert_eq!(queue.arm(at(47)), Timer::Arm(Duration::from_millis(3)));
        assert_eq!(queue.pop_due(at(60)), Some((1, "b")));
        assert_eq!(queue.pop_due(at(60)), Some((4, "d")));
        assert_eq!(queue.pop_due(at(60)), None);
        assert_eq!(queue.arm(at(60)), Timer::Arm(Duration::from_millis(10)));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn streams_that_end_leave_nothing_behind() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(1);
        let mut queue = DelayQueue::default();
        queue.push(1, deadline, start, ());
        queue.push(2, deadline, start, ());
        assert_eq!(queue.remove(1, deadline), Some(()));
        assert_eq!(queue.remove(1, deadline), None);
        assert_eq!(queue.pop_due(deadline), Some((2, ())));
        assert!(queue.is_empty());
        assert_eq!(queue.arm(deadline), Timer::Off);
        // The timer is off, so the next one arms it again.
        let later = deadline + Duration::from_secs(2);
        assert_eq!(queue.push(3, later, deadline, ()), Timer::Arm(Duration::from_secs(2)));
    }

    #[test]
    fn a_deadline_that_has_passed_is_armed_for_at_once() {
        let now = Instant::now();
        let mut queue = DelayQueue::default();
        queue.push(1, now, now + Duration::from_secs(1), ());
        assert_eq!(queue.arm(now + Duration::from_secs(1)), Timer::Arm(Duration::ZERO));
    }
}
