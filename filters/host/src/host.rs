//! What every filter asks of Envoy, whatever passes through it.

use std::time::{Duration, Instant, SystemTime};

/// A counter that was defined when the filter was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub u32);

/// A gauge that was defined when the filter was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(pub u32);

/// The calls into Envoy that are the same for requests and for connections. None of them panics.
pub trait Host {
    /// An attribute of Envoy; `None` when it is absent or empty.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Leaves a text for access logs, read there as `%FILTER_STATE(wasm.NAME:PLAIN)%`.
    fn note(&self, name: &str, text: &str);

    /// Adds one to a counter.
    fn increment(&self, counter: Counter);

    /// Changes a gauge by a difference.
    fn change(&self, gauge: Gauge, by: i64);

    /// The value of a gauge: of the whole Envoy, not only of this worker.
    fn value(&self, gauge: Gauge) -> u64;

    /// The time for measuring how long something takes.
    fn now(&self) -> Instant;

    /// The time since a moment that is the same for all workers of an Envoy. It never goes back.
    fn uptime(&self) -> Duration;

    /// Has the plugin's tick called once `wait` has passed, or never for `None`. Of all timers of a
    /// plugin on a worker there is only this one.
    fn set_timer(&self, wait: Option<Duration>);

    /// The time of day.
    fn time_of_day(&self) -> SystemTime;
}
