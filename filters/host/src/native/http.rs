//! The calls into Envoy about requests.

use sluice_policy::request::header_map;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use crate::http::{Call, CallFailure, Headers, HttpHost, LocalReply};
use crate::native::abi::{Body, Map};
use crate::native::calls::{self, Handle};
use crate::native::envoy::Envoy;
use crate::native::{current, settle};

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
        settle::reply(reply);
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

    /// Fails: the documents that need calls are refused.
    fn call(&self, call: Call<Self>) {
        (call.on_answer)(self, Err(CallFailure::Failed));
    }

    fn forget_calls(&self, _: u32) {}
}

fn headers(map: Map) -> Headers {
    let Some(stream) = current::handle() else { return Vec::new() };
    calls::with_headers(stream, map, |headers| {
        let owned = |(name, value): (&[u8], &[u8])| {
            (String::from_utf8_lossy(name).into_owned(), value.to_vec())
        };
        headers.iter().map(owned).collect()
    })
}

fn edit_header(stream: Handle, map: Map, edit: &HeaderEdit<'_>) {
    let name = edit.name.as_bytes();
    match edit.operation {
        HeaderOperation::Add => calls::add_header(stream, map, name, &edit.value),
        HeaderOperation::Remove => calls::set_header(stream, map, name, None),
        HeaderOperation::Set => calls::set_header(stream, map, name, Some(&edit.value)),
    }
}
