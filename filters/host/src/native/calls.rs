//! A safe function for each call into Envoy. A call that fails has no effect.

#![expect(unsafe_code, reason = "foreign functions")]

pub mod bootstrap;
pub mod network;
pub mod version;

use std::ffi::c_void;
use std::{ptr, slice};

use log::{Level, LevelFilter};
use smallvec::SmallVec;

use crate::http::Headers;
use crate::native::abi::{network as abi_network, *};

/// What Envoy gives a hook for a stream or a configuration. It is passed on to Envoy only, by which
/// it is valid as long as the hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(*mut c_void);

impl Handle {
    /// The handle that a hook has got.
    pub fn new(pointer: *mut c_void) -> Self {
        Self(pointer)
    }
}

/// What Envoy gives the hook for a configuration of an HTTP filter or a network filter, each of
/// which has its own functions for metrics.
#[derive(Clone, Copy, Debug)]
pub enum ConfigurationHandle {
    Http(Handle),
    Network(Handle),
}

/// A scheduler, by which any thread can make Envoy call a hook of a request or connection on its
/// worker, or of the bootstrap extension on the main thread.
#[derive(Debug)]
pub struct Scheduler {
    pointer: *mut c_void,
    commit: unsafe extern "C" fn(*mut c_void, u64),
    delete: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: Envoy allows its use by any thread.
unsafe impl Send for Scheduler {}

impl Scheduler {
    /// The scheduler of a request.
    pub fn new(stream: Handle) -> Self {
        // SAFETY: the stream's hook runs.
        let pointer = unsafe { envoy_dynamic_module_callback_http_filter_scheduler_new(stream.0) };
        Self {
            pointer,
            commit: envoy_dynamic_module_callback_http_filter_scheduler_commit,
            delete: envoy_dynamic_module_callback_http_filter_scheduler_delete,
        }
    }

    /// Makes Envoy call the hook soon, unless the stream or the extension has ended.
    pub fn commit(&self) {
        // SAFETY: it exists until it is dropped.
        unsafe { (self.commit)(self.pointer, 0) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it was made once and is deleted once.
        unsafe { (self.delete)(self.pointer) };
    }
}

// SAFETY of all calls below: a handle comes from the hook that runs, and a pointer to a result or
// an argument from a local value. Envoy keeps the bytes that it returns until something is changed
// or the hook ends, and they are copied before that.

/// The bytes of Envoy.
unsafe fn bytes<'a>(buffer: Buffer) -> &'a [u8] {
    match buffer.length {
        0 => &[],
        // SAFETY: of the caller.
        length => unsafe { slice::from_raw_parts(buffer.start, length) },
    }
}

/// Returns the bytes that Envoy has passed to a hook.
pub fn copied(buffer: Buffer) -> Vec<u8> {
    // SAFETY: see above.
    unsafe { bytes(buffer) }.to_vec()
}

/// Logs a line.
pub fn log(level: Level, line: &str) {
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_log(level_number(level), Buffer::of(line.as_bytes())) };
}

/// Returns the most verbose level that Envoy's log shows for dynamic modules.
pub fn log_level() -> LevelFilter {
    let is_shown = |level: &Level| envoy_dynamic_module_callback_log_enabled(level_number(*level));
    let mut levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn].into_iter();
    levels.find(is_shown).unwrap_or(Level::Error).to_level_filter()
}

/// Envoy counts from the most verbose level on, the other way round.
fn level_number(level: Level) -> u32 {
    (Level::Trace as u32).saturating_sub(level as u32)
}

/// Defines a counter of a configuration, and returns its number.
pub fn define_counter(configuration: ConfigurationHandle, name: &str) -> Option<u32> {
    define_for(
        envoy_dynamic_module_callback_http_filter_config_define_counter,
        abi_network::envoy_dynamic_module_callback_network_filter_config_define_counter,
        configuration,
        name,
    )
}

/// Defines a gauge of a configuration, and returns its number.
pub fn define_gauge(configuration: ConfigurationHandle, name: &str) -> Option<u32> {
    define_for(
        envoy_dynamic_module_callback_http_filter_config_define_gauge,
        abi_network::envoy_dynamic_module_callback_network_filter_config_define_gauge,
        configuration,
        name,
    )
}

/// Defines a histogram of a configuration, and returns its number.
pub fn define_histogram(configuration: ConfigurationHandle, name: &str) -> Option<u32> {
    define_for(
        envoy_dynamic_module_callback_http_filter_config_define_histogram,
        abi_network::envoy_dynamic_module_callback_network_filter_config_define_histogram,
        configuration,
        name,
    )
}

