//! The key-value store that all workers of an Envoy share: proxy-wasm's shared data.
//!
//! It belongs to the `vm_id` and lasts as long as there is a VM with it. Keys are never dropped, and any
//! worker may write at any time: so a value is replaced only where it is still the one that was read.

use crate::host::Host;

/// Tells one value of a key from those before and after it. A key that is missing has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// A value as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The bytes
    pub value: Vec<u8>,
    /// Which value it is
    pub version: Version,
}

/// The store. Nothing in it panics; what Envoy refuses is as if another worker had been faster.
pub trait SharedData: Host {
    /// The value of a key; `None` when it never had one.
    fn stored(&self, key: &[u8]) -> Option<Stored>;

    /// Replaces the value of a key if it is still that of `version`, or missing where that is `None`.
    /// False when it was not, and nothing was done.
    fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool;

    /// Sets the value of a key, whatever it is. It gets a version of its own also when the bytes are
    /// the same.
    fn overwrite(&self, key: &[u8], value: &[u8]);
}

#[cfg(target_family = "wasm")]
mod envoy {
    use proxy_wasm::types::Status;

    use super::{SharedData, Stored, Version};
    use crate::envoy::Envoy;

    /// No value has this version, as it takes 2^32 writes to get there. Envoy's 0 would be a write
    /// without a condition; a key that is missing is set whatever the version.
    const MISSING: u32 = u32::MAX;

    // Not through the SDK, which panics on every status that it does not expect, and whose keys are
    // strings.
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
            version: *mut u32,
        ) -> Status;

        fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            version: u32,
        ) -> Status;
    }

    impl SharedData for Envoy {
        fn stored(&self, key: &[u8]) -> Option<Stored> {
            let (mut data, mut size, mut version) = (std::ptr::null_mut(), 0, 0);
            // SAFETY: the key is a slice that outlives the call, and Envoy only reads from it; it
            // writes the other three.
            let status = unsafe {
                proxy_get_shared_data(
                    key.as_ptr(),
                    key.len(),
                    &raw mut data,
                    &raw mut size,
                    &raw mut version,
                )
            };
            if status != Status::Ok {
                return None;
            }
            let value = if data.is_null() {
                Vec::new()
            } else {
                // SAFETY: Envoy allocated it for the module, with the module's allocator
                // (`proxy_on_memory_allocate`), with exactly this size, and gives it away.
                unsafe { Vec::from_raw_parts(data, size, size) }
            };
            Some(Stored { value, version: Version(version) })
        }

        fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool {
            set(key, value, version.map_or(MISSING, |version| version.0)) == Status::Ok
        }

        fn overwrite(&self, key: &[u8], value: &[u8]) {
            let _ = set(key, value, 0);
        }
    }

    fn set(key: &[u8], value: &[u8], version: u32) -> Status {
        // SAFETY: both pointers come from slices that outlive the call, with their lengths, and Envoy
        // only reads from them.
        unsafe {
            proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
        }
    }
}
