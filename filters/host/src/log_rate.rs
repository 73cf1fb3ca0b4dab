//! Log lines about what clients do, so few that they cannot fill a disk.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How many lines there are in a window at the most.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts the lines of a worker.
#[derive(Debug, Default)]
pub struct LogRate {
    /// When the window began, and how many lines there have been in it
    window: Cell<Option<(Instant, u32)>>,
    suppressed: Cell<u64>,
}

impl LogRate {
    /// Whether one more line may be written, of at most ten in a second: then, how many were not since
    /// the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let (start, lines) = match self.window.get() {
            Some((start, lines)) if now.duration_since(start) < WINDOW => (start, lines),
            _ => (now, 0),
        };
        if lines >= LINES {
            self.suppressed.set(self.suppressed.get().saturating_add(1));
            return None;
        }
        self.window.set(Some((start, lines + 1)));
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_ten_lines_in_a_second_and_the_next_tells_of_the_others() {
        let start = Instant::now();
        let rate = LogRate::default();
        let admit = |ms| rate.admit(start + Duration::from_millis(ms));
        assert!((0..10).all(|line| admit(line) == Some(0)));
        assert!((10..25).all(|line| admit(line).is_none()));
        assert_eq!(admit(999), None);
        assert_eq!([admit(1000), admit(1001)], [Some(16), Some(0)]);
    }
}
