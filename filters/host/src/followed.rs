//! Streams whose bodies, trailers and logs matter to the filter.
//!
//! Envoy calls a module for each of them on every stream. Hosts may leave out the callbacks as long
//! as no stream of the worker is followed.

use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// A followed stream: from the creation of this value until its end, the stream gets the callbacks
/// for its bodies, the trailers of its response, and its log.
#[derive(Debug)]
pub struct Followed(());

impl Followed {
    /// Follows a stream.
    pub fn begin() -> Self {
        COUNT.set(COUNT.get().saturating_add(1));
        Self(())
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        COUNT.set(COUNT.get().saturating_sub(1));
    }
}

/// Returns whether any stream of the worker is followed.
pub fn is_any() -> bool {
    COUNT.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_followed_until_the_last_one_ends() {
        assert!(!is_any());
        let (first, second) = (Followed::begin(), Followed::begin());
        drop(first);
        assert!(is_any());
        drop(second);
        assert!(!is_any());
    }
}
