//! The key-value store of all workers: memory of the process.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::native::envoy::Envoy;
use crate::shared_data::{SharedData, Stored, Version};

static STORE: LazyLock<Mutex<HashMap<Vec<u8>, Stored>>> = LazyLock::new(Mutex::default);

fn store() -> MutexGuard<'static, HashMap<Vec<u8>, Stored>> {
    // A value is replaced as a whole, so a panic leaves none half written.
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The version after another one.
fn next(version: Option<Version>) -> Version {
    Version(version.map_or(0, |Version(number)| number.wrapping_add(1)))
}

impl SharedData for Envoy {
    fn stored(&self, key: &[u8]) -> Option<Stored> {
        store().get(key).cloned()
    }

    fn replace(&self, key: &[u8], value: &[u8], version: Option<Version>) -> bool {
        let mut store = store();
        if store.get(key).map(|stored| stored.version) != version {
            return false;
        }
        store.insert(key.to_vec(), Stored { value: value.to_vec(), version: next(version) });
        true
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) {
        let mut store = store();
        let version = store.get(key).map(|stored| stored.version);
        store.insert(key.to_vec(), Stored { value: value.to_vec(), version: next(version) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_that_was_read_is_replaced() {
        let key = b"only_the_version_that_was_read_is_replaced";
        assert!(Envoy.stored(key).is_none());
        assert!(!Envoy.replace(key, b"x", Some(Version(0))), "it is missing");
        assert!(Envoy.replace(key, b"first", None));
        assert!(!Envoy.replace(key, b"x", None), "it is not missing any more");
        let first = Envoy.stored(key).unwrap();
        assert_eq!(first.value, b"first");
        Envoy.overwrite(key, b"first");
        assert!(!Envoy.replace(key, b"x", Some(first.version)), "the same bytes, but later");
        let second = Envoy.stored(key).unwrap();
        assert!(Envoy.replace(key, b"second", Some(second.version)));
        assert_eq!(Envoy.stored(key).unwrap().value, b"second");
    }
}
