//! The stream that calls into Envoy apply to: that of the hook which runs on this thread, or the
//! one that it has entered.

use std::cell::Cell;

use crate::native::calls::Handle;

/// A stream of this thread.
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

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// Returns the current stream.
#[inline]
pub fn get() -> Option<Current> {
    CURRENT.get()
}

/// Returns the handle of the current stream.
#[inline]
pub fn handle() -> Option<Handle> {
    CURRENT.get().map(|current| current.handle)
}

/// Runs a hook of a stream. The hook may be inside of another one, whose stream is the current one
/// again at the end, also if the hook panics.
#[inline]
pub fn run<T>(stream: Current, hook: impl FnOnce() -> T) -> T {
    let _outer = Outer(CURRENT.replace(Some(stream)));
    hook()
}

/// The current stream before a hook, which is set again at the end.
struct Outer(Option<Current>);

impl Drop for Outer {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Makes another stream the current one, until the hook ends.
pub fn set(stream: Current) {
    CURRENT.set(Some(stream));
}

/// Notes whether the request was edited since Envoy last chose its route. Returns the old value.
#[inline]
pub fn set_edited(is_edited: bool) -> bool {
    let Some(current) = CURRENT.get() else { return false };
    CURRENT.set(Some(Current { is_edited, ..current }));
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
}
