//! Log lines about what clients do, limited so that clients cannot fill a disk.

use std::cell::Cell;
use std::fmt;
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

/// The number of lines that were suppressed since the last one. As text it is the end of a line,
/// the same for all filters: `suppressed=3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(u64);

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "suppressed={}", self.0)
    }
}

impl LogRate {
    /// Admits one more line, up to ten in a second. Returns how many lines were suppressed since
    /// the last one, or `None` if this line is to be suppressed as well.
    pub fn admit(&self, now: Instant) -> Option<Suppressed> {
        if self.spending.spend(LINES, now) {
            return Some(Suppressed(self.suppressed.take()));
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
        assert!((0..10).all(|line| admit(line) == Some(Suppressed(0))));
        assert!((10..25).all(|line| admit(line).is_none()));
        assert_eq!(admit(999), None);
        let text = |ms| admit(ms).map(|suppressed| suppressed.to_string());
        assert_eq!(text(1000).as_deref(), Some("suppressed=16"));
        assert_eq!(text(1001).as_deref(), Some("suppressed=0"));
    }
}
