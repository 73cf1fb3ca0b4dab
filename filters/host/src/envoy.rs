//! The real host: calls into Envoy through the proxy-wasm SDK.
//!
//! Only the SDK's byte calls are used. Its string calls panic on a header value that is not UTF-8,
//! and a panic fails every stream of the worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType, MetricType, Status};
use sluice_policy::document::report::{Finding, Rejection};
use sluice_policy::request::header_map;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};
use smallvec::SmallVec;

use crate::calls;
use crate::foreign;
use crate::host::{Counter, Gauge, Host};
use crate::http::{Call, Headers, HttpHost, LocalReply};
use crate::network::NetworkHost;

/// The Envoy that the module runs in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envoy;

impl Host for Envoy {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        // As Envoy wants it: the parts with a zero byte in between. Paths fit, but for those of claims.
        let mut joined = SmallVec::<[u8; 96]>::new();
        for (place, part) in path.iter().enumerate() {
            if place > 0 {
                joined.push(0);
            }
            joined.extend_from_slice(part.as_bytes());
        }
        let (mut data, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: the path is a slice that outlives the call, and Envoy only reads from it; it writes the
        // other two.
        let status = unsafe {
            proxy_get_property(joined.as_ptr(), joined.len(), &raw mut data, &raw mut size)
        };
        if status != Status::Ok || data.is_null() {
            return None;
        }
        // SAFETY: Envoy has these many bytes from the module's own allocator, for the module to keep.
        Some(unsafe { Vec::from_raw_parts(data, size, size) })
    }

    fn note(&self, name: &str, text: &str) {
        // SAFETY: both pointers come from slices that outlive the call, with their lengths, and Envoy only
        // reads from them. Without the note only the access log is poorer.
        let _ = unsafe { proxy_set_property(name.as_ptr(), name.len(), text.as_ptr(), text.len()) };
    }

    fn increment(&self, counter: Counter) {
        let _ = hostcalls::increment_metric(counter.0, 1);
    }

    fn change(&self, gauge: Gauge, by: i64) {
        let _ = hostcalls::increment_metric(gauge.0, by);
    }

    fn value(&self, gauge: Gauge) -> u64 {
        hostcalls::get_metric(gauge.0).unwrap_or_default()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn uptime(&self) -> Duration {
        /// WASI's clock that never goes back. For Envoy it is that of the machine.
        const MONOTONIC: u32 = 1;
        let mut nanoseconds = 0;
        // SAFETY: it only writes the time.
        let _ = unsafe { clock_time_get(MONOTONIC, 1, &raw mut nanoseconds) };
        Duration::from_nanos(nanoseconds)
    }

    fn set_timer(&self, wait: Option<Duration>) {
        set_timer(wait);
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl HttpHost for Envoy {
    fn request_headers(&self) -> Headers {
        hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
    }

    fn encoded_request_headers(&self) -> Vec<u8> {
        let (mut data, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: it only writes to the two.
        let status = unsafe {
            proxy_get_header_map_pairs(MapType::HttpRequestHeaders, &raw mut data, &raw mut size)
        };
        if status != Status::Ok || data.is_null() {
            return Vec::new();
        }
        // SAFETY: Envoy has these many bytes from the module's own allocator, for the module to keep.
        unsafe { Vec::from_raw_parts(data, size, size) }
    }

    fn request_header(&self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten()
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name).ok().flatten()
    }

    fn response_headers(&self) -> Headers {
        hostcalls::get_map_bytes(MapType::HttpResponseHeaders).unwrap_or_default()
    }

    fn response_trailers(&self) -> Headers {
        hostcalls::get_map_bytes(MapType::HttpResponseTrailers).unwrap_or_default()
    }

    fn request_body(&self, size: usize) -> Vec<u8> {
        buffer(BufferType::HttpRequestBody, size)
    }

    fn response_body(&self, size: usize) -> Vec<u8> {
        buffer(BufferType::HttpResponseBody, size)
    }

    fn call(&self, call: Call<Self>) {
        calls::enqueue(call);
    }

    fn edit_request_header(&self, edit: &HeaderEdit<'_>) {
        edit_header(MapType::HttpRequestHeaders, edit);
    }

    fn edit_response_header(&self, edit: &HeaderEdit<'_>) {
        edit_header(MapType::HttpResponseHeaders, edit);
    }

    fn reply(&self, reply: &LocalReply<'_>) {
        send_local_response(reply);
    }

    fn resume_request(&self) {
        // A stream that is gone by now has nothing to go on with.
        let _ = hostcalls::resume_http_request();
    }

    fn resume_response(&self) {
        let _ = hostcalls::resume_http_response();
    }

    fn reset_response(&self) {
        let _ = hostcalls::reset_http_response();
    }
}

impl NetworkHost for Envoy {
    fn downstream_data(&self, start: usize, length: usize) -> Vec<u8> {
        let data = hostcalls::get_buffer(BufferType::DownstreamData, start, length);
        data.ok().flatten().unwrap_or_default()
    }

    fn close_downstream(&self) {
        let _ = hostcalls::close_downstream();
    }

    fn resume_downstream(&self) {
        let _ = hostcalls::resume_downstream();
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> bool {
        let arguments = foreign::set_filter_state(key, value);
        hostcalls::call_foreign_function(foreign::SET_FILTER_STATE, Some(&arguments)).is_ok()
    }
}

/// The first `size` bytes of a buffer, or what there is of them.
pub(crate) fn buffer(buffer: BufferType, size: usize) -> Vec<u8> {
    hostcalls::get_buffer(buffer, 0, size).ok().flatten().unwrap_or_default()
}

fn edit_header(map: MapType, edit: &HeaderEdit<'_>) {
    // Errors are of the phase, and the filters edit in the right one.
    let _ = match edit.operation {
        HeaderOperation::Add => hostcalls::add_map_value_bytes(map, edit.name, &edit.value),
        HeaderOperation::Remove => hostcalls::set_map_value_bytes(map, edit.name, None),
        HeaderOperation::Set => hostcalls::set_map_value_bytes(map, edit.name, Some(&edit.value)),
    };
}

// Of `Instant` there are only differences, which two workers cannot compare.
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanoseconds: *mut u64) -> u32;
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> Status;

    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;

    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;

    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> Status;
}

/// The SDK's own function for this has neither details nor headers that are not UTF-8.
fn send_local_response(reply: &LocalReply<'_>) {
    /// Has Envoy derive the gRPC status from the HTTP status where it needs one.
    const NO_GRPC_STATUS: i32 = -1;
    let headers = encode_pairs(&reply.headers);
    // SAFETY: every pointer comes from a slice that outlives the call, with that slice's length, and
    // Envoy only reads from them.
    let _ = unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            reply.details.as_ptr(),
            reply.details.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            headers.as_ptr(),
            headers.len(),
            reply.grpc_status.map_or(NO_GRPC_STATUS, i32::from),
        )
    };
}

