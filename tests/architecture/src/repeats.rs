//! Lines that one file repeats from another one.

/// Consecutive lines that are in both of two files.
#[derive(Debug, PartialEq, Eq)]
pub struct Repeat<'a> {
    /// Number of the first of the lines in the one file, from 1.
    pub left: usize,
    /// Number of the first of the lines in the other file, from 1.
    pub right: usize,
    /// The lines, without indentation.
    pub lines: Vec<&'a str>,
}

/// Finds all runs of at least `least` lines that are in both texts. Blank lines, comments, lines of
/// punctuation alone and `use` items are passed over.
pub fn repeats<'a>(left: &'a str, right: &str, least: usize) -> Vec<Repeat<'a>> {
    let left = significant_lines(left);
    let right = significant_lines(right);
    let mut repeats = Vec::new();
    for (i, (left_line, _)) in left.iter().enumerate() {
        for (j, (right_line, _)) in right.iter().enumerate() {
            let is_inside = i > 0 && j > 0 && left[i - 1].1 == right[j - 1].1;
            let pairs = left[i..].iter().zip(&right[j..]);
            let lines: Vec<&str> = pairs
                .take_while(|((_, left), (_, right))| left == right)
                .map(|((_, line), _)| *line)
                .collect();
            if !is_inside && lines.len() >= least {
                repeats.push(Repeat { left: *left_line, right: *right_line, lines });
            }
        }
    }
    repeats
}

/// Returns the compared lines with their numbers.
fn significant_lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut is_use = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        is_use |= line.starts_with("use ") || line.starts_with("pub use ");
        let has_code = line.contains(char::is_alphanumeric) && !line.starts_with("//");
        if has_code && !is_use {
            lines.push((index + 1, line));
        }
        is_use &= !line.ends_with(';');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: &str = "\
use a::{
    b,
};
struct Plugin;

impl Plugin {
    // One.
    fn one() {
        f(1);
    }
}
";

    #[test]
    fn equal_lines_are_found_whatever_is_between_them() {
        let right =
            "mod x;\n  struct Plugin;\n  impl Plugin {\n  fn one() {\n// Two\nf(1);\n g(2);";
        let lines = vec!["struct Plugin;", "impl Plugin {", "fn one() {", "f(1);"];
        assert_eq!(repeats(LEFT, right, 4), [Repeat { left: 4, right: 2, lines }]);
        assert_eq!(repeats(LEFT, right, 5), []);
    }

    #[test]
    fn a_different_line_ends_a_run() {
        let right = "struct Plugin;\nimpl Plugin {\nfn two() {\nf(1);\n";
        let found: Vec<_> = repeats(LEFT, right, 1).into_iter().map(|run| run.lines).collect();
        assert_eq!(found, [vec!["struct Plugin;", "impl Plugin {"], vec!["f(1);"]]);
    }

    #[test]
    fn imports_and_punctuation_do_not_count() {
        let right = "use a::{\n    b,\n};\n{\n}\n);\n// One.\n";
        assert_eq!(repeats(LEFT, right, 1), []);
    }
}
