//! Delays of streams: one queue by deadline behind the one timer that a plugin has on a worker.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::host::{Host, PluginHost};

/// How many streams continue in one tick; the others continue in the next one.
///
/// Envoy resumes or closes the streams after the tick has returned. If one of them calls the module
/// again, as a local reply does, Envoy handles the next stream inside of that call. Thousands of
/// nested calls would overflow the stack of the VM, which is a trap. The limit also lets other
/// requests run in between.
const STREAMS_PER_TICK: usize = 32;

/// The streams of a plugin that wait, with at most one entry for each stream.
#[derive(Debug)]
pub struct Delays<T>(RefCell<Queue<T>>);

impl<T> Default for Delays<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Delays<T> {
    /// Adds the stream `id`, which waits until `deadline`. The time is `now`.
    pub fn push(&self, id: u32, deadline: Instant, now: Instant, entry: T, host: &impl Host) {
        let timer = self.0.borrow_mut().push(id, deadline, now, entry);
        timer.set(host);
        host.wake(deadline);
    }

    /// Takes out a stream before its deadline. The timer stays as it is: if its tick finds no
    /// stream, it is set again.
    pub fn remove(&self, id: u32, deadline: Instant) -> Option<T> {
        self.0.borrow_mut().waiting.remove(&(deadline, id))
    }

    /// Whether no stream waits.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().waiting.is_empty()
    }

    /// Handles the tick of a plugin. `resume` gets the entries of streams whose deadline has
    /// passed; its calls of the host apply to the entry's stream.
    pub fn on_tick(&self, plugin: u32, host: &impl PluginHost, mut resume: impl FnMut(T)) {
        let now = host.now();
        for _ in 0..STREAMS_PER_TICK {
            let due = self.0.borrow_mut().pop_due(now, host.tick_step());
            let Some((id, entry)) = due else { break };
            if host.enter(id) {
                resume(entry);
            }
        }
        host.enter(plugin);
        let timer = self.0.borrow_mut().arm(host.now());
        timer.set(host);
    }
}

#[derive(Debug)]
struct Queue<T> {
    waiting: BTreeMap<(Instant, u32), T>,
    /// The time of the next tick
    armed: Option<Instant>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), armed: None }
    }
}

/// What to do with the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Leave it: it expires early enough.
    Keep,
    /// Let it expire after this time.
    Arm(Duration),
    /// Turn it off.
    Off,
}

impl Timer {
    fn set(self, host: &impl Host) {
        match self {
            Self::Keep => {}
            Self::Arm(wait) => host.set_timer(Some(wait)),
            Self::Off => host.set_timer(None),
        }
    }
}

