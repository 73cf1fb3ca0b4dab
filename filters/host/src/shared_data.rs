//! The key-value store that all workers of an Envoy share: proxy-wasm's shared data.
//!
//! The store belongs to the `vm_id` and exists as long as a VM with that id does. Keys are never
//! dropped. Any worker may write at any time, so a worker replaces a value only if it is still the
//! one that the worker has read.

use crate::host::Host;

/// Identifies one value of a key among all values that the key has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// A value as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The bytes
    pub value: Vec<u8>,
    /// The version of the value
    pub version: Version,
}

/// The store. No call panics. If Envoy refuses a write, that is treated as a faster write of
/// another worker.
pub trait SharedData: Host {
    /// Returns the value of a key, or `None` if the key was never set.
    fn stored(&self, key: &[u8]) -> Option<Stored>;

    /// Replaces the value of a key if it still has this version, or if it is still missing where
    /// `version` is `None`. Returns false if nothing was replaced.
    fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool;

    /// Sets the value of a key without a condition. The key gets a new version even if the bytes
    /// are the same.
    fn overwrite(&self, key: &[u8], value: &[u8]);
}
