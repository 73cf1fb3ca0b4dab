//! The calls into Envoy that are the same for requests, connections and plugins.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use log::LevelFilter;

/// The note of the router filter with the name of the match that decided,
/// `%FILTER_STATE(wasm.sluice.route:PLAIN)%`. Later filters read it as a property: without it, the
/// router filter has not chosen the cluster.
pub const ROUTE_NOTE: &str = "sluice.route";

/// The filter state that has the note. A note of a dynamic module is no property of this name, only
/// the attribute `filter_state` has it.
pub const ROUTE_STATE: &str = "wasm.sluice.route";

/// The attribute with the version of the client's TLS, if Envoy terminates it.
pub const TLS_VERSION: [&str; 2] = ["connection", "tls_version"];

/// A counter that a plugin has defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub u32);

/// A gauge that a plugin has defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(pub u32);

/// A histogram that a plugin has defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram(pub u32);

/// The memory of a VM, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the module has in use
    pub used: u64,
    /// What the module has ever had from the VM. It never decreases.
    pub reserved: u64,
}

/// The number of active streams of a kind: that of this worker in the memory of its VM, and that of
/// the whole Envoy as a gauge. All plugins of a VM share it.
///
/// Limits use the number of the worker. If a VM traps, its streams never end, and they could stay
/// in the gauge.
#[derive(Clone, Debug)]
pub struct ActiveStreams {
    gauge: Gauge,
    count: Rc<Cell<u32>>,
}

impl ActiveStreams {
    /// No active stream in this worker.
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self { gauge, count: Rc::default() }
    }

    /// Returns the number of active streams of this worker.
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// The same streams in another gauge: that of another configuration.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn with_gauge(&self, gauge: Gauge) -> Self {
        Self { gauge, count: Rc::clone(&self.count) }
    }

    /// A stream becomes active.
    pub fn begin(&self, host: &impl Host) {
        self.count.set(self.count().saturating_add(1));
        host.change(self.gauge, 1);
    }

    /// An active stream ends.
    pub fn end(&self, host: &impl Host) {
        self.count.set(self.count().saturating_sub(1));
        host.change(self.gauge, -1);
    }

    /// Takes all streams of this worker out of the gauge.
    pub fn withdraw(&self, host: &impl Host) {
        host.change(self.gauge, -i64::from(self.count.take()));
    }
}

/// The calls into Envoy that are the same for requests and for connections. None of them panics.
pub trait Host {
    /// Whether this is the host in a dynamic module.
    const IS_NATIVE: bool = false;

    /// Returns an attribute of Envoy, or `None` if it is absent or empty.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Leaves a text for access logs, which read it as `%FILTER_STATE(wasm.NAME:PLAIN)%`.
    fn note(&self, name: &str, text: &str);

    /// Whether Envoy terminates the TLS of the client. This is known after the handshake, so in
    /// `on_downstream_data` and for requests.
    fn is_tls_terminated(&self) -> bool {
        self.property(&TLS_VERSION).is_some()
    }

    /// Adds one to a counter.
    fn increment(&self, counter: Counter);

    /// Adds a number, which may be negative, to a gauge.
    fn change(&self, gauge: Gauge, by: i64);

    /// Adds a value to a histogram.
    fn record(&self, histogram: Histogram, value: u64);

    /// Returns the time, for measuring durations.
    fn now(&self) -> Instant;

    /// Returns the time since a moment that is the same for all workers of an Envoy. It never
    /// decreases.
    fn uptime(&self) -> Duration;

    /// Sets the one timer that a plugin has on a worker: `on_tick` is called after `wait`. `None`
    /// turns the timer off.
    fn set_timer(&self, wait: Option<Duration>);

    /// Whether a filter can send requests of its own. A wasm module can.
    fn can_call(&self) -> bool {
        true
    }

    /// Calls `on_tick` at this time, unless the current stream has ended before. A later call for
    /// the same stream replaces an earlier one. Hosts where a plugin has a timer do nothing.
    fn wake(&self, _time: Instant) {}

    /// Returns the step in which the clock behind `on_tick` advances.
    fn tick_step(&self) -> Duration {
        // That of Envoy's timers on many kernels.
        Duration::from_millis(4)
    }

    /// Returns the time of day.
    fn time_of_day(&self) -> SystemTime;
}

/// The calls into Envoy that only the plugin shell makes. None of them panics.
pub trait PluginHost: Host + Clone + 'static {
    /// Returns the most verbose level that Envoy's log shows.
    fn log_level(&self) -> LevelFilter;

    /// Returns the counter `wasmcustom.NAME` of Envoy's statistics.
    fn define_counter(&self, name: &'static str) -> Counter;

    /// As [`define_counter`](Self::define_counter), for a name that comes from the document. Envoy
    /// keeps a counter until it ends, so names must not come from requests.
    fn define_own_counter(&self, name: &str) -> Counter;

    /// Returns the gauge `wasmcustom.NAME` of Envoy's statistics.
    fn define_gauge(&self, name: &'static str) -> Gauge;

    /// Returns the histogram `wasmcustom.NAME` of Envoy's statistics. Its name ends in the unit of
    /// its values.
    fn define_histogram(&self, name: &'static str) -> Histogram;

    /// Returns the number of active streams whose gauge has this name.
    fn define_active_streams(&self, name: &'static str) -> ActiveStreams;

    /// Declares a note as text. Access logs show notes that are not declared in base64.
    fn declare_note(&self, name: &str);

    /// Returns a call that the filter cannot do without, if Envoy refuses it. `needs_time` says
    /// whether the filter measures time. Hosts where Envoy cannot refuse a call have none.
    fn missing_call(&self, _needs_time: bool) -> Option<&'static str> {
        None
    }

    /// Returns the memory of the VM.
    fn memory(&self) -> Memory;

    /// Returns a number that identifies the VM among those of this Envoy.
    fn vm(&self) -> u64;

    /// Makes the next calls apply to the stream or plugin with this context, until the current
    /// callback returns. Returns false if there is no such context any more.
    fn enter(&self, context: u32) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    #[test]
    fn active_streams_of_a_worker_are_counted_together_and_withdrawn_once() {
        let host = FakeHost::default();
        let first = host.define_active_streams("active");
        let second = host.define_active_streams("active");
        let other = host.define_active_streams("other");
        first.begin(&host);
        second.begin(&host);
        second.begin(&host);
        other.begin(&host);
        first.end(&host);
        assert_eq!([first.count(), second.count(), other.count()], [2, 2, 1]);
        assert_eq!([host.gauge("active"), host.gauge("other")], [2, 1]);
        // The gauge also has streams of another worker.
        host.change(host.define_gauge("active"), 5);
        first.withdraw(&host);
        second.withdraw(&host);
        assert_eq!([host.gauge("active"), host.gauge("other")], [5, 1]);
        assert_eq!(second.count(), 0);
    }
}
