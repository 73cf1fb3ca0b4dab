//! The clocks of the VM. If Envoy refuses to tell the time, it stands still.
//!
//! The clocks of the standard library panic then. Envoy refuses a module the clock if the plugin's
//! `allowed_capabilities` lack it.

use std::cell::Cell;
use std::thread::LocalKey;
use std::time::{Duration, Instant, SystemTime};

use crate::wasm::abi;

/// WASI's clock of the time of day, since 1970.
const REALTIME: u32 = 0;

/// WASI's clock that never goes back. Envoy's is that of the machine.
const MONOTONIC: u32 = 1;

thread_local! {
    /// What the clocks last showed, in nanoseconds
    static LAST_MONOTONIC: Cell<u64> = const { Cell::new(0) };
    static LAST_REALTIME: Cell<u64> = const { Cell::new(0) };

    /// An `Instant`, which only the standard library can make, and the time on the clock
    static START: (Instant, u64) = (Instant::now(), read(MONOTONIC, &LAST_MONOTONIC));
}

fn read(clock: u32, last: &'static LocalKey<Cell<u64>>) -> u64 {
    if let Some(nanoseconds) = abi::nanoseconds(clock) {
        last.set(nanoseconds);
    }
    last.get()
}

/// Returns whether Envoy tells the time. [`now`] may be called only if it did so once.
pub(super) fn is_there() -> bool {
    abi::nanoseconds(MONOTONIC).is_some() && START.try_with(|_| ()).is_ok()
}

/// Returns the time, for measuring durations.
pub(super) fn now() -> Instant {
    let (instant, start) = START.with(|start| *start);
    let passed = read(MONOTONIC, &LAST_MONOTONIC).saturating_sub(start);
    instant.checked_add(Duration::from_nanos(passed)).unwrap_or(instant)
}

/// Returns the time since a moment that all VMs of an Envoy share: its clock is the machine's.
pub(super) fn uptime() -> Duration {
    Duration::from_nanos(read(MONOTONIC, &LAST_MONOTONIC))
}

/// Returns the time of day.
pub(super) fn time_of_day() -> SystemTime {
    let time = Duration::from_nanos(read(REALTIME, &LAST_REALTIME));
    SystemTime::UNIX_EPOCH.checked_add(time).unwrap_or(SystemTime::UNIX_EPOCH)
}
