//! A host for tests: it has what the test gives it and remembers what the filter did.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use sluice_policy::request::header_map::encode;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use crate::host::{Counter, Gauge, Host};
use crate::http::{Call, Headers, HttpHost, LocalReply};
use crate::network::NetworkHost;
use crate::shared_data::{SharedData, Stored, Version};

/// A stand-in for Envoy.
#[derive(Debug)]
pub struct FakeHost {
    properties: Vec<(Vec<String>, Vec<u8>)>,
    request: RefCell<Headers>,
    response: RefCell<Headers>,
    trailers: Headers,
    body: RefCell<Vec<u8>>,
    calls: RefCell<Vec<Call<FakeHost>>>,
    replies: RefCell<Vec<FakeReply>>,
    notes: RefCell<Vec<(String, String)>>,
    counts: RefCell<Vec<Counter>>,
    gauges: RefCell<HashMap<u32, i64>>,
    resumptions: Cell<usize>,
    resets: Cell<usize>,
    downstream: RefCell<Vec<u8>>,
    closures: Cell<usize>,
    filter_states: RefCell<Vec<(String, Vec<u8>)>>,
    start: Instant,
    elapsed: Cell<Duration>,
    timer: Cell<Option<Duration>>,
    store: FakeStore,
}

/// A store that fakes can share, as workers do.
#[derive(Clone, Default)]
pub struct FakeStore(Rc<RefCell<Store>>);

/// What another worker does to the store.
type Rival = Box<dyn FnOnce(&FakeStore)>;

#[derive(Default)]
struct Store {
    values: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    last_version: u32,
    writes: usize,
    rivals: Vec<Rival>,
}

impl std::fmt::Debug for FakeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeStore").finish_non_exhaustive()
    }
}

impl FakeStore {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.borrow().values.get(key).map(|(value, _)| value.clone())
    }

    /// Sets the value of a key, as another worker would.
    pub fn set(&self, key: &[u8], value: &[u8]) {
        let mut store = self.0.borrow_mut();
        store.last_version += 1;
        let entry = (value.to_vec(), store.last_version);
        store.values.insert(key.to_vec(), entry);
    }

    /// How often hosts have written to it.
    pub fn writes(&self) -> usize {
        self.0.borrow().writes
    }

    /// Lets another worker be faster: it acts just before the next write with a condition.
    pub fn race(&self, rival: impl FnOnce(&Self) + 'static) {
        self.0.borrow_mut().rivals.push(Box::new(rival));
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self {
            properties: Vec::new(),
            request: RefCell::default(),
            response: RefCell::default(),
            trailers: Vec::new(),
            body: RefCell::default(),
            calls: RefCell::default(),
            replies: RefCell::default(),
            notes: RefCell::default(),
            counts: RefCell::default(),
            gauges: RefCell::default(),
            resumptions: Cell::default(),
            resets: Cell::default(),
            downstream: RefCell::default(),
            closures: Cell::default(),
            filter_states: RefCell::default(),
            start: Instant::now(),
            elapsed: Cell::default(),
            timer: Cell::default(),
            store: FakeStore::default(),
        }
    }
}

/// A local reply that a filter gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeReply {
    /// The status
    pub status: u16,
    /// The gRPC status, if one was given
    pub grpc_status: Option<u8>,
    /// The headers
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body
    pub body: Vec<u8>,
    /// The response code details
    pub details: String,
}

impl FakeHost {
    /// Gives it one more request header.
    pub fn with_request_header(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.request.borrow_mut().push((name.to_owned(), value.into()));
        self
    }

    /// Gives it a response header.
    pub fn with_response_header(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.response.borrow_mut().push((name.to_owned(), value.into()));
        self
    }

    /// Gives it an attribute.
    pub fn with_property(mut self, path: &[&str], value: impl Into<Vec<u8>>) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.properties.push((path, value.into()));
        self
    }

    /// Gives it a store that other fakes have too.
    pub fn with_store(self, store: &FakeStore) -> Self {
        Self { store: store.clone(), ..self }
    }

    /// What the timer was last set to.
    pub fn timer(&self) -> Option<Duration> {
        self.timer.get()
    }

    /// Gives it a response trailer.
    pub fn with_response_trailer(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.trailers.push((name.to_owned(), value.into()));
        self
    }

    /// Gives it the piece of a body that has just come, of the request or the response.
    pub fn set_body(&self, body: &[u8]) {
        *self.body.borrow_mut() = body.to_vec();
    }

    /// Takes the calls that the filter has made.
    pub fn take_calls(&self) -> Vec<Call<Self>> {
        self.calls.take()
    }

    /// The replies that were given, in order.
    pub fn replies(&self) -> Vec<FakeReply> {
        self.replies.borrow().clone()
    }

    /// The notes that were left, in order.
    pub fn notes(&self) -> Vec<(String, String)> {
        self.notes.borrow().clone()
    }

    /// How often a paused request or response was resumed.
    pub fn resumptions(&self) -> usize {
        self.resumptions.get()
    }

    /// How often the stream was reset.
    pub fn resets(&self) -> usize {
        self.resets.get()
    }

    /// More bytes come from the client, after those that wait.
    pub fn receive(&self, bytes: &[u8]) {
        self.downstream.borrow_mut().extend_from_slice(bytes);
    }

    /// How often the connection to the client was closed.
    pub fn closures(&self) -> usize {
        self.closures.get()
    }

    /// The filter states that were set, in order.
    pub fn filter_states(&self) -> Vec<(String, Vec<u8>)> {
        self.filter_states.borrow().clone()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.elapsed.set(self.elapsed.get() + time);
    }

    /// By how much a gauge was changed.
    pub fn change_of(&self, gauge: Gauge) -> i64 {
        self.gauges.borrow().get(&gauge.0).copied().unwrap_or_default()
    }

    /// How often a counter was incremented.
    pub fn count(&self, counter: Counter) -> usize {
        self.counts.borrow().iter().filter(|known| **known == counter).count()
    }
}

