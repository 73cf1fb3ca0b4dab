//! The calls into Envoy about requests.

use proxy_wasm::types::{BufferType, MapType, StreamType};
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use crate::http::{Call, Headers, HttpHost, LocalReply};
use crate::wasm::abi;
use crate::wasm::calls;
use crate::wasm::envoy::{Envoy, encode, headers};

impl HttpHost for Envoy {
    fn request_headers(&self) -> Headers {
        headers(MapType::HttpRequestHeaders)
    }

    fn encoded_request_headers(&self) -> Vec<u8> {
        abi::encoded_headers(MapType::HttpRequestHeaders)
    }

    fn request_header(&self, name: &str) -> Option<Vec<u8>> {
        abi::header(MapType::HttpRequestHeaders, name)
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        abi::header(MapType::HttpResponseHeaders, name)
    }

    fn response_headers(&self) -> Headers {
        headers(MapType::HttpResponseHeaders)
    }

    fn response_trailers(&self) -> Headers {
        headers(MapType::HttpResponseTrailers)
    }

    fn request_body(&self, size: usize) -> Vec<u8> {
        abi::buffer(BufferType::HttpRequestBody, 0, size)
    }

    fn response_body(&self, size: usize) -> Vec<u8> {
        abi::buffer(BufferType::HttpResponseBody, 0, size)
    }

    fn edit_request_header(&self, edit: &HeaderEdit<'_>) {
        edit_header(MapType::HttpRequestHeaders, edit);
    }

    fn edit_response_header(&self, edit: &HeaderEdit<'_>) {
        edit_header(MapType::HttpResponseHeaders, edit);
    }

    fn reply(&self, reply: &LocalReply<'_>) {
        let headers = encode(&reply.headers);
        let LocalReply { status, details, body, grpc_status, .. } = *reply;
        abi::send_local_response(status, details, body, &headers, grpc_status);
    }

    fn resume_request(&self) {
        abi::resume(StreamType::HttpRequest);
    }

    fn resume_response(&self) {
        abi::resume(StreamType::HttpResponse);
    }

    fn reset_response(&self) {
        abi::close(StreamType::HttpResponse);
    }

    fn call(&self, call: Call<Self>) {
        calls::enqueue(call);
    }

    fn forget_calls(&self, plugin: u32) {
        calls::forget(plugin);
    }
}

fn edit_header(map: MapType, edit: &HeaderEdit<'_>) {
    match edit.operation {
        HeaderOperation::Add => abi::add_header(map, edit.name, &edit.value),
        HeaderOperation::Remove => abi::remove_header(map, edit.name),
        HeaderOperation::Set => abi::replace_header(map, edit.name, &edit.value),
    };
}
