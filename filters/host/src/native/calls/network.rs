//! The calls into Envoy about a connection.

use std::ffi::c_void;

use super::{Scheduler, bytes, received};
use crate::native::abi::Buffer;
use crate::native::abi::network::*;

/// What Envoy gives a hook for a connection. It is passed on to Envoy only, by which it is valid
/// until the connection is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionHandle(*mut c_void);

impl ConnectionHandle {
    /// The handle that a hook has got.
    pub fn new(pointer: *mut c_void) -> Self {
        Self(pointer)
    }
}

// SAFETY of all calls below: as in `calls`. A handle comes from the hook that runs, or is that of
// another connection of the same thread that has not ended.

/// The scheduler of a connection. `None` if the connection ends.
pub fn scheduler(connection: ConnectionHandle) -> Option<Scheduler> {
    // SAFETY: see above.
    let pointer =
        unsafe { envoy_dynamic_module_callback_network_filter_scheduler_new(connection.0) };
    (!pointer.is_null()).then_some(Scheduler {
        pointer,
        commit: envoy_dynamic_module_callback_network_filter_scheduler_commit,
        delete: envoy_dynamic_module_callback_network_filter_scheduler_delete,
    })
}

/// Adds one to a counter of the connection's configuration.
pub fn increment_counter(connection: ConnectionHandle, counter: u32) {
    let (connection, id) = (connection.0, counter as usize);
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_network_filter_increment_counter(connection, id, 1);
    }
}

/// Adds a number to a gauge of the connection's configuration.
pub fn change_gauge(connection: ConnectionHandle, gauge: u32, by: i64) {
    let change: Increment = match by >= 0 {
        true => envoy_dynamic_module_callback_network_filter_increment_gauge,
        false => envoy_dynamic_module_callback_network_filter_decrement_gauge,
    };
    // SAFETY: see above.
    unsafe { change(connection.0, gauge as usize, by.unsigned_abs()) };
}

/// Adds a value to a histogram of the connection's configuration.
pub fn record(connection: ConnectionHandle, histogram: u32, value: u64) {
    let (connection, id) = (connection.0, histogram as usize);
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_network_filter_record_histogram_value(connection, id, value);
    }
}

/// Returns the IP address of the client with its port.
pub fn source(connection: ConnectionHandle) -> Option<(Vec<u8>, u32)> {
    address(envoy_dynamic_module_callback_network_filter_get_remote_address, connection)
}

/// Returns the IP address that the client has connected to, with its port.
pub fn destination(connection: ConnectionHandle) -> Option<(Vec<u8>, u32)> {
    address(envoy_dynamic_module_callback_network_filter_get_local_address, connection)
}

fn address(function: Address, connection: ConnectionHandle) -> Option<(Vec<u8>, u32)> {
    let mut port = 0;
    // SAFETY: see above.
    let ip = received(|ip| unsafe { function(connection.0, ip, &raw mut port) })?;
    Some((ip, port))
}

/// Returns the server name that the client has requested.
pub fn server_name(connection: ConnectionHandle) -> Option<Vec<u8>> {
    // SAFETY: see above.
    received(|name| unsafe {
        envoy_dynamic_module_callback_network_filter_get_requested_server_name(connection.0, name)
    })
}

/// Returns whether Envoy terminates the TLS of the connection.
pub fn is_tls(connection: ConnectionHandle) -> bool {
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_network_filter_is_ssl(connection.0) }
}

/// Returns bytes from the client that have not been passed on, from `start` and at most `length` of
/// them. The hook for such bytes must run.
pub fn data(connection: ConnectionHandle, start: usize, length: usize) -> Vec<u8> {
    // SAFETY: see above; the array has room for as many as there are.
    unsafe {
        let connection = connection.0;
        let count =
            envoy_dynamic_module_callback_network_filter_get_read_buffer_chunks_size(connection);
        let mut pieces = vec![Buffer::EMPTY; count];
        let first = pieces.as_mut_ptr();
        match envoy_dynamic_module_callback_network_filter_get_read_buffer_chunks(connection, first)
        {
            true => part(pieces.into_iter().map(|piece| bytes(piece)), start, length),
            false => Vec::new(),
        }
    }
}

/// A part of what pieces contain together.
fn part<'a>(pieces: impl Iterator<Item = &'a [u8]>, start: usize, length: usize) -> Vec<u8> {
    let (mut part, mut skipped) = (Vec::new(), start);
    for piece in pieces {
        let rest = piece.get(skipped..).unwrap_or_default();
        skipped = skipped.saturating_sub(piece.len());
        let missing = length.saturating_sub(part.len());
        part.extend_from_slice(rest.get(..missing).unwrap_or(rest));
    }
    part
}

/// Sets a text of the filter state.
pub fn set_note(connection: ConnectionHandle, key: &[u8], text: &str) {
    let (key, text) = (Buffer::of(key), Buffer::of(text.as_bytes()));
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_network_set_filter_state_bytes(connection.0, key, text);
    }
}

/// Returns a text of the filter state.
pub fn note(connection: ConnectionHandle, key: &[u8]) -> Option<Vec<u8>> {
    let key = Buffer::of(key);
    // SAFETY: see above.
    received(|value| unsafe {
        envoy_dynamic_module_callback_network_get_filter_state_bytes(connection.0, key, value)
    })
}

/// Sets a filter state that Envoy knows. Returns whether Envoy accepts it.
pub fn set_filter_state(connection: ConnectionHandle, key: &str, value: &[u8]) -> bool {
    let (key, value) = (Buffer::of(key.as_bytes()), Buffer::of(value));
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_network_set_filter_state_typed(connection.0, key, value)
    }
}

/// Closes a connection. `details` are its termination details in access logs.
pub fn close(connection: ConnectionHandle, close: Close, details: &str) {
    let details = Buffer::of(details.as_bytes());
    // SAFETY: see above.
    unsafe {
        envoy_dynamic_module_callback_network_filter_close_with_details(
            connection.0,
            close,
            details,
        );
    }
}

/// Resumes a connection that was paused.
pub fn resume(connection: ConnectionHandle) {
    // SAFETY: see above.
    unsafe { envoy_dynamic_module_callback_network_filter_continue_reading(connection.0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_may_cross_pieces() {
        let pieces = [&b"ab"[..], b"", b"cde", b"f"];
        let of = |start, length| part(pieces.into_iter(), start, length);
        assert_eq!(of(0, 10), b"abcdef");
        assert_eq!(of(0, 6), b"abcdef");
        assert_eq!(of(1, 3), b"bcd");
        assert_eq!(of(2, 3), b"cde");
        assert_eq!(of(3, usize::MAX), b"def");
        assert_eq!(of(5, 1), b"f");
        assert_eq!(of(6, 1), b"");
        assert_eq!(of(0, 0), b"");
    }
}
