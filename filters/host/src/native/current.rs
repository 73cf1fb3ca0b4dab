//! The request or connection that calls into Envoy apply to: that of the hook which runs on this
//! thread, or the one that it has entered.

use std::cell::Cell;

use crate::native::calls::Handle;
use crate::native::calls::network::ConnectionHandle;

/// A request of this thread.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    /// Its number in this thread
    pub id: u32,
    /// Its handle
    pub handle: Handle,
    /// Whether it is known to be in a listener, and not in a cluster
    pub is_in_listener: bool,
    /// Whether its request was edited since Envoy last chose the route
    is_edited: bool,
}

impl Current {
    /// A stream whose hook begins.
    pub fn new(id: u32, handle: Handle, is_in_listener: bool) -> Self {
        Self { id, handle, is_in_listener, is_edited: false }
    }
}

/// A connection of this thread.
#[derive(Clone, Copy, Debug)]
pub struct CurrentConnection {
    /// Its number in this thread
    pub id: u32,
    /// Its handle
    pub handle: ConnectionHandle,
    /// Whether the hook for bytes from the client runs
    pub is_reading: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Request(Current),
    Connection(CurrentConnection),
}

thread_local! {
    static CURRENT: Cell<Option<Kind>> = const { Cell::new(None) };
}

/// Returns the current request. `None` in a hook of a connection.
#[inline]
pub fn get() -> Option<Current> {
    match CURRENT.get() {
        Some(Kind::Request(current)) => Some(current),
        _ => None,
    }
}

/// Returns the handle of the current request. `None` in a hook of a connection.
#[inline]
pub fn handle() -> Option<Handle> {
    get().map(|current| current.handle)
}

/// Returns the current connection. `None` in a hook of a request.
pub fn connection() -> Option<CurrentConnection> {
    match CURRENT.get() {
        Some(Kind::Connection(current)) => Some(current),
        _ => None,
    }
}

/// Runs a hook of a request. The hook may be inside of another one, whose stream is the current one
/// again at the end, also if the hook panics.
#[inline]
pub fn run<T>(stream: Current, hook: impl FnOnce() -> T) -> T {
    run_kind(Some(Kind::Request(stream)), hook)
}

/// Runs a hook of a connection, in the same way.
pub fn run_connection<T>(connection: CurrentConnection, hook: impl FnOnce() -> T) -> T {
    run_kind(Some(Kind::Connection(connection)), hook)
}

/// Runs a hook in which calls about a request or connection have no effect, in the same way.
pub fn run_alone<T>(hook: impl FnOnce() -> T) -> T {
    run_kind(None, hook)
}

#[inline]
fn run_kind<T>(kind: Option<Kind>, hook: impl FnOnce() -> T) -> T {
    let _outer = Outer(CURRENT.replace(kind));
    hook()
}

/// The current stream before a hook, which is set again at the end.
struct Outer(Option<Kind>);

impl Drop for Outer {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Makes another request the current stream, until the hook ends.
pub fn set(stream: Current) {
    CURRENT.set(Some(Kind::Request(stream)));
}

/// Makes another connection the current one, until the hook ends.
pub fn set_connection(connection: CurrentConnection) {
    CURRENT.set(Some(Kind::Connection(connection)));
}

/// Notes whether the request was edited since Envoy last chose its route. Returns the old value.
#[inline]
pub fn set_edited(is_edited: bool) -> bool {
    let Some(current) = get() else { return false };
    set(Current { is_edited, ..current });
    current.is_edited
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::ptr;

    use super::*;

    #[test]
    fn the_outer_stream_is_current_again_after_a_panic() {
        let stream = |id| Current::new(id, Handle::new(ptr::null_mut()), false);
        let id = || get().map(|current| current.id);
        run(stream(1), || {
            let result = catch_unwind(|| run(stream(2), || panic!("in the inner hook")));
            assert!(result.is_err());
            assert_eq!(id(), Some(1));
        });
        assert_eq!(id(), None);
    }

    #[test]
    fn a_hook_has_the_calls_of_its_own_kind() {
        let request = Current::new(1, Handle::new(ptr::null_mut()), false);
        let handle = ConnectionHandle::new(ptr::null_mut());
        let connection_2 = CurrentConnection { id: 2, handle, is_reading: false };
        let ids = || (get().map(|own| own.id), connection().map(|own| own.id));
        // Envoy calls filters of requests while a network filter resumes a connection.
        run_connection(connection_2, || {
            assert_eq!(ids(), (None, Some(2)));
            assert!(!set_edited(true), "it is no request");
            run(request, || {
                assert_eq!(ids(), (Some(1), None));
                run_alone(|| assert_eq!(ids(), (None, None)));
                set_connection(CurrentConnection { id: 3, ..connection_2 });
                assert_eq!(ids(), (None, Some(3)));
            });
            assert_eq!(ids(), (None, Some(2)));
            set(request);
            assert_eq!(ids(), (Some(1), None));
        });
        assert_eq!(ids(), (None, None));
    }
}
