//! The foreign functions of a module, with a safe function for each: those of the proxy-wasm ABI
//! 0.2.1 that Sluice calls, WASI's clock, and the SDK's callbacks.
//!
//! In place of these functions the SDK has some that panic when Envoy returns a status which they
//! do not expect, or on bytes which are not UTF-8. Here a call that fails has no effect.

#![expect(unsafe_code, reason = "foreign functions")]

use proxy_wasm::types::{Action, BufferType, LogLevel, MapType, MetricType, StreamType};

/// What a function of the ABI returns. It is no enum, as Envoy may return any number.
pub(crate) type Status = u32;

const OK: Status = 0;
/// The status of a call to a cluster that Envoy does not know, among other errors.
pub(crate) const BAD_ARGUMENT: Status = 2;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    safe fn proxy_close_stream(stream: StreamType) -> Status;
    safe fn proxy_continue_stream(stream: StreamType) -> Status;
    safe fn proxy_increment_metric(metric: u32, by: i64) -> Status;
    /// Adds a value to a histogram.
    pub(crate) safe fn proxy_record_metric(metric: u32, value: u64) -> Status;
    safe fn proxy_set_effective_context(context: u32) -> Status;
    safe fn proxy_set_tick_period_milliseconds(period: u32) -> Status;

    fn proxy_add_header_map_value(
        map: MapType,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        result: *mut *mut u8,
        result_size: *mut usize,
    ) -> Status;
    fn proxy_define_metric(
        kind: MetricType,
        name: *const u8,
        name_size: usize,
        metric: *mut u32,
    ) -> Status;
    fn proxy_get_buffer_bytes(
        buffer: BufferType,
        start: usize,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_get_header_map_value(
        map: MapType,
        name: *const u8,
        name_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> Status;
    fn proxy_get_log_level(level: *mut u32) -> Status;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> Status;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
        version: *mut u32,
    ) -> Status;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_milliseconds: u32,
        token: *mut u32,
    ) -> Status;
    fn proxy_log(level: LogLevel, message: *const u8, message_size: usize) -> Status;
    fn proxy_remove_header_map_value(map: MapType, name: *const u8, name_size: usize) -> Status;
    fn proxy_replace_header_map_value(
        map: MapType,
        name: *const u8,
        name_size: usize,
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
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> Status;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanoseconds: *mut u64) -> u32;
    fn random_get(bytes: *mut u8, size: usize) -> u32;
}

// The SDK's callbacks.
unsafe extern "C" {
    pub(crate) safe fn proxy_on_context_create(context: u32, plugin: u32);
    pub(crate) safe fn proxy_on_delete(context: u32);
    pub(crate) safe fn proxy_on_log(context: u32);
    pub(crate) safe fn proxy_on_new_connection(context: u32) -> Action;
    pub(crate) safe fn proxy_on_request_body(context: u32, size: usize, is_end: bool) -> Action;
    pub(crate) safe fn proxy_on_request_headers(context: u32, size: usize, end: bool) -> Action;
    pub(crate) safe fn proxy_on_response_body(context: u32, size: usize, is_end: bool) -> Action;
    pub(crate) safe fn proxy_on_response_trailers(context: u32, count: usize) -> Action;
    pub(crate) safe fn proxy_on_tick(plugin: u32);
}

/// Exports a function under its own name. The build puts a function `sluice_on_NAME` in the place
/// of the SDK's callback `proxy_on_NAME` in modules that list it.
macro_rules! callback {
    (
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),+ $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$attribute])*
        // SAFETY: no other function has a name that begins with `sluice_on_`.
        #[expect(unsafe_code)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $type),+) $(-> $result)? $body
    };
}
pub(crate) use callback;

/// Calls a function that returns bytes: it writes their address and length to the two pointers.
/// Takes ownership of the bytes. A null pointer is no bytes.
///
/// # Safety
/// If `call` returns [`OK`], then the address is null, or Envoy has allocated the bytes with this
/// length by `proxy_on_memory_allocate`.
unsafe fn received(
    call: impl FnOnce(*mut *mut u8, *mut usize) -> Status,
) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    match call(&raw mut data, &raw mut size) {
        OK if data.is_null() => Ok(Vec::new()),
        // SAFETY: the SDK's `proxy_on_memory_allocate` makes a boxed slice of this length with the
        // module's allocator, and Envoy keeps no pointer to it.
        OK => Ok(unsafe { Vec::from_raw_parts(data, size, size) }),
        status => Err(status),
    }
}

// SAFETY of all calls below: each pointer to data comes from a slice that outlives the call, with
// the slice's length, and Envoy only reads from it. The other pointers are those of `received`, or
// point to a local variable that Envoy writes.

/// Adds a header.
pub(crate) fn add_header(map: MapType, name: &str, value: &[u8]) {
    // SAFETY: see above.
    unsafe {
        proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len());
    }
}

/// Removes all values of a header.
pub(crate) fn remove_header(map: MapType, name: &str) {
    // SAFETY: see above.
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
}

/// Replaces all values of a header.
pub(crate) fn replace_header(map: MapType, name: &str, value: &[u8]) {
    // SAFETY: see above.
    unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len());
    }
}

