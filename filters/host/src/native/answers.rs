//! The metrics of filters that get the answers to their calls. This happens in a hook of the
//! bootstrap extension, which has no stream, and metrics of its own with the names of the filters'.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::host::{Counter, Histogram};
use crate::native::calls::Handle;
use crate::native::calls::bootstrap;
use crate::native::configurations::{MetricKind, Metrics, PANICS};
use crate::native::filters::NativeFilter;

/// Whether Envoy's configuration has the extension.
static IS_LOADED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The extension whose hook runs, and the metrics of the filter that gets an answer.
    static ANSWERING: RefCell<Option<(Handle, Metrics)>> = const { RefCell::new(None) };

    /// The metrics of the extension.
    static OWN: RefCell<HashMap<(MetricKind, &'static str), u32>> = RefCell::default();
}

/// Whether filters can send requests: Envoy's configuration has the extension.
pub fn are_possible() -> bool {
    IS_LOADED.load(Relaxed)
}

/// Envoy's configuration has the extension. Defines the metrics that these filters need when they
/// get an answer: later, Envoy refuses to define metrics.
pub fn begin(extension: Handle, filters: &[&dyn NativeFilter]) {
    define(extension, MetricKind::Counter, &[PANICS], bootstrap::define_counter);
    for filter in filters {
        let (counters, histograms) = (filter.answer_counters(), filter.answer_histograms());
        define(extension, MetricKind::Counter, counters, bootstrap::define_counter);
        define(extension, MetricKind::Histogram, histograms, bootstrap::define_histogram);
    }
    IS_LOADED.store(true, Relaxed);
}

fn define(
    extension: Handle,
    kind: MetricKind,
    names: &[&'static str],
    define: fn(Handle, &str) -> Option<u32>,
) {
    for name in names {
        if let Some(number) = define(extension, name) {
            OWN.with_borrow_mut(|own| own.insert((kind, *name), number));
        }
    }
}

/// Gives an answer to the filter with these metrics.
pub fn run(extension: Handle, metrics: Metrics, answer: impl FnOnce()) {
    ANSWERING.set(Some((extension, metrics)));
    // A panic has logged itself.
    if catch_unwind(AssertUnwindSafe(answer)).is_err()
        && let Some(counter) = number(MetricKind::Counter, PANICS)
    {
        bootstrap::increment_counter(extension, counter);
    }
    ANSWERING.set(None);
}

/// Adds one to a counter of the filter that gets an answer, if one does.
pub fn increment(counter: Counter) {
    if let Some((extension, number)) = metric(MetricKind::Counter, counter.0) {
        bootstrap::increment_counter(extension, number);
    }
}

/// Adds a value to a histogram of the filter that gets an answer, if one does.
pub fn record(histogram: Histogram, value: u64) {
    if let Some((extension, number)) = metric(MetricKind::Histogram, histogram.0) {
        bootstrap::record(extension, number, value);
    }
}

/// The number that a metric of the answering filter has in the extension.
fn metric(kind: MetricKind, of_filter: u32) -> Option<(Handle, u32)> {
    let (extension, name) = ANSWERING.with_borrow(|answering| {
        let (extension, metrics) = answering.as_ref()?;
        Some((*extension, metrics.name(kind, of_filter)?))
    })?;
    Some((extension, number(kind, &name)?))
}

fn number(kind: MetricKind, name: &str) -> Option<u32> {
    OWN.with_borrow(|own| own.get(&(kind, name)).copied())
}
