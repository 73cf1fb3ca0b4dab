//! A host for tests: it returns what the test has set and records what the filter does.

mod host;
pub mod store;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use crate::fake::store::FakeStore;
use crate::host::{ActiveStreams, Memory};
use crate::http::{Call, Headers};

/// A stand-in for Envoy. Clones are the same host.
#[derive(Clone, Debug, Default)]
pub struct FakeHost(Rc<State>);

#[derive(Debug)]
struct State {
    properties: RefCell<HashMap<Vec<String>, Vec<u8>>>,
    request: RefCell<Headers>,
    response: RefCell<Headers>,
    trailers: RefCell<Headers>,
    body: RefCell<Vec<u8>>,
    calls: RefCell<Vec<Call<FakeHost>>>,
    replies: RefCell<Vec<FakeReply>>,
    notes: RefCell<Vec<(String, String)>>,
    declared_notes: RefCell<Vec<String>>,
    /// By number
    metrics: RefCell<HashMap<u32, i64>>,
    /// The values of histograms, by number
    recorded: RefCell<HashMap<u32, Vec<u64>>>,
    active_streams: RefCell<HashMap<&'static str, ActiveStreams>>,
    /// The contexts of what was resumed
    resumed: RefCell<Vec<Option<u32>>>,
    resets: Cell<usize>,
    downstream: RefCell<Vec<u8>>,
    closures: Cell<usize>,
    filter_states: RefCell<Vec<(String, Vec<u8>)>>,
    /// The time of day at `start`
    day: Cell<SystemTime>,
    start: Instant,
    elapsed: Cell<Duration>,
    /// The settings of the timer, `None` for off
    timers: RefCell<Vec<Option<Duration>>>,
    context: Cell<Option<u32>>,
    ended: RefCell<Vec<u32>>,
    memory: Cell<Memory>,
    missing_call: Cell<Option<&'static str>>,
    store: RefCell<FakeStore>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            properties: RefCell::default(),
            request: RefCell::default(),
            response: RefCell::default(),
            trailers: RefCell::default(),
            body: RefCell::default(),
            calls: RefCell::default(),
            replies: RefCell::default(),
            notes: RefCell::default(),
            declared_notes: RefCell::default(),
            metrics: RefCell::default(),
            recorded: RefCell::default(),
            active_streams: RefCell::default(),
            resumed: RefCell::default(),
            resets: Cell::default(),
            downstream: RefCell::default(),
            closures: Cell::default(),
            filter_states: RefCell::default(),
            day: Cell::new(SystemTime::UNIX_EPOCH),
            start: Instant::now(),
            elapsed: Cell::default(),
            timers: RefCell::default(),
            context: Cell::default(),
            ended: RefCell::default(),
            memory: Cell::default(),
            missing_call: Cell::default(),
            store: RefCell::default(),
        }
    }
}

/// A local reply of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeReply {
    /// The status
    pub status: u16,
    /// The gRPC status, if the filter set one
    pub grpc_status: Option<u8>,
    /// The headers
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body
    pub body: Vec<u8>,
    /// The response code details
    pub details: String,
}

/// The number of the metric with this name. All hosts of a thread have the same metrics.
fn metric(name: &str) -> u32 {
    thread_local! {
        static METRICS: RefCell<HashMap<String, u32>> = RefCell::default();
    }
    METRICS.with_borrow_mut(|metrics| {
        let next = u32::try_from(metrics.len()).unwrap_or(u32::MAX);
        *metrics.entry(name.to_owned()).or_insert(next)
    })
}

/// What a test sets.
impl FakeHost {
    /// Adds a request header.
    #[must_use]
    pub fn with_request_header(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.request.borrow_mut().push((name.to_owned(), value.into()));
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn with_response_header(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.response.borrow_mut().push((name.to_owned(), value.into()));
        self
    }

    /// Adds a response trailer.
    #[must_use]
    pub fn with_response_trailer(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.trailers.borrow_mut().push((name.to_owned(), value.into()));
        self
    }

    /// Sets an attribute.
    #[must_use]
    pub fn with_property(self, path: &[&str], value: impl Into<Vec<u8>>) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.0.properties.borrow_mut().insert(path, value.into());
        self
    }

