//! The calls into Envoy that are the same for all streams and plugins, and those of connections.

use std::borrow::Cow;
use std::cell::RefCell;
use std::panic;
use std::time::{Duration, Instant, SystemTime};

use log::LevelFilter;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, StreamType};
use sluice_policy::name_set::NameSet;
use sluice_policy::request::header_map;
use smallvec::SmallVec;

use crate::foreign;
use crate::host::{ActiveStreams, Counter, Gauge, Histogram, Host, Memory, PluginHost};
use crate::http::Headers;
use crate::network::NetworkHost;
use crate::random;
use crate::shared_data::{SharedData, Stored, Version};
use crate::wasm::{abi, clock, memory, timer};

/// The Envoy in which the module runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envoy;

impl Host for Envoy {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        // Only the paths of claims can be longer.
        let mut joined = SmallVec::<[u8; 96]>::new();
        for (place, part) in path.iter().enumerate() {
            if place > 0 {
                joined.push(0);
            }
            joined.extend_from_slice(part.as_bytes());
        }
        abi::property(&joined)
    }

    fn note(&self, name: &str, text: &str) {
        // Without the note only the access log lacks something.
        abi::set_property(name, text.as_bytes());
    }

    fn increment(&self, counter: Counter) {
        abi::increment_metric(counter.0, 1);
    }

    fn change(&self, gauge: Gauge, by: i64) {
        abi::increment_metric(gauge.0, by);
    }

    fn record(&self, histogram: Histogram, value: u64) {
        abi::proxy_record_metric(histogram.0, value);
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    // Two workers cannot compare their values of `Instant`.
    fn uptime(&self) -> Duration {
        clock::uptime()
    }

    fn set_timer(&self, wait: Option<Duration>) {
        timer::set(wait);
    }

    fn time_of_day(&self) -> SystemTime {
        clock::time_of_day()
    }
}

impl PluginHost for Envoy {
    fn log_level(&self) -> LevelFilter {
        const TRACE: u32 = LogLevel::Trace as u32;
        const DEBUG: u32 = LogLevel::Debug as u32;
        const WARN: u32 = LogLevel::Warn as u32;
        const ERROR: u32 = LogLevel::Error as u32;
        const CRITICAL: u32 = LogLevel::Critical as u32;
        match abi::log_level() {
            Some(TRACE) => LevelFilter::Trace,
            Some(DEBUG) => LevelFilter::Debug,
            Some(WARN) => LevelFilter::Warn,
            Some(ERROR | CRITICAL) => LevelFilter::Error,
            _ => LevelFilter::Info,
        }
    }

    fn define_counter(&self, name: &'static str) -> Counter {
        Counter(metric(MetricType::Counter, name))
    }

    fn define_own_counter(&self, name: &str) -> Counter {
        Counter(own_metric(MetricType::Counter, name))
    }

    fn define_gauge(&self, name: &'static str) -> Gauge {
        Gauge(metric(MetricType::Gauge, name))
    }

    fn define_histogram(&self, name: &'static str) -> Histogram {
        Histogram(metric(MetricType::Histogram, name))
    }

    fn define_active_streams(&self, name: &'static str) -> ActiveStreams {
        ACTIVE_STREAMS.with_borrow_mut(|all| {
            if let Some((_, active)) = all.iter().find(|(known, _)| *known == name) {
                return active.clone();
            }
            // Here, so that modules without active streams do not contain it.
            if all.is_empty() {
                withdraw_active_streams_on_panic();
            }
            let active = ActiveStreams::new(self.define_gauge(name));
            all.push((name, active.clone()));
            active
        })
    }

    fn declare_note(&self, name: &str) {
        // A new configuration in the same VM declares it again. Envoy refuses that, but the first
        // declaration is enough.
        abi::call_foreign_function(foreign::DECLARE_PROPERTY, &foreign::declare_text(name));
    }

