//! The calls into Envoy that are the same for all streams and configurations.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use log::LevelFilter;

use crate::host::{
    ActiveStreams, Counter, Gauge, Histogram, Host, Memory, PluginHost, TLS_VERSION,
};
use crate::native::calls::network;
use crate::native::configurations::MetricKind;
use crate::native::{
    answers, attributes, calls, configurations, connections, current, settle, streams,
};
use crate::random;

/// The Envoy that has loaded the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envoy;

impl Host for Envoy {
    const IS_NATIVE: bool = true;

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        match current::handle() {
            Some(stream) => attributes::read(stream, path),
            None => attributes::read_of_connection(current::connection()?.handle, path),
        }
    }

    fn note(&self, name: &str, text: &str) {
        if let Some(stream) = current::handle() {
            calls::set_filter_state(stream, &attributes::note_key(name), text);
        } else if let Some(connection) = current::connection() {
            network::set_note(connection.handle, &attributes::note_key(name), text);
        }
    }

    fn increment(&self, counter: Counter) {
        if let Some(stream) = current::handle() {
            calls::increment_counter(stream, counter.0);
        } else if let Some(connection) = current::connection() {
            network::increment_counter(connection.handle, counter.0);
        } else {
            answers::increment(counter);
        }
    }

    fn change(&self, gauge: Gauge, by: i64) {
        if let Some(stream) = current::handle() {
            calls::change_gauge(stream, gauge.0, by);
        } else if let Some(connection) = current::connection() {
            network::change_gauge(connection.handle, gauge.0, by);
        }
    }

    fn record(&self, histogram: Histogram, value: u64) {
        if let Some(stream) = current::handle() {
            calls::record(stream, histogram.0, value);
        } else if let Some(connection) = current::connection() {
            network::record(connection.handle, histogram.0, value);
        } else {
            answers::record(histogram, value);
        }
    }

    fn is_tls_terminated(&self) -> bool {
        match current::connection() {
            Some(connection) => network::is_tls(connection.handle),
            None => self.property(&TLS_VERSION).is_some(),
        }
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    // Any moment will do, as all workers are in one process.
    fn uptime(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }

    /// There is no timer of a plugin: each stream that waits is woken by [`wake`](Self::wake).
    fn set_timer(&self, _: Option<Duration>) {}

    fn can_call(&self) -> bool {
        answers::are_possible()
    }

    fn wake(&self, time: Instant) {
        match current::connection() {
            Some(_) => connections::wake(time),
            None => streams::wake(time),
        }
    }

    fn tick_step(&self) -> Duration {
        Duration::ZERO
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl PluginHost for Envoy {
    fn log_level(&self) -> LevelFilter {
        calls::log_level()
    }

    fn define_counter(&self, name: &'static str) -> Counter {
        self.define_own_counter(name)
    }

    fn define_own_counter(&self, name: &str) -> Counter {
        let number = configurations::metric(MetricKind::Counter, name, calls::define_counter);
        Counter(number.unwrap_or(u32::MAX))
    }

    fn define_gauge(&self, name: &'static str) -> Gauge {
        let number = configurations::metric(MetricKind::Gauge, name, calls::define_gauge);
        Gauge(number.unwrap_or(u32::MAX))
    }

    fn define_histogram(&self, name: &'static str) -> Histogram {
        let number = configurations::metric(MetricKind::Histogram, name, calls::define_histogram);
        Histogram(number.unwrap_or(u32::MAX))
    }

    fn define_active_streams(&self, name: &'static str) -> ActiveStreams {
        thread_local! {
            static COUNTS: RefCell<HashMap<&'static str, ActiveStreams>> = RefCell::default();
        }
        // The number of a gauge is that of one configuration, but the count is that of a worker.
        let gauge = self.define_gauge(name);
        COUNTS.with_borrow_mut(|counts| {
            let known = counts.entry(name).or_insert_with(|| ActiveStreams::new(gauge));
            known.with_gauge(gauge)
        })
    }

    // Notes are texts without a declaration.
    fn declare_note(&self, _: &str) {}

    // Nothing limits the memory of a module but that of the machine.
    fn memory(&self) -> Memory {
        Memory::default()
    }

    fn vm(&self) -> u64 {
        random::of_thread()
    }

    fn enter(&self, context: u32) -> bool {
        // A plugin has either connections or requests.
        if current::connection().is_some() {
            return connections::enter(context);
        }
        let stream = streams::get(context).filter(|stream| !stream.has_failed.get());
        if let Some(stream) = &stream {
            settle::settle();
            current::set(stream.current);
        }
        stream.is_some()
    }
}
