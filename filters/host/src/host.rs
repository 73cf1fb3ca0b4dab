//! The calls into Envoy that are the same for requests, connections and plugins.

use std::time::{Duration, Instant, SystemTime};

use log::LevelFilter;

/// The note of the router filter with the name of the match that decided,
/// `%FILTER_STATE(wasm.sluice.route:PLAIN)%`. Later filters read it as a property: without it, the
/// router filter has not chosen the cluster.
pub const ROUTE_NOTE: &str = "sluice.route";

/// A counter that a plugin has defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub u32);

/// A gauge that a plugin has defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(pub u32);

/// The memory of a VM, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the module has in use
    pub used: u64,
    /// What the module has ever had from the VM. It never decreases.
    pub reserved: u64,
}

/// The calls into Envoy that are the same for requests and for connections. None of them panics.
pub trait Host {
    /// Returns an attribute of Envoy, or `None` if it is absent or empty.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Leaves a text for access logs, which read it as `%FILTER_STATE(wasm.NAME:PLAIN)%`.
    fn note(&self, name: &str, text: &str);

    /// Adds one to a counter.
    fn increment(&self, counter: Counter);

    /// Adds a number, which may be negative, to a gauge.
    fn change(&self, gauge: Gauge, by: i64);

    /// Returns the value of a gauge. All workers of an Envoy have the same one.
    fn value(&self, gauge: Gauge) -> u64;

    /// Returns the time, for measuring durations.
    fn now(&self) -> Instant;

    /// Returns the time since a moment that is the same for all workers of an Envoy. It never
    /// decreases.
    fn uptime(&self) -> Duration;

    /// Sets the one timer that a plugin has on a worker: `on_tick` is called after `wait`. `None`
    /// turns the timer off.
    fn set_timer(&self, wait: Option<Duration>);

    /// Returns the time of day.
    fn time_of_day(&self) -> SystemTime;
}

/// The calls into Envoy that only the plugin shell makes. None of them panics.
pub trait PluginHost: Host + Clone + 'static {
    /// Returns the most verbose level that Envoy's log shows.
    fn log_level(&self) -> LevelFilter;

    /// Returns the counter `wasmcustom.NAME` of Envoy's statistics.
    fn define_counter(&self, name: &'static str) -> Counter;

    /// Returns the gauge `wasmcustom.NAME` of Envoy's statistics.
    fn define_gauge(&self, name: &'static str) -> Gauge;

    /// Declares a note as text. Access logs show notes that are not declared in base64.
    fn declare_note(&self, name: &str);

    /// Returns the memory of the VM.
    fn memory(&self) -> Memory;

    /// Returns a number that identifies the VM among those of this Envoy.
    fn vm(&self) -> u64;

    /// Makes the next calls apply to the stream or plugin with this context, until the current
    /// callback returns. Returns false if there is no such context any more.
    fn enter(&self, context: u32) -> bool;
}