    /// Sets the store, which other hosts may have as well.
    #[must_use]
    pub fn with_store(self, store: &FakeStore) -> Self {
        self.0.store.borrow_mut().clone_from(store);
        self
    }

    /// Sets the piece of a body that has just arrived, of the request or the response.
    pub fn set_body(&self, body: &[u8]) {
        *self.0.body.borrow_mut() = body.to_vec();
    }

    /// Adds bytes from the client to those that wait.
    pub fn receive(&self, bytes: &[u8]) {
        self.0.downstream.borrow_mut().extend_from_slice(bytes);
    }

    /// Advances the time.
    pub fn pass(&self, time: Duration) {
        self.0.elapsed.set(self.0.elapsed.get() + time);
    }

    /// Sets the clock of the machine. The time by which durations are measured goes on as before.
    pub fn set_time_of_day(&self, time: SystemTime) {
        self.0.day.set(time - self.0.elapsed.get());
    }

    /// Sets the memory of the VM.
    pub fn set_memory(&self, memory: Memory) {
        self.0.memory.set(memory);
    }

    /// Refuses a call that filters need.
    pub fn refuse_call(&self, call: &'static str) {
        self.0.missing_call.set(Some(call));
    }

    /// Ends the stream with this context: it can be entered no more.
    pub fn end(&self, context: u32) {
        self.0.ended.borrow_mut().push(context);
    }
}

/// What the filter has done.
impl FakeHost {
    /// Takes the calls that the filter has made.
    pub fn take_calls(&self) -> Vec<Call<Self>> {
        self.0.calls.take()
    }

    /// The replies, in order.
    pub fn replies(&self) -> Vec<FakeReply> {
        self.0.replies.borrow().clone()
    }

    /// The notes, in order.
    pub fn notes(&self) -> Vec<(String, String)> {
        self.0.notes.borrow().clone()
    }

    /// The notes that were declared, in order.
    pub fn declared_notes(&self) -> Vec<String> {
        self.0.declared_notes.borrow().clone()
    }

    /// How many times a paused request, response or connection was resumed.
    pub fn resumptions(&self) -> usize {
        self.0.resumed.borrow().len()
    }

    /// The contexts that were entered last when something was resumed, in order.
    pub fn resumed(&self) -> Vec<Option<u32>> {
        self.0.resumed.borrow().clone()
    }

    /// How many times the stream was reset.
    pub fn resets(&self) -> usize {
        self.0.resets.get()
    }

    /// How many times the connection to the client was closed.
    pub fn closures(&self) -> usize {
        self.0.closures.get()
    }

    /// The filter states that were set, in order.
    pub fn filter_states(&self) -> Vec<(String, Vec<u8>)> {
        self.0.filter_states.borrow().clone()
    }

    /// The last setting of the timer.
    pub fn timer(&self) -> Option<Duration> {
        self.0.timers.borrow().last().copied().flatten()
    }

    /// How many times the timer was set or turned off.
    pub fn timer_settings(&self) -> usize {
        self.0.timers.borrow().len()
    }

    /// The context that was entered last.
    pub fn context(&self) -> Option<u32> {
        self.0.context.get()
    }

    /// How many times the counter with this name was incremented in this host.
    pub fn count(&self, counter: &str) -> usize {
        usize::try_from(self.sum(metric(counter))).unwrap_or_default()
    }

    /// The sum of the changes of the gauge with this name in this host.
    pub fn gauge(&self, gauge: &str) -> i64 {
        self.sum(metric(gauge))
    }

    /// The values that were added to the histogram with this name in this host, in order.
    pub fn recorded(&self, histogram: &str) -> Vec<u64> {
        self.0.recorded.borrow().get(&metric(histogram)).cloned().unwrap_or_default()
    }

    fn sum(&self, metric: u32) -> i64 {
        self.0.metrics.borrow().get(&metric).copied().unwrap_or_default()
    }
}
