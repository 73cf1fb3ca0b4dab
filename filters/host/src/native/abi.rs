//! The functions of Envoy that a dynamic module calls (`envoy_dynamic_module_callback_*`).
//!
//! All of them exist since Envoy 1.38, whose ABI later versions keep. Only the files of this module
//! and of [`calls`](super::calls) of the native host have unsafe code.

#![expect(unsafe_code, reason = "foreign functions")]

pub mod bootstrap;
pub mod network;

use std::ffi::c_void;
use std::ptr;

/// Bytes of Envoy or of the module.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    /// The first byte
    pub start: *const u8,
    /// How many
    pub length: usize,
}

impl Buffer {
    /// No bytes.
    pub const EMPTY: Self = Self { start: ptr::null(), length: 0 };

    /// Bytes of the module.
    pub fn of(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr(), length: bytes.len() }
    }
}

/// A header of Envoy or of the module.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Header {
    /// In lower case
    pub name: Buffer,
    /// Any bytes that a header may have
    pub value: Buffer,
}

/// A map of headers.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum Map {
    Request = 0,
    Response = 2,
    ResponseTrailers = 3,
}

/// The piece of a body that a hook is about.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum Body {
    Request = 0,
    Response = 2,
}

/// An attribute of a stream.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    RequestHost = 2,
    SourceAddress = 24,
    DestinationAddress = 26,
    DestinationPort = 27,
    RequestedServerName = 30,
    TlsVersion = 31,
    UpstreamAddress = 41,
}

/// The type of the functions that define a metric.
pub type Define =
    unsafe extern "C" fn(*mut c_void, Buffer, *const Buffer, usize, *mut usize) -> u32;

/// The type of the functions that change a metric.
pub type Increment = unsafe extern "C" fn(*mut c_void, usize, *const Buffer, usize, u64) -> u32;

unsafe extern "C" {
    pub fn envoy_dynamic_module_callback_log(level: u32, message: Buffer);
    pub safe fn envoy_dynamic_module_callback_log_enabled(level: u32) -> bool;

    pub fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        configuration: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        configuration: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_config_define_histogram(
        configuration: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_record_histogram_value(
        stream: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        value: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_increment_counter(
        stream: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        by: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_increment_gauge(
        stream: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        by: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_decrement_gauge(
        stream: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        by: u64,
    ) -> u32;

    pub fn envoy_dynamic_module_callback_http_get_header(
        stream: *mut c_void,
        map: Map,
        name: Buffer,
        value: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_get_headers_size(
        stream: *mut c_void,
        map: Map,
    ) -> usize;
    pub fn envoy_dynamic_module_callback_http_get_headers(
        stream: *mut c_void,
        map: Map,
        headers: *mut Header,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_add_header(
        stream: *mut c_void,
        map: Map,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_set_header(
        stream: *mut c_void,
        map: Map,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_get_body_size(
        stream: *mut c_void,
        body: Body,
    ) -> usize;
    pub fn envoy_dynamic_module_callback_http_get_body_chunks_size(
        stream: *mut c_void,
        body: Body,
    ) -> usize;
    pub fn envoy_dynamic_module_callback_http_get_body_chunks(
        stream: *mut c_void,
        body: Body,
        pieces: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_send_response(
        stream: *mut c_void,
        status: u32,
        headers: *const Header,
        header_count: usize,
        body: Buffer,
        details: Buffer,
    );
    pub fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        stream: *mut c_void,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_get_filter_state_bytes(
        stream: *mut c_void,
        key: Buffer,
        value: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        stream: *mut c_void,
        attribute: Attribute,
        value: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_filter_get_attribute_int(
        stream: *mut c_void,
        attribute: Attribute,
        value: *mut u64,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_get_cluster_name(
        stream: *mut c_void,
        name: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_clear_route_cache(stream: *mut c_void);
    pub fn envoy_dynamic_module_callback_http_filter_continue_decoding(stream: *mut c_void);
    pub fn envoy_dynamic_module_callback_http_filter_continue_encoding(stream: *mut c_void);
    pub fn envoy_dynamic_module_callback_http_filter_reset_stream(
        stream: *mut c_void,
        reason: u32,
        details: Buffer,
    );
    pub fn envoy_dynamic_module_callback_http_filter_scheduler_new(
        stream: *mut c_void,
    ) -> *mut c_void;
    pub fn envoy_dynamic_module_callback_http_filter_scheduler_commit(
        scheduler: *mut c_void,
        event: u64,
    );
    pub fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: *mut c_void);
}
