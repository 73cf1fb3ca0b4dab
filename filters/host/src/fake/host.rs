//! The calls of fake hosts.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use log::LevelFilter;
use sluice_policy::request::header_map::encode;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use crate::fake::{FakeHost, FakeReply, metric};
use crate::host::{ActiveStreams, Counter, Gauge, Histogram, Host, Memory, PluginHost};
use crate::http::{Call, Headers, HttpHost, LocalReply};
use crate::network::NetworkHost;
use crate::shared_data::{SharedData, Stored, Version};

/// Applies an edit to a header map as Envoy does.
fn apply(headers: &mut Headers, edit: &HeaderEdit<'_>) {
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

/// The first value of a header.
fn first(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

impl Host for FakeHost {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        let found = self.0.properties.borrow().get(&path).cloned();
        found.filter(|value| !value.is_empty())
    }

    fn note(&self, name: &str, text: &str) {
        self.0.notes.borrow_mut().push((name.to_owned(), text.to_owned()));
    }

    fn increment(&self, counter: Counter) {
        *self.0.metrics.borrow_mut().entry(counter.0).or_default() += 1;
    }

    fn change(&self, gauge: Gauge, by: i64) {
        *self.0.metrics.borrow_mut().entry(gauge.0).or_default() += by;
    }

    fn record(&self, histogram: Histogram, value: u64) {
        self.0.recorded.borrow_mut().entry(histogram.0).or_default().push(value);
    }

    fn now(&self) -> Instant {
        self.0.start + self.0.elapsed.get()
    }

    fn uptime(&self) -> Duration {
        self.0.elapsed.get()
    }

    fn set_timer(&self, wait: Option<Duration>) {
        self.0.timers.borrow_mut().push(wait);
    }

    fn time_of_day(&self) -> SystemTime {
        self.0.day.get() + self.0.elapsed.get()
    }
}

impl PluginHost for FakeHost {
    fn log_level(&self) -> LevelFilter {
        LevelFilter::Info
    }

    fn define_counter(&self, name: &'static str) -> Counter {
        self.define_own_counter(name)
    }

    fn define_own_counter(&self, name: &str) -> Counter {
        Counter(metric(name))
    }

    fn define_gauge(&self, name: &'static str) -> Gauge {
        Gauge(metric(name))
    }

    fn define_histogram(&self, name: &'static str) -> Histogram {
        Histogram(metric(name))
    }

    fn define_active_streams(&self, name: &'static str) -> ActiveStreams {
        let mut defined = self.0.active_streams.borrow_mut();
        let new = || ActiveStreams::new(self.define_gauge(name));
        defined.entry(name).or_insert_with(new).clone()
    }

    fn declare_note(&self, name: &str) {
        self.0.declared_notes.borrow_mut().push(name.to_owned());
    }

    fn missing_call(&self, _: bool) -> Option<&'static str> {
        self.0.missing_call.get()
    }

    fn memory(&self) -> Memory {
        self.0.memory.get()
    }

    fn vm(&self) -> u64 {
        Rc::as_ptr(&self.0) as u64
    }

    fn enter(&self, context: u32) -> bool {
        let is_there = !self.0.ended.borrow().contains(&context);
        if is_there {
            self.0.context.set(Some(context));
        }
        is_there
    }
}

impl SharedData for FakeHost {
    fn stored(&self, key: &[u8]) -> Option<Stored> {
        self.0.store.borrow().stored(key)
    }

    fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool {
        self.0.store.borrow().replace(key, value, version)
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) {
        self.0.store.borrow().overwrite(key, value);
    }
}

impl HttpHost for FakeHost {
    fn encoded_request_headers(&self) -> Vec<u8> {
        let headers = self.0.request.borrow();
        encode(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
    }

    fn request_headers(&self) -> Headers {
        self.0.request.borrow().clone()
    }

    fn request_header(&self, name: &str) -> Option<Vec<u8>> {
        first(&self.0.request.borrow(), name)
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        first(&self.0.response.borrow(), name)
    }

    fn response_headers(&self) -> Headers {
        self.0.response.borrow().clone()
    }

    fn response_trailers(&self) -> Headers {
        self.0.trailers.borrow().clone()
    }

    fn request_body(&self, size: usize) -> Vec<u8> {
        self.0.body.borrow().get(..size).map(<[u8]>::to_vec).unwrap_or_default()
    }

    fn response_body(&self, size: usize) -> Vec<u8> {
        self.request_body(size)
    }

    fn edit_request_header(&self, edit: &HeaderEdit<'_>) {
        apply(&mut self.0.request.borrow_mut(), edit);
    }

    fn edit_response_header(&self, edit: &HeaderEdit<'_>) {
        apply(&mut self.0.response.borrow_mut(), edit);
    }

    fn reply(&self, reply: &LocalReply<'_>) {
        let owned = |(name, value): &(&[u8], &[u8])| {
            (String::from_utf8_lossy(name).into_owned(), value.to_vec())
        };
        self.0.replies.borrow_mut().push(FakeReply {
            status: reply.status,
            grpc_status: reply.grpc_status,
            headers: reply.headers.iter().map(owned).collect(),
            body: reply.body.to_vec(),
            details: reply.details.to_owned(),
        });
    }

    fn resume_request(&self) {
        self.0.resumed.borrow_mut().push(self.0.context.get());
    }

    fn resume_response(&self) {
        self.0.resumed.borrow_mut().push(self.0.context.get());
    }

    fn reset_response(&self) {
        self.0.resets.set(self.0.resets.get() + 1);
    }

    fn call(&self, call: Call<Self>) {
        self.0.calls.borrow_mut().push(call);
    }

    fn forget_calls(&self, plugin: u32) {
        self.0.calls.borrow_mut().retain(|call| call.plugin != plugin);
    }
}

impl NetworkHost for FakeHost {
    fn downstream_data(&self, start: usize, length: usize) -> Vec<u8> {
        let data = self.0.downstream.borrow();
        let end = start.saturating_add(length).min(data.len());
        data.get(start..end).unwrap_or_default().to_vec()
    }

    fn close_downstream(&self) {
        self.0.closures.set(self.0.closures.get() + 1);
    }

    fn resume_downstream(&self) {
        self.0.resumed.borrow_mut().push(self.0.context.get());
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> bool {
        self.0.filter_states.borrow_mut().push((key.to_owned(), value.to_vec()));
        true
    }
}
