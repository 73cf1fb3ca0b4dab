//! Counters, one for each variant of an enum.

use std::fmt;
use std::marker::PhantomData;

use crate::host::{Counter, Host, PluginHost};

/// An enum whose variants have a counter each. [`counters!`](crate::counters) implements it.
pub trait CounterSet: Copy + 'static {
    /// The names of the counters, in the order of the variants.
    const NAMES: &'static [&'static str];

    /// The place of this variant in [`NAMES`](Self::NAMES).
    fn index(self) -> usize;

    /// The name of this variant's counter.
    fn counter_name(self) -> &'static str {
        Self::NAMES.get(self.index()).copied().unwrap_or_default()
    }
}

/// Declares an enum and the name of a counter for each variant:
///
/// ```
/// sluice_host::counters! {
///     /// What is counted, as `wasmcustom.sluice.example.*` in Envoy's statistics.
///     pub enum Event in "sluice.example." {
///         /// A request was refused.
///         Refused = "refused",
///     }
/// }
/// ```
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $set:ident in $prefix:literal {
            $($(#[$of_variant:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $set {
            $($(#[$of_variant])* $variant,)+
        }

        impl $crate::counters::CounterSet for $set {
            const NAMES: &'static [&'static str] = &[$(concat!($prefix, $name)),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// The counters of a [`CounterSet`].
pub struct Counters<E> {
    counters: Box<[Counter]>,
    set: PhantomData<E>,
}

impl<E: CounterSet> Counters<E> {
    /// Defines the counters in Envoy.
    pub fn define(host: &impl PluginHost) -> Self {
        let counters = E::NAMES.iter().map(|name| host.define_counter(name));
        Self { counters: counters.collect(), set: PhantomData }
    }

    /// Defines nothing in Envoy and counts nothing.
    pub fn none() -> Self {
        Self { counters: Box::default(), set: PhantomData }
    }

    /// Adds one to the counter of a variant.
    pub fn increment(&self, event: E, host: &impl Host) {
        if let Some(counter) = self.counters.get(event.index()) {
            host.increment(*counter);
        }
    }

    /// Adds a number to the counter of a variant, one by one.
    pub fn add(&self, event: E, count: usize, host: &impl Host) {
        (0..count).for_each(|_| self.increment(event, host));
    }
}

impl<E> fmt::Debug for Counters<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counters").field(&self.counters).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    counters! {
        /// Two events.
        enum Event in "sluice.test." {
            /// The first one
            First = "first",
            /// The second one
            Second = "other_name",
        }
    }

    #[test]
    fn each_variant_has_the_counter_of_its_name() {
        assert_eq!(Event::NAMES, ["sluice.test.first", "sluice.test.other_name"]);
        assert_eq!(Event::Second.counter_name(), "sluice.test.other_name");
        let host = FakeHost::default();
        let counters = Counters::define(&host);
        counters.increment(Event::Second, &host);
        counters.add(Event::First, 3, &host);
        assert_eq!([host.count("sluice.test.first"), host.count("sluice.test.other_name")], [3, 1]);
    }
}
