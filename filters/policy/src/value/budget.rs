//! Limits over time: so many of something in each window.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::document::node::Node;
use crate::value::duration;
use crate::value::number::read_count;

/// So many in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many; none for 0
    pub count: u32,
    /// In how long, at least 1 ms
    pub window: Duration,
}

impl Budget {
    /// Reads `{NAME: 100, window: 1m}`, where `name` says what is counted.
    pub fn read(node: &Node<'_>, name: &'static str) -> Option<Self> {
        let mut object = node.object()?;
        let count = object.required(name).and_then(|node| read_count(&node));
        let window = object.required("window").and_then(|node| duration::read_milliseconds(&node));
        Some(Self { count: count?, window: Duration::from_millis(window?) })
    }
}

/// What was spent of a budget.
#[derive(Debug, Default)]
pub struct Spending {
    /// When the window began, and how much was spent since
    window: Cell<Option<(Instant, u32)>>,
}

impl Spending {
    /// Takes one out of the budget; false when none is left in this window. A window begins with the
    /// first that comes after the last one has ended.
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
    fn a_window_has_so_many_and_the_next_as_many_again() {
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
