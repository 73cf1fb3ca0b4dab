//! Whether a filter knows that its stream has ended.

use std::cell::Cell;

/// The end of a stream for the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// The stream has not ended.
    #[default]
    No,
    /// The filter's callback runs, or has panicked.
    Begun,
    /// The filter has forgotten the stream.
    Complete,
}

/// The end of a stream, of which the filter is told once. Envoy has two hooks for it, and not every
/// stream gets both.
#[derive(Debug, Default)]
pub struct Ending(Cell<End>);

impl Ending {
    /// Returns true when it is called first: the filter's callback begins.
    pub fn begin(&self) -> bool {
        let is_first = self.0.get() == End::No;
        if is_first {
            self.0.set(End::Begun);
        }
        is_first
    }

    /// The filter's callback is over.
    pub fn complete(&self) {
        self.0.set(End::Complete);
    }

    /// Returns whether the filter may still know the stream, because its callback has panicked.
    pub fn has_panicked(&self) -> bool {
        self.0.get() == End::Begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_told_once() {
        let ending = Ending::default();
        assert!(!ending.has_panicked());
        assert!(ending.begin());
        ending.complete();
        // The second hook.
        assert!(!ending.begin());
        assert!(!ending.has_panicked(), "the stream is forgotten, also after the second hook");
    }

    #[test]
    fn a_callback_that_is_never_over_has_panicked() {
        let ending = Ending::default();
        assert!(ending.begin());
        assert!(!ending.begin());
        assert!(ending.has_panicked());
    }
}
