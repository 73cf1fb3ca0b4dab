//! The memory of the VM.

use std::alloc::System;
use std::arch::wasm32;

use cap::Cap;

use crate::host::Memory;

/// The module's allocator: that of the standard library, with a count of the bytes in use.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const PAGE: u64 = 64 << 10;

/// Returns the memory of the VM.
pub(super) fn memory() -> Memory {
    Memory {
        used: ALLOCATOR.allocated() as u64,
        reserved: wasm32::memory_size::<0>() as u64 * PAGE,
    }
}
