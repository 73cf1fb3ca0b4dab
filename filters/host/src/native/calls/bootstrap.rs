//! A safe function for each call into Envoy of a bootstrap extension. See [`super`] for what makes
//! them safe.

use std::ffi::c_void;
use std::{ptr, slice};

use smallvec::SmallVec;

use crate::http::{CallFailure, Headers};
use crate::native::abi::bootstrap::*;
use crate::native::abi::{Buffer, Header};
use crate::native::calls::{Handle, Scheduler, Views, bytes, define, views};

pub use crate::native::abi::bootstrap::Completed;

/// The scheduler of an extension, whose hook runs on the main thread.
pub fn scheduler(extension: Handle) -> Scheduler {
    // SAFETY: the extension's hook runs.
    let pointer = unsafe {
        envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_new(extension.0)
    };
    Scheduler {
        pointer,
        commit: envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_commit,
        delete: envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_delete,
    }
}

/// Lets Envoy go on with its start, which waits for each extension.
pub fn complete_start(extension: Handle) {
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_bootstrap_extension_config_signal_init_complete(extension.0);
    }
}

/// Lets Envoy go on with its end, which waits for each extension.
pub fn complete_shutdown(completed: Completed, context: *mut c_void) {
    if let Some(completed) = completed {
        // SAFETY: Envoy has given the function and its argument to the hook that runs.
        unsafe { completed(context) };
    }
}

/// Defines a counter of an extension, and returns its number.
pub fn define_counter(extension: Handle, name: &str) -> Option<u32> {
    let function = envoy_dynamic_module_callback_bootstrap_extension_config_define_counter;
    define(function, extension, name)
}

/// Defines a histogram of an extension, and returns its number.
pub fn define_histogram(extension: Handle, name: &str) -> Option<u32> {
    let function = envoy_dynamic_module_callback_bootstrap_extension_config_define_histogram;
    define(function, extension, name)
}

/// Adds one to a counter of an extension.
pub fn increment_counter(extension: Handle, counter: u32) {
    let id = counter as usize;
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_bootstrap_extension_config_increment_counter(
            extension.0,
            id,
            ptr::null(),
            0,
            1,
        )
    };
}

/// Adds a value to a histogram of an extension.
pub fn record(extension: Handle, histogram: u32, value: u64) {
    let id = histogram as usize;
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_bootstrap_extension_config_record_histogram_value(
            extension.0,
            id,
            ptr::null(),
            0,
            value,
        )
    };
}

/// Sends a request, and returns the number by which Envoy names it in the hook with its answer. If
/// Envoy fails the request at once, it may call that hook before this function returns, and with a
/// number that it does not return.
pub fn call(
    extension: Handle,
    cluster: &str,
    headers: &Headers,
    body: &[u8],
    timeout_ms: u64,
) -> Result<u64, CallFailure> {
    const SUCCESS: u32 = 0;
    const CLUSTER_NOT_FOUND: u32 = 2;
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
    let headers = views(&headers.collect::<Vec<_>>());
    let (start, count) = (headers.as_ptr(), headers.len());
    let (cluster, body) = (Buffer::of(cluster.as_bytes()), Buffer::of(body));
    let mut call = 0;
    // SAFETY: see above; Envoy copies all that it keeps.
    let result = unsafe {
        envoy_dynamic_module_callback_bootstrap_extension_http_callout(
            extension.0,
            &raw mut call,
            cluster,
            start,
            count,
            body,
            timeout_ms,
        )
    };
    match result {
        SUCCESS => Ok(call),
        CLUSTER_NOT_FOUND => Err(CallFailure::UnknownCluster),
        _ => Err(CallFailure::Failed),
    }
}

/// Returns the headers that Envoy has passed to a hook.
pub fn copied_headers(start: *const Header, count: usize) -> Headers {
    Views(SmallVec::from_slice(elements(start, count))).to_owned()
}

/// Returns the first bytes of a body that Envoy has passed to a hook in pieces, up to `max`, and
/// the length of the whole body.
pub fn copied_body(start: *const Buffer, count: usize, max: usize) -> (Vec<u8>, usize) {
    let (mut copied, mut size) = (Vec::new(), 0_usize);
    for piece in elements(start, count) {
        size = size.saturating_add(piece.length);
        // SAFETY: the hook runs.
        let piece = unsafe { bytes(*piece) };
        copied.extend(piece.iter().take(max.saturating_sub(copied.len())));
    }
    (copied, size)
}

/// The array that Envoy has passed to a hook.
fn elements<'a, T>(start: *const T, count: usize) -> &'a [T] {
    match start.is_null() || count == 0 {
        true => &[],
        // SAFETY: the hook runs, and Envoy has as many elements as it says.
        false => unsafe { slice::from_raw_parts(start, count) },
    }
}