fn define_for(
    of_http: Define,
    of_network: abi_network::Define,
    configuration: ConfigurationHandle,
    name: &str,
) -> Option<u32> {
    match configuration {
        ConfigurationHandle::Http(own) => define(of_http, own, name),
        // SAFETY: see above.
        ConfigurationHandle::Network(own) => {
            defined(name, |name, id| unsafe { of_network(own.0, name, id) })
        }
    }
}

fn define(function: Define, configuration: Handle, name: &str) -> Option<u32> {
    // SAFETY: see above.
    defined(name, |name, id| unsafe { function(configuration.0, name, ptr::null(), 0, id) })
}

fn defined(name: &str, define: impl FnOnce(Buffer, *mut usize) -> u32) -> Option<u32> {
    let mut id = 0;
    let result = define(Buffer::of(name.as_bytes()), &raw mut id);
    u32::try_from(id).ok().filter(|_| result == 0)
}

/// Adds one to a counter of the stream's configuration.
pub fn increment_counter(stream: Handle, counter: u32) {
    let (stream, id) = (stream.0, counter as usize);
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_http_filter_increment_counter(stream, id, ptr::null(), 0, 1)
    };
}

/// Adds a number to a gauge of the stream's configuration.
pub fn change_gauge(stream: Handle, gauge: u32, by: i64) {
    let change: Increment = match by >= 0 {
        true => envoy_dynamic_module_callback_http_filter_increment_gauge,
        false => envoy_dynamic_module_callback_http_filter_decrement_gauge,
    };
    // SAFETY: see above.
    unsafe { change(stream.0, gauge as usize, ptr::null(), 0, by.unsigned_abs()) };
}

/// Adds a value to a histogram of the stream's configuration.
pub fn record(stream: Handle, histogram: u32, value: u64) {
    let (stream, id) = (stream.0, histogram as usize);
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_http_filter_record_histogram_value(
            stream,
            id,
            ptr::null(),
            0,
            value,
        )
    };
}

/// The headers of a map, with names in lower case, in order.
pub struct Views(SmallVec<[Header; 32]>);

impl Views {
    /// Each name with its value.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        // SAFETY: see above; the function that gets them makes no call into Envoy.
        self.0.iter().map(|view| unsafe { (bytes(view.name), bytes(view.value)) })
    }

    /// A copy of them.
    pub fn to_owned(&self) -> Headers {
        let text = |name| String::from_utf8_lossy(name).into_owned();
        self.iter().map(|(name, value)| (text(name), value.to_vec())).collect()
    }
}

/// Calls a function, which must make no call into Envoy, with all headers of a map.
#[inline]
pub fn with_headers<T>(stream: Handle, map: Map, function: impl FnOnce(&Views) -> T) -> T {
    let mut views = SmallVec::new();
    // SAFETY: see above; the array has room for as many as there are, and Envoy writes all of them.
    unsafe {
        let count = envoy_dynamic_module_callback_http_get_headers_size(stream.0, map);
        views.reserve(count);
        if envoy_dynamic_module_callback_http_get_headers(stream.0, map, views.as_mut_ptr()) {
            views.set_len(count);
        }
    }
    function(&Views(views))
}

/// Returns the first value of a header, whose name is in lower case.
pub fn header(stream: Handle, map: Map, name: &str) -> Option<Vec<u8>> {
    let (name, mut count) = (Buffer::of(name.as_bytes()), 0);
    received(|value| {
        // SAFETY: see above.
        unsafe {
            envoy_dynamic_module_callback_http_get_header(
                stream.0,
                map,
                name,
                value,
                0,
                &raw mut count,
            )
        };
        // An empty value is one, too.
        count > 0
    })
}

/// Adds a header.
pub fn add_header(stream: Handle, map: Map, name: &[u8], value: &[u8]) {
    let (name, value) = (Buffer::of(name), Buffer::of(value));
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_http_add_header(stream.0, map, name, value) };
}

/// Replaces all values of a header, or removes them.
pub fn set_header(stream: Handle, map: Map, name: &[u8], value: Option<&[u8]>) {
    let (name, value) = (Buffer::of(name), value.map_or(Buffer::EMPTY, Buffer::of));
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_http_set_header(stream.0, map, name, value) };
}

/// Returns the length of the piece of a body that has just arrived.
pub fn body_size(stream: Handle, body: Body) -> usize {
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_http_get_body_size(stream.0, body) }
}