/// Headers as proxy-wasm passes them.
pub(crate) fn encode_pairs(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    header_map::encode(pairs.iter().map(|(name, value)| (name.as_bytes(), *value)))
}

/// The plugin's configuration; empty when there is none.
fn plugin_configuration() -> Vec<u8> {
    buffer(BufferType::PluginConfiguration, usize::MAX)
}

/// Compiles the plugin's configuration and logs what there is to say about it; `None` when it is
/// refused.
pub fn configure<T>(
    compile: impl FnOnce(&[u8]) -> Result<(T, Vec<Finding>), Rejection>,
) -> Option<T> {
    follow_log_level();
    match compile(&plugin_configuration()) {
        Ok((compiled, notices)) => {
            notices.iter().for_each(|notice| log::warn!("{notice}"));
            Some(compiled)
        }
        Err(rejection) => {
            rejection.errors.iter().for_each(|error| log::error!("{error}"));
            None
        }
    }
}

/// Logs only what Envoy would show, so that nothing is formatted in vain.
fn follow_log_level() {
    let level = hostcalls::get_log_level().unwrap_or(LogLevel::Info);
    log::set_max_level(match level {
        LogLevel::Trace => log::LevelFilter::Trace,
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Error | LogLevel::Critical => log::LevelFilter::Error,
    });
}

/// Declares a note as a text, so that access logs show it as it is and not in base64. Called when
/// the plugin is configured.
pub fn declare_note(name: &str) {
    let arguments = foreign::declare_text(name);
    // A second declaration, by a new configuration in the same VM, is refused and not needed.
    let _ = hostcalls::call_foreign_function(foreign::DECLARE_PROPERTY, Some(&arguments));
}

/// A counter of this name, `wasmcustom.NAME` in Envoy's statistics.
pub fn counter(name: &'static str) -> Counter {
    Counter(metric(MetricType::Counter, name))
}

/// A gauge of this name, `wasmcustom.NAME` in Envoy's statistics.
pub fn gauge(name: &'static str) -> Gauge {
    Gauge(metric(MetricType::Gauge, name))
}

/// Defines a metric once per VM: every definition of a name takes memory in Envoy that is never
/// given back.
fn metric(kind: MetricType, name: &'static str) -> u32 {
    thread_local! {
        static DEFINED: RefCell<HashMap<&'static str, u32>> = RefCell::default();
    }
    DEFINED.with_borrow_mut(|defined| {
        *defined.entry(name).or_insert_with(|| {
            // An id that Envoy does not know: increments of it are errors and of no effect.
            hostcalls::define_metric(kind, name).unwrap_or(u32::MAX)
        })
    })
}

/// Has `on_tick` called once `wait`, in whole milliseconds, has passed, and again in that period.
/// `None` turns it off. Of all timers of a plugin on a worker there is only this one.
pub fn set_timer(wait: Option<Duration>) {
    // At least one: 0 would turn the timer off.
    let wait = wait.map(|wait| Duration::from_millis(wait_milliseconds(wait)));
    let _ = hostcalls::set_tick_period(wait.unwrap_or_default());
}

fn wait_milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX))
}

unsafe extern "C" {
    safe fn proxy_on_response_body(context: u32, size: usize, is_end: bool) -> Action;
}

/// The response's body, with the one answer that the SDK does not have: a pause in which Envoy holds
/// the upstream back when its buffer is full (`StopIterationAndWatermark`). In the SDK's own pause
/// Envoy gathers the body up to its limit and then fails the response.
///
/// The build puts it in the place of the SDK's callback in modules that list it.
#[unsafe(no_mangle)]
pub extern "C" fn sluice_on_response_body(context: u32, size: usize, is_end: bool) -> u32 {
    match proxy_on_response_body(context, size, is_end) {
        Action::Pause => 2,
        _ => 0,
    }
}

/// What the stream is whose context is being created: a request, or a connection of a network filter.
///
/// Envoy does not say which of the two kinds of filter a module stands in. But a request has a protocol
/// from its start, and a connection never has one.
pub fn context_type() -> ContextType {
    match Envoy.property(&["request", "protocol"]) {
        Some(_) => ContextType::HttpContext,
        None => ContextType::StreamContext,
    }
}

/// Makes calls be about the stream or plugin `context`, until the current callback returns. False
/// when there is none of this id any more.
pub fn enter(context: u32) -> bool {
    hostcalls::set_effective_context(context).is_ok()
}
