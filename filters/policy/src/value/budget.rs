//! Limits on the number of events in a time window.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::document::fields::Fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::value::duration;
use crate::value::number::read_count;

/// At most `count` events per `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Maximum number of events in a window; 0 allows no events
    pub count: u32,
    /// Length of the window, at least 1 ms
    pub window: Duration,
}

impl Budget {
    /// Reads an object such as `{NAME: 100, window: 1m}`. The field `name` is the number of events.
    /// `T` declares both fields.
    pub fn read<T: Fields>(node: &Node<'_>, name: &'static str) -> Result<Self, Reported> {
        let object = node.object::<T>()?;
        let count = object.required(name).and_then(|node| read_count(&node));
        let window = object.required("window").and_then(|node| duration::read(&node));
        Ok(Self { count: count?, window: window? })
    }
}

/// The number of events of a budget that were used in the current window.
#[derive(Debug, Default)]
pub struct Spending {
    /// Start of the current window, and the number of events in this window
    window: Cell<Option<(Instant, u32)>>,
}

impl Spending {
    /// Counts one event. Returns false if the current window has no events left. A window begins
    /// with the first event after the end of the previous window.
    pub fn spend(&self, budget: Budget, now: Instant) -> bool {
        let (start, used) = match self.window.get() {
            Some((start, used)) if now.duration_since(start) < budget.window => (start, used),
            _ => (now, 0),
        };
        let is_left = used < budget.count;
        self.window.set(Some((start, used + u32::from(is_left))));
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_allows_count_events() {
        let start = Instant::now();
        let budget = Budget { count: 2, window: Duration::from_secs(60) };
        let spending = Spending::default();
        let spend = |seconds| spending.spend(budget, start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 2, 59].map(spend), [true, true, false, false]);
        assert_eq!([60, 61, 119].map(spend), [true, true, false]);
        let none = Budget { count: 0, window: Duration::from_secs(60) };
        assert!(!Spending::default().spend(none, start));
    }
}