/// Returns the piece of a body that has just arrived.
pub fn body(stream: Handle, body: Body) -> Vec<u8> {
    // SAFETY: see above; the array has room for as many as there are.
    unsafe {
        let count = envoy_dynamic_module_callback_http_get_body_chunks_size(stream.0, body);
        let mut pieces = vec![Buffer::EMPTY; count];
        let start = pieces.as_mut_ptr();
        match envoy_dynamic_module_callback_http_get_body_chunks(stream.0, body, start) {
            true => pieces.into_iter().flat_map(|piece| bytes(piece)).copied().collect(),
            false => Vec::new(),
        }
    }
}

/// Answers the request. Envoy gives the answer to a gRPC request the form of gRPC; its status is
/// the header `grpc-status`.
pub fn reply(stream: Handle, status: u16, headers: &[(&[u8], &[u8])], body: &[u8], details: &str) {
    let headers = views(headers);
    let (body, details) = (Buffer::of(body), Buffer::of(details.as_bytes()));
    let (start, count, status) = (headers.as_ptr(), headers.len(), u32::from(status));
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_http_send_response(
            stream.0, status, start, count, body, details,
        );
    }
}

fn views(headers: &[(&[u8], &[u8])]) -> Vec<Header> {
    let view = |(name, value): &(&[u8], &[u8])| Header {
        name: Buffer::of(name),
        value: Buffer::of(value),
    };
    headers.iter().map(view).collect()
}

/// Sets a text of the filter state.
pub fn set_filter_state(stream: Handle, key: &[u8], text: &str) {
    let (key, text) = (Buffer::of(key), Buffer::of(text.as_bytes()));
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_http_set_filter_state_bytes(stream.0, key, text) };
}

/// Returns a copy of the bytes that `read` sets, if it returns true.
fn received(read: impl FnOnce(*mut Buffer) -> bool) -> Option<Vec<u8>> {
    let mut value = Buffer::EMPTY;
    read(&raw mut value).then(|| copied(value))
}

/// Returns a text of the filter state.
pub fn filter_state(stream: Handle, key: &[u8]) -> Option<Vec<u8>> {
    let key = Buffer::of(key);
    // SAFETY: see above.
    received(|value| unsafe {
        envoy_dynamic_module_callback_http_get_filter_state_bytes(stream.0, key, value)
    })
}

/// Returns an attribute that is a text.
pub fn text_attribute(stream: Handle, attribute: Attribute) -> Option<Vec<u8>> {
    // SAFETY: see above.
    received(|value| unsafe {
        envoy_dynamic_module_callback_http_filter_get_attribute_string(stream.0, attribute, value)
    })
}

/// Returns an attribute that is a number.
pub fn number_attribute(stream: Handle, attribute: Attribute) -> Option<u64> {
    let mut value = 0;
    // SAFETY: see above.
    let is_found = unsafe {
        envoy_dynamic_module_callback_http_filter_get_attribute_int(
            stream.0,
            attribute,
            &raw mut value,
        )
    };
    is_found.then_some(value)
}

/// Returns the name of the request's cluster.
pub fn cluster_name(stream: Handle) -> Option<Vec<u8>> {
    // SAFETY: see above.
    received(|name| unsafe { envoy_dynamic_module_callback_http_get_cluster_name(stream.0, name) })
}

/// Whether the stream is in a cluster: Envoy chooses the host before it makes the filters of one.
pub fn is_in_cluster(stream: Handle) -> bool {
    text_attribute(stream, Attribute::UpstreamAddress).is_some()
}

/// Makes Envoy choose the route of a request again. The stream must not be in a cluster: there the
/// route is fixed, and Envoy 1.38 crashes.
pub fn clear_route(stream: Handle) {
    // SAFETY: see above; the stream is in a listener.
    unsafe { envoy_dynamic_module_callback_http_clear_route_cache(stream.0) };
}

/// Resumes a paused request.
pub fn resume_request(stream: Handle) {
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_http_filter_continue_decoding(stream.0) };
}

/// Resumes a paused response.
pub fn resume_response(stream: Handle) {
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_http_filter_continue_encoding(stream.0) };
}

/// Resets a stream.
pub fn reset(stream: Handle) {
    const LOCAL_RESET: u32 = 0;
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_http_filter_reset_stream(
            stream.0,
            LOCAL_RESET,
            Buffer::EMPTY,
        );
    }
}
