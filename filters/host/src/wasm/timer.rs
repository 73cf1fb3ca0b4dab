//! The timer of the plugins, which their filters and their calls share.

use std::cell::Cell;
use std::time::Duration;

use crate::wasm::abi;

/// As soon as possible.
const NEXT_TICK: Duration = Duration::from_millis(1);

thread_local! {
    /// Number of calls that all plugins have yet to send. Modules that set a timer but make no
    /// calls contain only this.
    static WAITING_CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Adds calls to those that are waiting.
pub(crate) fn add_calls(count: usize) {
    WAITING_CALLS.set(WAITING_CALLS.get().saturating_add(count));
}

/// Removes calls from those that are waiting.
pub(crate) fn remove_calls(count: usize) {
    WAITING_CALLS.set(WAITING_CALLS.get().saturating_sub(count));
}

/// Sets the timer. It expires in the next tick if calls are waiting.
pub(crate) fn set(wait: Option<Duration>) {
    let wait = if WAITING_CALLS.get() == 0 { wait } else { Some(NEXT_TICK) };
    let milliseconds = |wait: Duration| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    // 0 would turn the timer off.
    abi::set_timer_period(wait.map_or(0, |wait| milliseconds(wait).max(1)));
}