/// Returns the first value of a header.
pub(crate) fn header(map: MapType, name: &str) -> Option<Vec<u8>> {
    // SAFETY: see above.
    let value = unsafe {
        received(|value, size| {
            proxy_get_header_map_value(map, name.as_ptr(), name.len(), value, size)
        })
    };
    value.ok()
}

/// Returns a header map in its encoding; empty if there is no such map in this phase.
pub(crate) fn encoded_headers(map: MapType) -> Vec<u8> {
    // SAFETY: see above.
    let headers = unsafe { received(|data, size| proxy_get_header_map_pairs(map, data, size)) };
    headers.unwrap_or_default()
}

/// Returns up to `length` bytes of a buffer, from `start` on.
pub(crate) fn buffer(buffer: BufferType, start: usize, length: usize) -> Vec<u8> {
    // SAFETY: see above.
    let bytes =
        unsafe { received(|data, size| proxy_get_buffer_bytes(buffer, start, length, data, size)) };
    bytes.unwrap_or_default()
}

/// Returns an attribute, or `None` if it is absent or empty. The parts of `path` have a zero byte
/// between them.
pub(crate) fn property(path: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: see above.
    let value = unsafe {
        received(|value, size| proxy_get_property(path.as_ptr(), path.len(), value, size))
    };
    value.ok().filter(|value| !value.is_empty())
}

/// Sets the filter state `wasm.NAME`.
pub(crate) fn set_property(name: &str, value: &[u8]) {
    // SAFETY: see above.
    unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Returns a value of the shared data with its version.
pub(crate) fn shared_data(key: &[u8]) -> Option<(Vec<u8>, u32)> {
    let mut version = 0;
    // SAFETY: see above.
    let value = unsafe {
        received(|value, size| {
            proxy_get_shared_data(key.as_ptr(), key.len(), value, size, &raw mut version)
        })
    };
    Some((value.ok()?, version))
}

/// Sets a value of the shared data if it still has this version. 0 stands for any version. Returns
/// false if it was not set.
pub(crate) fn set_shared_data(key: &[u8], value: &[u8], version: u32) -> bool {
    // SAFETY: see above.
    let status = unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
    };
    status == OK
}

/// Sends a response. `headers` are encoded.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    body: &[u8],
    headers: &[u8],
    grpc_status: Option<u8>,
) {
    /// Lets Envoy derive the gRPC status from the HTTP status.
    const NO_GRPC_STATUS: i32 = -1;
    // SAFETY: see above.
    unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.map_or(NO_GRPC_STATUS, i32::from),
        );
    }
}

/// Sends a request and returns the token of its answer. `headers` and `trailers` are encoded.
pub(crate) fn http_call(
    cluster: &str,
    headers: &[u8],
    body: &[u8],
    trailers: &[u8],
    timeout_milliseconds: u32,
) -> Result<u32, Status> {
    let mut token = 0;
    // SAFETY: see above.
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_milliseconds,
            &raw mut token,
        )
    };
    if status == OK { Ok(token) } else { Err(status) }
}

/// Calls a foreign function of Envoy. Returns false if it fails.
pub(crate) fn call_foreign_function(name: &str, arguments: &[u8]) -> bool {
    // SAFETY: see above.
    let result = unsafe {
        received(|result, size| {
            proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                arguments.as_ptr(),
                arguments.len(),
                result,
                size,
            )
        })
    };
    result.is_ok()
}

/// Defines a metric and returns its number.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
    let mut metric = 0;
    // SAFETY: see above.
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut metric) };
    (status == OK).then_some(metric)
}

/// Adds a number to a metric.
pub(crate) fn increment_metric(metric: u32, by: i64) {
    proxy_increment_metric(metric, by);
}

/// Returns the most verbose level that Envoy's log shows, as a number of the ABI.
pub(crate) fn log_level() -> Option<u32> {
    let mut level = 0;
    // SAFETY: see above.
    let status = unsafe { proxy_get_log_level(&raw mut level) };
    (status == OK).then_some(level)
}

/// Returns the nanoseconds of one of WASI's clocks.
pub(crate) fn nanoseconds(clock: u32) -> Option<u64> {
    let mut nanoseconds = 0;
    // SAFETY: see above.
    let status = unsafe { clock_time_get(clock, 1, &raw mut nanoseconds) };
    (status == OK).then_some(nanoseconds)
}

/// Returns whether Envoy gives random numbers.
pub(crate) fn has_random_numbers() -> bool {
    let mut byte = 0;
    // SAFETY: see above.
    unsafe { random_get(&raw mut byte, 1) == OK }
}

/// Writes a line to Envoy's log.
pub(crate) fn log(level: LogLevel, message: &str) {
    // SAFETY: see above.
    unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

/// Resumes a paused stream.
pub(crate) fn resume(stream: StreamType) {
    proxy_continue_stream(stream);
}

/// Closes or resets a stream.
pub(crate) fn close(stream: StreamType) {
    proxy_close_stream(stream);
}

/// Makes the next calls apply to another context, until the current callback returns. Returns false
/// if there is no such context.
pub(crate) fn enter(context: u32) -> bool {
    proxy_set_effective_context(context) == OK
}

/// Sets the timer's period. 0 turns the timer off.
pub(crate) fn set_timer_period(milliseconds: u32) {
    proxy_set_tick_period_milliseconds(milliseconds);
}