/// Applies an edit to a header map as Envoy does.
pub fn apply(headers: &mut Vec<(String, Vec<u8>)>, edit: &HeaderEdit<'_>) {
    let entry = (edit.name.to_owned(), edit.value.to_vec());
    match edit.operation {
        HeaderOperation::Add => headers.push(entry),
        HeaderOperation::Remove => headers.retain(|(name, _)| name != edit.name),
        HeaderOperation::Set => {
            let place = headers.iter().position(|(name, _)| name == edit.name);
            headers.retain(|(name, _)| name != edit.name);
            headers.insert(place.unwrap_or(headers.len()).min(headers.len()), entry);
        }
    }
}

impl Host for FakeHost {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let found = self.properties.iter().find(|(known, _)| known == path);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }

    fn note(&self, name: &str, text: &str) {
        self.notes.borrow_mut().push((name.to_owned(), text.to_owned()));
    }

    fn increment(&self, counter: Counter) {
        self.counts.borrow_mut().push(counter);
    }

    fn change(&self, gauge: Gauge, by: i64) {
        *self.gauges.borrow_mut().entry(gauge.0).or_default() += by;
    }

    fn value(&self, gauge: Gauge) -> u64 {
        let value = self.gauges.borrow().get(&gauge.0).copied().unwrap_or_default();
        u64::try_from(value).unwrap_or_default()
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed.get()
    }

    fn uptime(&self) -> Duration {
        self.elapsed.get()
    }

    fn set_timer(&self, wait: Option<Duration>) {
        self.timer.set(wait);
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.elapsed.get()
    }
}

impl SharedData for FakeHost {
    fn stored(&self, key: &[u8]) -> Option<Stored> {
        let store = self.store.0.borrow();
        let (value, version) = store.values.get(key)?;
        Some(Stored { value: value.clone(), version: Version(*version) })
    }

    fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool {
        let rival = self.store.0.borrow_mut().rivals.pop();
        if let Some(rival) = rival {
            rival(&self.store);
        }
        let is_current = self.stored(key).map(|stored| stored.version) == version;
        if is_current {
            self.overwrite(key, value);
        }
        is_current
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) {
        self.store.set(key, value);
        self.store.0.borrow_mut().writes += 1;
    }
}

/// The first value of a header.
fn first(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

impl HttpHost for FakeHost {
    fn encoded_request_headers(&self) -> Vec<u8> {
        let headers = self.request.borrow();
        encode(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
    }

    fn request_headers(&self) -> Headers {
        self.request.borrow().clone()
    }

    fn request_header(&self, name: &str) -> Option<Vec<u8>> {
        first(&self.request.borrow(), name)
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        first(&self.response.borrow(), name)
    }

    fn response_headers(&self) -> Headers {
        self.response.borrow().clone()
    }

    fn response_trailers(&self) -> Headers {
        self.trailers.clone()
    }

    fn request_body(&self, size: usize) -> Vec<u8> {
        self.body.borrow().get(..size).map(<[u8]>::to_vec).unwrap_or_default()
    }

    fn response_body(&self, size: usize) -> Vec<u8> {
        self.request_body(size)
    }

    fn call(&self, call: Call<Self>) {
        self.calls.borrow_mut().push(call);
    }

    fn edit_request_header(&self, edit: &HeaderEdit<'_>) {
        apply(&mut self.request.borrow_mut(), edit);
    }

    fn edit_response_header(&self, edit: &HeaderEdit<'_>) {
        apply(&mut self.response.borrow_mut(), edit);
    }

    fn reply(&self, reply: &LocalReply<'_>) {
        let owned = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
        self.replies.borrow_mut().push(FakeReply {
            status: reply.status,
            grpc_status: reply.grpc_status,
            headers: reply.headers.iter().map(owned).collect(),
            body: reply.body.to_vec(),
            details: reply.details.to_owned(),
        });
    }

    fn resume_request(&self) {
        self.resumptions.set(self.resumptions.get() + 1);
    }

    fn resume_response(&self) {
        self.resumptions.set(self.resumptions.get() + 1);
    }

    fn reset_response(&self) {
        self.resets.set(self.resets.get() + 1);
    }
}

impl NetworkHost for FakeHost {
    fn downstream_data(&self, start: usize, length: usize) -> Vec<u8> {
        let data = self.downstream.borrow();
        let end = start.saturating_add(length).min(data.len());
        data.get(start..end).unwrap_or_default().to_vec()
    }

    fn close_downstream(&self) {
        self.closures.set(self.closures.get() + 1);
    }

    fn resume_downstream(&self) {
        self.resumptions.set(self.resumptions.get() + 1);
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> bool {
        self.filter_states.borrow_mut().push((key.to_owned(), value.to_vec()));
        true
    }
}
