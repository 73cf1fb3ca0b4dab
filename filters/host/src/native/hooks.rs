//! The hooks of a dynamic module, which Envoy calls.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;

use crate::filter::{Action, HttpStream};
use crate::followed;
use crate::native::abi::Body;
use crate::native::calls::{self, ConfigurationHandle, Handle, version};
use crate::native::configurations::{self, Key};
use crate::native::filters::NativeFilter;
use crate::native::streams::Stream;
use crate::native::{current, logger, settle, streams};

pub use crate::native::abi::Buffer;

/// The filters that the module contains.
static FILTERS: OnceLock<&'static [&'static dyn NativeFilter]> = OnceLock::new();

/// `Continue`, in every hook.
const CONTINUE: u32 = 0;

/// `StopAllIterationAndWatermark` for headers: the body waits in Envoy's buffer, and the client is
/// slowed down when that is full.
const PAUSE_HEADERS: u32 = 4;

/// `StopIterationAndWatermark` for bodies.
const PAUSE_BODY: u32 = 2;

/// `StopIteration` for trailers.
const PAUSE_TRAILERS: u32 = 1;

/// The filters that the module contains.
pub(super) fn filters() -> &'static [&'static dyn NativeFilter] {
    FILTERS.get().copied().unwrap_or_default()
}

/// Envoy has loaded the module. Returns the version of its ABI.
pub fn program_init(filters: &'static [&'static dyn NativeFilter]) -> *const c_char {
    FILTERS.get_or_init(|| filters);
    logger::install();
    version::abi().as_ptr()
}

/// Envoy has a new configuration. Null refuses it.
pub fn config_new(configuration: *mut c_void, name: Buffer, document: Buffer) -> *const c_void {
    add_configuration(ConfigurationHandle::Http(Handle::new(configuration)), name, document)
}

/// Makes a configuration of the filter with this name. Null refuses it.
pub(super) fn add_configuration(
    configuration: ConfigurationHandle,
    name: Buffer,
    document: Buffer,
) -> *const c_void {
    let make = || {
        let (name, document) = (calls::copied(name), calls::copied(document));
        let is_usable = |filter: &&dyn NativeFilter| match configuration {
            ConfigurationHandle::Http(_) => true,
            ConfigurationHandle::Network(_) => filter.is_network_filter(),
        };
        let filters: Vec<_> = filters().iter().copied().filter(is_usable).collect();
        match filters.iter().find(|filter| filter.name().as_bytes() == name) {
            Some(filter) if lacks_server_name(*filter, configuration) => {
                log::error!(
                    "filter_name: {} requires Envoy 1.39: before, Envoy tells a dynamic module no \
                     server name of a request; use {0}.wasm",
                    filter.name()
                );
                None
            }
            Some(filter) => configurations::add(*filter, &document, configuration),
            None => {
                let known: Vec<_> = filters.iter().map(|filter| filter.name()).collect();
                let kind = match configuration {
                    ConfigurationHandle::Http(_) => "",
                    ConfigurationHandle::Network(_) => "the network filters ",
                };
                let name = String::from_utf8_lossy(&name);
                log::error!("filter_name: {name:?} is none of {kind}{}", known.join(", "));
                None
            }
        }
    };
    // A panic has logged itself.
    let key = catch_unwind(AssertUnwindSafe(make)).ok().flatten();
    key.map_or(ptr::null(), |key| ptr::without_provenance(key as usize))
}

/// Whether a filter of requests needs their server name, and Envoy does not have it.
fn lacks_server_name(filter: &dyn NativeFilter, configuration: ConfigurationHandle) -> bool {
    matches!(configuration, ConfigurationHandle::Http(_))
        && filter.reads_server_name_of_requests()
        && !version::has_server_name_of_requests()
}

/// A configuration is not used any more.
pub fn config_destroy(configuration: *const c_void) {
    let _ = catch_unwind(|| configurations::remove(configuration.addr() as Key));
}

/// A route has a configuration for the filter. Null refuses it.
pub fn per_route_config_new() -> *const c_void {
    log::error!("the filter has no configuration for a route: give it the rules of all routes");
    ptr::null()
}

/// The address in place of a stream that could not be made. For null, Envoy before 1.40 would let
/// the request pass without its filter.
const FAILED: usize = usize::MAX;

/// The address of a stream that was made, by its number.
pub(super) fn address(made: Option<u32>) -> *const c_void {
    // Numbers begin with 0, which would be the null pointer.
    ptr::without_provenance(made.map_or(FAILED, |id| id as usize + 1))
}

/// A request begins.
pub fn filter_new(configuration: *const c_void, stream: *mut c_void) -> *const c_void {
    let (key, handle) = (configuration.addr() as Key, Handle::new(stream));
    let made = catch_unwind(AssertUnwindSafe(|| streams::add(key, handle)));
    address(made.unwrap_or_else(|_| {
        count_panic(handle, configurations::panics(key));
        None
    }))
}

