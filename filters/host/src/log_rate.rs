//! Log lines about what clients do, limited so that clients cannot fill a disk.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sluice_policy::value::budget::{Budget, Spending};

/// The upper limit of lines.
const LINES: Budget = Budget { count: 10, window: Duration::from_secs(1) };

/// Counts the lines of a worker.
#[derive(Debug, Default)]
pub struct LogRate {
    spending: Spending,
    suppressed: Cell<u64>,
}

impl LogRate {
    /// Admits one more line, up to ten in a second. Returns how many lines were suppressed since
    /// the last one, or `None` if this line is to be suppressed as well.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        if self.spending.spend(LINES, now) {
            return Some(self.suppressed.take());
        }
        self.suppressed.set(self.suppressed.get().saturating_add(1));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_ten_lines_and_the_next_line_has_the_number_of_suppressed_ones() {
        let start = Instant::now();
        let rate = LogRate::default();
        let admit = |ms| rate.admit(start + Duration::from_millis(ms));
        assert!((0..10).all(|line| admit(line) == Some(0)));
        assert!((10..25).all(|line| admit(line).is_none()));
        assert_eq!(admit(999), None);
        assert_eq!([admit(1000), admit(1001)], [Some(16), Some(0)]);
    }
}