impl<T> Queue<T> {
    fn push(&mut self, id: u32, deadline: Instant, now: Instant, entry: T) -> Timer {
        self.waiting.insert((deadline, id), entry);
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return Timer::Keep;
        }
        self.arm(now)
    }

    /// Takes out the next stream whose deadline has passed or will soon.
    ///
    /// The tick stands for the deadline that it was armed for, even if the clock of ticks is ahead
    /// of `now` by up to its step. A tick that is earlier has another reason, as the host's calls
    /// use the same timer. A stream may continue half a step before its deadline: to wait for the
    /// rest would usually take a whole step.
    fn pop_due(&mut self, now: Instant, step: Duration) -> Option<(u32, T)> {
        let is_early = |armed: &Instant| armed.saturating_duration_since(now) <= step;
        let tick = self.armed.filter(is_early).map_or(now, |armed| armed.max(now));
        let due = tick.checked_add(step / 2).unwrap_or(tick);
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= due)?;
        let ((_, id), entry) = first.remove_entry();
        Some((id, entry))
    }

    /// Arms the timer for the earliest deadline.
    fn arm(&mut self, now: Instant) -> Timer {
        self.armed = self.waiting.keys().next().map(|(deadline, _)| *deadline);
        self.armed.map_or(Timer::Off, |next| Timer::Arm(next.saturating_duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    const PLUGIN: u32 = 100;

    /// The step of ticks that wasm hosts have.
    const STEP: Duration = Duration::from_millis(4);

    #[test]
    fn streams_continue_in_the_order_of_their_deadlines() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = Queue::default();
        assert_eq!(queue.push(1, at(50), start, "b"), Timer::Arm(Duration::from_millis(50)));
        assert_eq!(queue.push(2, at(70), start, "c"), Timer::Keep);
        assert_eq!(queue.push(3, at(10), start, "a"), Timer::Arm(Duration::from_millis(10)));
        assert_eq!(queue.push(4, at(50), start, "d"), Timer::Keep);
        assert_eq!(queue.pop_due(at(7), STEP), Some((3, "a")), "the tick was armed for it");
        assert_eq!(queue.pop_due(at(47), STEP), None);
        assert_eq!(queue.arm(at(47)), Timer::Arm(Duration::from_millis(3)));
        assert_eq!(queue.pop_due(at(60), STEP), Some((1, "b")));
        assert_eq!(queue.pop_due(at(60), STEP), Some((4, "d")));
        assert_eq!(queue.pop_due(at(60), STEP), None);
        assert_eq!(queue.arm(at(60)), Timer::Arm(Duration::from_millis(10)));
        assert_eq!(queue.waiting.len(), 1);
    }

    #[test]
    fn a_precise_clock_resumes_no_stream_early() {
        let start = Instant::now();
        let deadline = start + Duration::from_millis(10);
        let mut queue = Queue::default();
        queue.push(1, deadline, start, ());
        let early = deadline - Duration::from_nanos(1);
        assert_eq!(queue.pop_due(early, Duration::ZERO), None);
        assert_eq!(queue.pop_due(deadline, Duration::ZERO), Some((1, ())));
    }

    #[test]
    fn a_tick_with_another_reason_resumes_no_stream() {
        let host = FakeHost::default();
        let delays = Delays::default();
        delays.push(1, host.now() + Duration::from_millis(50), host.now(), (), &host);
        host.pass(Duration::from_millis(1));
        delays.on_tick(PLUGIN, &host, |()| panic!("49 ms too early"));
        assert_eq!(host.timer(), Some(Duration::from_millis(49)), "armed for the rest");
    }

    #[test]
    fn streams_that_end_are_removed() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(1);
        let mut queue = Queue::default();
        queue.push(1, deadline, start, ());
        queue.push(2, deadline, start, ());
        assert_eq!(queue.waiting.remove(&(deadline, 1)), Some(()));
        assert_eq!(queue.pop_due(deadline, STEP), Some((2, ())));
        assert_eq!(queue.arm(deadline), Timer::Off);
        // The timer is off, so the next stream arms it again.
        let later = deadline + Duration::from_secs(2);
        assert_eq!(queue.push(3, later, deadline, ()), Timer::Arm(Duration::from_secs(2)));
    }

    #[test]
    fn the_timer_for_a_deadline_in_the_past_expires_at_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(1, now, now + Duration::from_secs(1), ());
        assert_eq!(queue.arm(now + Duration::from_secs(1)), Timer::Arm(Duration::ZERO));
    }

    #[test]
    fn a_tick_resumes_up_to_32_streams_and_leaves_the_others_to_the_next_one() {
        let host = FakeHost::default();
        let delays = Delays::default();
        let deadline = host.now() + Duration::from_secs(1);
        for id in 0..40 {
            delays.push(id, deadline, host.now(), id, &host);
        }
        assert_eq!(delays.remove(39, deadline), Some(39));
        assert_eq!(delays.remove(39, deadline), None);
        assert_eq!(host.timer(), Some(Duration::from_secs(1)));
        host.pass(Duration::from_secs(1));
        let resumed = RefCell::new(Vec::new());
        let tick = || {
            delays.on_tick(PLUGIN, &host, |entry| {
                assert_eq!(host.context(), Some(entry), "the calls apply to the stream");
                resumed.borrow_mut().push(entry);
            });
            resumed.take()
        };
        assert_eq!(tick(), Vec::from_iter(0..32));
        assert_eq!((host.timer(), host.context()), (Some(Duration::ZERO), Some(PLUGIN)));
        host.end(35);
        assert_eq!(tick(), [32, 33, 34, 36, 37, 38], "a stream that has ended is left out");
        assert_eq!((host.timer(), delays.is_empty()), (None, true));
    }
}