/// The number of a stream, by its address.
pub(super) fn number(stream: *const c_void) -> u32 {
    u32::try_from(stream.addr().wrapping_sub(1)).unwrap_or(u32::MAX)
}

/// Runs a hook of a stream, unless one has panicked before. If this one panics, the stream fails,
/// and `paused` is returned.
fn run(
    stream: *const c_void,
    paused: u32,
    hook: impl FnOnce(&Stream, &dyn HttpStream) -> u32,
) -> u32 {
    let Some(stream) = streams::get(number(stream)) else { return CONTINUE };
    let Some(request) = stream.request.as_deref().filter(|_| !stream.has_failed.get()) else {
        return CONTINUE;
    };
    current::run(stream.current, || {
        let hook = || {
            let result = hook(&stream, request);
            settle::settle();
            result
        };
        catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|_| {
            fail(&stream);
            paused
        })
    })
}

/// Fails the current stream after a panic: answers its request with 500. If the response has begun,
/// Envoy resets the stream instead. `hook` is the stream whose hook has panicked, in which a tick
/// may have entered another one.
#[cold]
fn fail(hook: &Stream) {
    settle::forget_reply();
    count_panic(hook.current.handle, hook.worker.panics);
    let Some(stream) = current::get().and_then(streams::of) else { return };
    // First, as Envoy calls other hooks inside of a reply.
    stream.has_failed.set(true);
    settle::fail(stream.current.handle);
}

#[cold]
fn count_panic(stream: Handle, counter: Option<u32>) {
    if let Some(counter) = counter {
        calls::increment_counter(stream, counter);
    }
}

/// Runs a callback for a stream that has ended, also if one has panicked before: the filter has to
/// forget the stream. There is nothing left to answer.
fn run_end(stream: &Stream, callback: impl FnOnce(&dyn HttpStream)) {
    let Some(request) = stream.request.as_deref() else { return };
    current::run(stream.current, || {
        if catch_unwind(AssertUnwindSafe(|| callback(request))).is_err() {
            stream.has_failed.set(true);
            count_panic(stream.current.handle, stream.worker.panics);
        }
        settle::forget_reply();
    });
}

/// Tells the filter once that a stream has ended.
fn end(stream: &Stream) {
    if stream.request.is_some() && stream.ending.begin() {
        run_end(stream, |request| {
            request.on_end();
            stream.ending.complete();
        });
    }
}

fn status(action: Action, paused: u32) -> u32 {
    match action {
        Action::Continue => CONTINUE,
        Action::Pause => paused,
    }
}

/// The headers of a request have arrived.
pub fn request_headers(envoy: *mut c_void, stream: *const c_void) -> u32 {
    if stream.addr() == FAILED {
        settle::fail(Handle::new(envoy));
        return PAUSE_HEADERS;
    }
    run(stream, PAUSE_HEADERS, |_, request| status(request.on_request_headers(), PAUSE_HEADERS))
}

/// A piece of a request's body has arrived.
pub fn request_body(stream: *const c_void) -> u32 {
    if !followed::is_any() {
        return CONTINUE;
    }
    run(stream, PAUSE_BODY, |stream, request| {
        let size = calls::body_size(stream.current.handle, Body::Request);
        status(request.on_request_body(size), PAUSE_BODY)
    })
}

/// The headers of a response have arrived.
pub fn response_headers(stream: *const c_void, is_end: bool) -> u32 {
    run(stream, PAUSE_HEADERS, |stream, request| {
        stream.has_response.set(is_end);
        status(request.on_response_headers(is_end), PAUSE_HEADERS)
    })
}

/// A piece of a response's body has arrived.
pub fn response_body(stream: *const c_void, is_end: bool) -> u32 {
    if !followed::is_any() {
        return CONTINUE;
    }
    run(stream, PAUSE_BODY, |stream, request| {
        stream.has_response.set(is_end);
        let size = calls::body_size(stream.current.handle, Body::Response);
        status(request.on_response_body(size), PAUSE_BODY)
    })
}

/// The trailers of a response have arrived.
pub fn response_trailers(stream: *const c_void) -> u32 {
    if !followed::is_any() {
        return CONTINUE;
    }
    run(stream, PAUSE_TRAILERS, |stream, request| {
        stream.has_response.set(true);
        status(request.on_response_trailers(), PAUSE_TRAILERS)
    })
}

/// The time of a stream has come.
pub fn scheduled(stream: *const c_void) {
    run(stream, CONTINUE, |stream, _| {
        stream.worker.plugin.on_tick();
        CONTINUE
    });
}

/// A stream has ended, and access logs are written. Envoy still knows everything about it.
pub fn stream_complete(stream: *const c_void) {
    let Some(stream) = streams::get(number(stream)) else { return };
    if followed::is_any() && !stream.has_failed.get() {
        run_end(&stream, |request| request.on_log());
    }
    end(&stream);
}

/// A stream does not exist any more.
pub fn filter_destroy(stream: *const c_void) {
    let number = number(stream);
    if let Some(stream) = streams::get(number) {
        end(&stream);
    }
    let _ = catch_unwind(|| streams::remove(number));
}
