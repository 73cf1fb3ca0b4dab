//! The hooks of a bootstrap extension, which Envoy calls in its main thread.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::native::calls::{self, Handle};
use crate::native::hooks::filters;
use crate::native::{answers, callouts};

pub use crate::native::abi::{Buffer, Header};
pub use crate::native::calls::bootstrap::Completed;

/// The address of what the module has for an extension. Envoy refuses null.
const OWN: *const c_void = ptr::without_provenance(1);

/// Envoy's configuration has an extension. Null refuses it.
pub fn config_new(extension: *mut c_void, name: Buffer) -> *const c_void {
    let extension = Handle::new(extension);
    let begin = || {
        let is_begun = callouts::begin(extension, &calls::copied(name));
        if is_begun {
            answers::begin(extension, filters());
        }
        is_begun
    };
    // A panic has logged itself.
    match catch_unwind(AssertUnwindSafe(begin)) {
        Ok(true) => OWN,
        Ok(false) | Err(_) => ptr::null(),
    }
}

/// The extension is not used any more: Envoy ends.
pub fn config_destroy() {
    let _ = catch_unwind(callouts::end);
}

/// Envoy makes the extension of a configuration.
pub fn new() -> *const c_void {
    OWN
}

/// Envoy waits until the extension has nothing left to do.
pub fn shutdown(completed: Completed, context: *mut c_void) {
    calls::bootstrap::complete_shutdown(completed, context);
}

/// The scheduler of the extension was used.
pub fn scheduled(extension: *mut c_void) {
    let extension = Handle::new(extension);
    let _ = catch_unwind(AssertUnwindSafe(|| callouts::scheduled(extension)));
}

/// A request of the extension has an answer, or none.
pub fn answered(
    extension: *mut c_void,
    number: u64,
    headers: (*const Header, usize),
    body: (*const Buffer, usize),
) {
    let extension = Handle::new(extension);
    let answered = || callouts::answered(extension, number, headers, body);
    let _ = catch_unwind(AssertUnwindSafe(answered));
}
