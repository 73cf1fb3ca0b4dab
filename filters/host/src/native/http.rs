//! The calls into Envoy about requests.

use sluice_policy::request::header_map;
use sluice_policy::spec::mirror::compare::UPSTREAM_TIME;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use crate::http::{Call, CallFailure, Headers, HttpHost, LocalReply};
use crate::native::abi::{Body, Map};
use crate::native::calls::{self, Handle, Views};
use crate::native::envoy::Envoy;
use crate::native::{callouts, current, settle, streams};

impl HttpHost for Envoy {
    fn request_headers(&self) -> Headers {
        headers(Map::Request)
    }

    fn encoded_request_headers(&self) -> Vec<u8> {
        let Some(stream) = current::handle() else { return Vec::new() };
        // Copied, as each edit may move Envoy's headers.
        calls::with_headers(stream, Map::Request, |headers| header_map::encode(headers.iter()))
    }

    fn request_header(&self, name: &str) -> Option<Vec<u8>> {
        calls::header(current::handle()?, Map::Request, name)
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        calls::header(current::handle()?, Map::Response, name)
    }

    fn response_headers(&self) -> Headers {
        headers(Map::Response)
    }

    fn response_trailers(&self) -> Headers {
        headers(Map::ResponseTrailers)
    }

    fn request_body(&self, _: usize) -> Vec<u8> {
        current::handle().map(|stream| calls::body(stream, Body::Request)).unwrap_or_default()
    }

    fn response_body(&self, _: usize) -> Vec<u8> {
        current::handle().map(|stream| calls::body(stream, Body::Response)).unwrap_or_default()
    }

    /// Envoy 1.38 tells a module neither the response flags nor the details. But its router adds
    /// this header to responses of upstreams only, and the filter has seen the end of the response.
    fn is_answered(&self) -> bool {
        let is_of_upstream = self.response_header(UPSTREAM_TIME).is_some();
        let stream = current::get().and_then(streams::of);
        is_of_upstream && stream.is_some_and(|stream| stream.has_response.get())
    }

    fn edit_request_header(&self, edit: &HeaderEdit<'_>) {
        if let Some(stream) = current::handle() {
            current::set_edited(true);
            edit_header(stream, Map::Request, edit);
        }
    }

    fn edit_response_header(&self, edit: &HeaderEdit<'_>) {
        if settle::edit_reply(edit) {
            return;
        }
        if let Some(stream) = current::handle() {
            edit_header(stream, Map::Response, edit);
        }
    }

    fn reply(&self, reply: &LocalReply<'_>) {
        // A connection has no reply.
        if current::get().is_some() {
            settle::reply(reply);
        }
    }

    fn resume_request(&self) {
        // Before the next filters run.
        settle::settle();
        if let Some(stream) = current::handle() {
            calls::resume_request(stream);
        }
    }

    fn resume_response(&self) {
        if let Some(stream) = current::handle() {
            calls::resume_response(stream);
        }
    }

    fn reset_response(&self) {
        if let Some(stream) = current::handle() {
            calls::reset(stream);
        }
    }

    fn call(&self, call: Call<Self>) {
        match current::get().and_then(streams::of) {
            Some(stream) => callouts::send(call, stream.worker.metrics.clone()),
            // There is no call without a stream.
            None => (call.on_answer)(self, Err(CallFailure::Failed)),
        }
    }

    /// Does nothing: the calls end after the plugin.
    fn forget_calls(&self, _: u32) {}
}

fn headers(map: Map) -> Headers {
    let Some(stream) = current::handle() else { return Vec::new() };
    calls::with_headers(stream, map, Views::to_owned)
}

fn edit_header(stream: Handle, map: Map, edit: &HeaderEdit<'_>) {
    let name = edit.name.as_bytes();
    match edit.operation {
        HeaderOperation::Add => calls::add_header(stream, map, name, &edit.value),
        HeaderOperation::Remove => calls::set_header(stream, map, name, None),
        HeaderOperation::Set => calls::set_header(stream, map, name, Some(&edit.value)),
    }
}