    fn missing_call(&self, needs_time: bool) -> Option<&'static str> {
        if !abi::has_random_numbers() {
            return Some("random_get");
        }
        (needs_time && !clock::is_there()).then_some("clock_time_get")
    }

    fn memory(&self) -> Memory {
        memory::memory()
    }

    fn vm(&self) -> u64 {
        random::of_thread()
    }

    fn enter(&self, context: u32) -> bool {
        abi::enter(context)
    }
}

thread_local! {
    /// All active streams of the VM, of which there are few kinds.
    static ACTIVE_STREAMS: RefCell<Vec<(&'static str, ActiveStreams)>> =
        const { RefCell::new(Vec::new()) };
}

/// Takes the active streams of this worker out of the gauges when the module panics: Envoy discards
/// the VM then, and its streams never end. A trap without a panic leaves them there.
fn withdraw_active_streams_on_panic() {
    let log = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // A second panic here would hide the first one.
        let _ = ACTIVE_STREAMS.try_with(|all| {
            let all = all.try_borrow();
            all.iter().flat_map(|all| all.iter()).for_each(|(_, active)| active.withdraw(&Envoy));
        });
        log(panic);
    }));
}

/// Defines a metric once per VM: Envoy keeps some memory for each definition, also if the name is
/// known.
fn metric(kind: MetricType, name: &'static str) -> u32 {
    thread_local! {
        static DEFINED: RefCell<Vec<(&'static str, u32)>> = const { RefCell::new(Vec::new()) };
    }
    DEFINED.with_borrow_mut(|defined| {
        if let Some((_, metric)) = defined.iter().find(|(known, _)| *known == name) {
            return *metric;
        }
        // Envoy does not know this number: increments of it have no effect.
        let metric = abi::define_metric(kind, name).unwrap_or(u32::MAX);
        defined.push((name, metric));
        metric
    })
}

/// As [`metric`], for one of the many names that a document can have.
fn own_metric(kind: MetricType, name: &str) -> u32 {
    thread_local! {
        /// The names, and the number of each in Envoy.
        static DEFINED: RefCell<(NameSet, Vec<u32>)> = RefCell::default();
    }
    DEFINED.with_borrow_mut(|(names, numbers)| {
        let index = names.add(name.as_bytes());
        if let Some(number) = numbers.get(index) {
            return *number;
        }
        let number = abi::define_metric(kind, name).unwrap_or(u32::MAX);
        numbers.push(number);
        number
    })
}

impl SharedData for Envoy {
    fn stored(&self, key: &[u8]) -> Option<Stored> {
        let (value, version) = abi::shared_data(key)?;
        Some(Stored { value, version: Version(version) })
    }

    fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool {
        /// No value has this version, which takes 2^32 writes to reach. Envoy sets a key that is
        /// missing whatever the version.
        const MISSING: u32 = u32::MAX;
        abi::set_shared_data(key, value, version.map_or(MISSING, |version| version.0))
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) {
        const ANY: u32 = 0;
        abi::set_shared_data(key, value, ANY);
    }
}

impl NetworkHost for Envoy {
    fn downstream_data(&self, start: usize, length: usize) -> Vec<u8> {
        abi::buffer(BufferType::DownstreamData, start, length)
    }

    fn close_downstream(&self) {
        abi::close(StreamType::Downstream);
    }

    fn resume_downstream(&self) {
        abi::resume(StreamType::Downstream);
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> bool {
        let arguments = foreign::set_filter_state(key, value);
        abi::call_foreign_function(foreign::SET_FILTER_STATE, &arguments)
    }
}

/// Encodes headers. No headers take no memory.
pub(crate) fn encode(headers: &[(&[u8], &[u8])]) -> Cow<'static, [u8]> {
    match headers {
        [] => Cow::Borrowed(&[0; 4]),
        _ => header_map::encode(headers.iter().copied()).into(),
    }
}

/// Returns the headers of a map.
pub(crate) fn headers(map: MapType) -> Headers {
    let encoded = abi::encoded_headers(map);
    let pairs = header_map::decode(&encoded);
    pairs.map(|(name, value)| (String::from_utf8_lossy(name).into(), value.to_vec())).collect()
}
