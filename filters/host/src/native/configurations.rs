//! The configurations of the filters in the whole process, and what each worker makes of them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::native::calls::{self, ConfigurationHandle};
use crate::native::filters::{AnyPolicy, NativeFilter, NativePlugin};

/// A filter with a document.
struct Configuration {
    filter: &'static dyn NativeFilter,
    policy: AnyPolicy,
    metrics: Metrics,
}

/// The kind of a metric. Each kind has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// The metrics of a configuration. Each configuration has its own.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<MetricTable>>);

#[derive(Debug, Default)]
struct MetricTable {
    numbers: HashMap<Arc<str>, u32>,
    names: HashMap<(MetricKind, u32), Arc<str>>,
}

impl Metrics {
    /// The number of the metric with this name.
    fn number(&self, name: &str) -> Option<u32> {
        lock(&self.0).numbers.get(name).copied()
    }

    /// The name of a metric.
    pub fn name(&self, kind: MetricKind, number: u32) -> Option<Arc<str>> {
        lock(&self.0).names.get(&(kind, number)).cloned()
    }

    fn add(&self, kind: MetricKind, name: &str, number: u32) {
        let name = Arc::<str>::from(name);
        let mut table = lock(&self.0);
        table.names.insert((kind, number), Arc::clone(&name));
        table.numbers.insert(name, number);
    }
}

/// A hook of the dynamic module has panicked.
pub const PANICS: &str = "sluice.panics";

/// Identifies a configuration. Envoy passes it on as a pointer, and it is never used again.
pub type Key = u64;

static CONFIGURATIONS: LazyLock<Mutex<HashMap<Key, Arc<Configuration>>>> =
    LazyLock::new(Mutex::default);

/// How many configurations have been made, and how many have ended.
static MADE: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves no map half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The metrics of the configuration whose filter is being made, and the configuration itself as
    /// long as metrics can be defined.
    static BEING_MADE: RefCell<Option<(Metrics, Option<ConfigurationHandle>)>> =
        const { RefCell::new(None) };

    /// What this worker has made, by configuration.
    static WORKERS: RefCell<HashMap<Key, Worker>> = RefCell::default();

    /// The one of them that was used last.
    static LAST: RefCell<Option<(Key, Worker)>> = const { RefCell::new(None) };

    /// The value of [`ENDED`] when this worker last looked for configurations that have ended.
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

/// A plugin of this worker.
#[derive(Clone)]
pub struct Worker {
    pub plugin: Rc<dyn NativePlugin>,
    /// The metrics of its configuration
    pub metrics: Metrics,
    /// Its counter of panics
    pub panics: Option<u32>,
    /// Whether it is known that its streams are in a listener, and not in a cluster
    pub is_in_listener: Rc<Cell<bool>>,
}

fn making<T>(
    metrics: &Metrics,
    handle: Option<ConfigurationHandle>,
    make: impl FnOnce() -> T,
) -> T {
    /// Also after a panic, so that nothing uses the handle later.
    struct Made;
    impl Drop for Made {
        fn drop(&mut self) {
            BEING_MADE.set(None);
        }
    }

    BEING_MADE.set(Some((metrics.clone(), handle)));
    let _made = Made;
    make()
}

/// Makes a configuration. `None` if the document is refused.
pub fn add(
    filter: &'static dyn NativeFilter,
    document: &[u8],
    handle: ConfigurationHandle,
) -> Option<Key> {
    let metrics = Metrics::default();
    let policy = making(&metrics, Some(handle), || {
        metric(MetricKind::Counter, PANICS, calls::define_counter);
        filter.compile(document)
    })?;
    // 0 would be the null pointer, which refuses the configuration.
    let key = MADE.fetch_add(1, Release).wrapping_add(1);
    let configuration = Arc::new(Configuration { filter, policy, metrics });
    lock(&CONFIGURATIONS).insert(key, configuration);
    Some(key)
}

/// Drops a configuration. Each worker drops its own part before its next stream.
pub fn remove(key: Key) {
    let removed = lock(&CONFIGURATIONS).remove(&key);
    ENDED.fetch_add(1, Release);
    drop(removed);
}

/// Returns the number of a metric. `define` is called for a new one while Envoy allows that.
pub fn metric(
    kind: MetricKind,
    name: &str,
    define: fn(ConfigurationHandle, &str) -> Option<u32>,
) -> Option<u32> {
    BEING_MADE.with_borrow(|being_made| {
        let (metrics, handle) = being_made.as_ref()?;
        if let Some(known) = metrics.number(name) {
            return Some(known);
        }
        let defined = define((*handle)?, name)?;
        metrics.add(kind, name, defined);
        Some(defined)
    })
}

/// Returns the plugin of this worker for a configuration.
pub fn worker(key: Key) -> Option<Worker> {
    let ended = ENDED.load(Acquire);
    if SEEN.replace(ended) != ended {
        drop_ended();
    }
    let last = LAST.with_borrow(|last| {
        let (_, worker) = last.as_ref().filter(|(own, _)| *own == key)?;
        Some(worker.clone())
    });
    last.or_else(|| find(key))
}

#[cold]
fn find(key: Key) -> Option<Worker> {
    let known = WORKERS.with_borrow(|workers| workers.get(&key).cloned());
    let worker = known.or_else(|| make(key))?;
    let last = LAST.replace(Some((key, worker.clone())));
    drop(last);
    Some(worker)
}

fn make(key: Key) -> Option<Worker> {
    let configuration = Arc::clone(lock(&CONFIGURATIONS).get(&key)?);
    let Configuration { filter, policy, metrics } = &*configuration;
    let plugin = making(metrics, None, || filter.worker(Arc::clone(policy)))?;
    let metrics = metrics.clone();
    let worker = Worker { plugin, metrics, panics: panics(key), is_in_listener: Rc::default() };
    WORKERS.with_borrow_mut(|workers| workers.insert(key, worker.clone()));
    Some(worker)
}

/// Returns the number of the counter of panics in a configuration.
#[cold]
pub fn panics(key: Key) -> Option<u32> {
    let configuration = Arc::clone(lock(&CONFIGURATIONS).get(&key)?);
    configuration.metrics.number(PANICS)
}

#[cold]
fn drop_ended() {
    let ended: Vec<_> = WORKERS.with_borrow_mut(|workers| {
        let configurations = lock(&CONFIGURATIONS);
        workers.extract_if(|key, _| !configurations.contains_key(key)).collect()
    });
    // Outside of the borrow, as a plugin may own anything.
    drop((ended, LAST.take()));
}
