//! Progress of long work: a bar with an estimate on a terminal, and a line now and then elsewhere,
//! such as in the log of a CI job. Both go to standard error, because the result of the work goes
//! to standard output.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// The time between two lines.
const PAUSE: Duration = Duration::from_secs(15);

/// Without colours, as they say nothing here.
const TEMPLATE: &str = "{prefix} [{bar:30}] {pos} of {len} {msg}, {eta} left";

/// The progress of one piece of work. The bar is removed when this is dropped.
#[derive(Debug)]
pub struct Progress {
    /// Not drawn unless standard error is a terminal
    bar: ProgressBar,
    /// None on a terminal
    lines: Option<Lines>,
}

impl Progress {
    /// Begins work that has `total` parts. `unit` names the parts, such as `rounds`.
    pub fn new(name: &str, total: u64, unit: &str) -> Self {
        let bar =
            ProgressBar::new(total).with_prefix(name.to_owned()).with_message(unit.to_owned());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        let lines = (!std::io::stderr().is_terminal()).then(|| Lines {
            name: name.to_owned(),
            unit: unit.to_owned(),
            total,
            begin: Instant::now(),
            last: Duration::ZERO,
        });
        Self { bar, lines }
    }

    /// Sets the number of parts that are done.
    pub fn set(&mut self, done: u64) {
        self.bar.set_position(done);
        if let Some(lines) = &mut self.lines
            && let Some(line) = lines.at(done, lines.begin.elapsed())
        {
            eprintln!("{line}");
        }
    }

    /// One more part is done.
    pub fn advance(&mut self) {
        self.set(self.bar.position() + 1);
    }

    /// Prints results, above the bar if there is one.
    pub fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the elements, and shows how many of them are done. An element is done when the next one
/// is taken.
pub fn steps<T>(
    name: &str,
    unit: &str,
    of: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = T> {
    let elements = of.into_iter();
    let total = elements.size_hint().1.unwrap_or_default();
    let mut progress = Progress::new(name, u64::try_from(total).unwrap_or(u64::MAX), unit);
    elements.enumerate().map(move |(number, element)| {
        progress.set(u64::try_from(number).unwrap_or(u64::MAX));
        element
    })
}

/// What a log without a terminal gets.
#[derive(Debug)]
struct Lines {
    name: String,
    unit: String,
    total: u64,
    begin: Instant,
    /// When the last line was written, from the beginning
    last: Duration,
}

impl Lines {
    /// The line for this progress at this time, if one is due.
    fn at(&mut self, done: u64, elapsed: Duration) -> Option<String> {
        if elapsed.saturating_sub(self.last) < PAUSE {
            return None;
        }
        self.last = elapsed;
        let Self { name, unit, total, .. } = self;
        let left = total.saturating_sub(done);
        let estimate = (done > 0).then(|| elapsed.mul_f64(left as f64 / done as f64));
        let estimate = estimate.map(|left| format!(", about {} left", HumanDuration(left)));
        Some(format!("{name}: {done} of {total} {unit}{}", estimate.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let (name, unit) = ("bench".to_owned(), "rounds".to_owned());
        Lines { name, unit, total: 40, begin: Instant::now(), last: Duration::ZERO }
    }

    #[test]
    fn a_line_has_an_estimate() {
        let line = |done, seconds| lines().at(done, Duration::from_secs(seconds));
        let expected = "bench: 10 of 40 rounds, about 2 minutes left";
        assert_eq!(line(10, 30).as_deref(), Some(expected));
        let expected = "bench: 1 of 40 rounds, about 20 minutes left";
        assert_eq!(line(1, 30).as_deref(), Some(expected));
        assert_eq!(line(0, 30).as_deref(), Some("bench: 0 of 40 rounds"));
        let expected = "bench: 40 of 40 rounds, about 0 seconds left";
        assert_eq!(line(40, 30).as_deref(), Some(expected));
    }

    #[test]
    fn lines_come_after_pauses() {
        let mut lines = lines();
        let times = [1, 14, 15, 16, 29, 30, 100, 101];
        let due = times.map(|seconds| lines.at(1, Duration::from_secs(seconds)).is_some());
        assert_eq!(due, [false, false, true, false, false, true, true, false]);
    }

    #[test]
    fn steps_are_all_taken() {
        assert_eq!(steps("x", "steps", 3..=6).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(steps("x", "steps", ["a"; 2]).count(), 2);
    }
}
