//! How many faults a worker may inject in a while.

use std::cell::Cell;
use std::time::Instant;

use sluice_policy::fault::Budget;

/// What is left of a budget. Each worker has its own.
#[derive(Debug, Default)]
pub struct Spending {
    /// When the window began, and how many faults there were since
    window: Cell<Option<(Instant, u32)>>,
}

impl Spending {
    /// Takes one fault out of the budget; false when there is none left.
    pub fn spend(&self, budget: Budget, now: Instant) -> bool {
        let (start, used) = match self.window.get() {
            Some((start, used)) if now.duration_since(start) < budget.window => (start, used),
            _ => (now, 0),
        };
        let is_left = used < budget.faults;
        self.window.set(Some((start, used + u32::from(is_left))));
        is_left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_window_has_so_many_faults_and_the_next_as_many_again() {
        let start = Instant::now();
        let budget = Budget { faults: 2, window: Duration::from_secs(60) };
        let spending = Spending::default();
        let spend = |seconds| spending.spend(budget, start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 2, 59].map(spend), [true, true, false, false]);
        assert_eq!([60, 61, 119].map(spend), [true, true, false]);
        let none = Budget { faults: 0, window: Duration::from_secs(60) };
        assert!(!Spending::default().spend(none, start));
    }
}
