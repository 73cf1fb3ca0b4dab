//! The commands of a README, and their output.
//!
//! They are in fenced `console` blocks. A line that begins with `$ ` is a command; it continues
//! while lines end with a backslash. The lines up to the next command or the end of the block are
//! its standard output and standard error. In them, `[..]` matches any text within a line, and a
//! line `...` matches any number of lines.

use snapbox::Data;
use snapbox::filter::NormalizeToExpected;

/// Content of a README.
#[derive(Debug)]
pub struct Readme {
    /// Text before the colon of the title.
    pub id: String,
    /// Text after the colon of the title.
    pub title: String,
    /// The commands.
    pub steps: Vec<Step>,
}

/// A command and its output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// For bash.
    pub command: String,
    /// Expected output, without trailing newlines.
    pub output: String,
    /// Line number in the README, from 1.
    pub line: usize,
}

impl Readme {
    /// Reads a README. The error begins with the number of the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let heading = text.lines().next().unwrap_or_default();
        let title = heading.strip_prefix("# ").and_then(|title| title.split_once(": "));
        let (id, title) = title.ok_or("1: is not a title such as: # F1: a delay")?;
        let steps = steps(text)?;
        if steps.is_empty() {
            return Err("1: has no command in a block ```console".to_owned());
        }
        Ok(Self { id: id.to_owned(), title: title.to_owned(), steps })
    }
}

impl Step {
    /// Returns whether the output of the command matches.
    pub fn allows(&self, output: &str) -> bool {
        let expected = Data::text(self.output.as_str());
        let actual = Data::text(output.trim_end());
        NormalizeToExpected::new().redact().normalize(actual, &expected) == expected
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    /// Position of a line.
    #[derive(Clone, Copy, PartialEq)]
    enum Place {
        Outside,
        /// First line of a block, which must be a command.
        Beginning,
        Command,
        Output,
    }
    use Place::{Beginning, Command, Output, Outside};

    let mut steps: Vec<Step> = Vec::new();
    let mut place = Outside;
    for (number, line) in (1..).zip(text.lines()) {
        place = match (place, line.strip_prefix("$ ")) {
            (Outside, _) if line == "```console" => Beginning,
            (Outside, _) => Outside,
            (Output, _) if line == "```" => Outside,
            (Beginning | Output, Some(command)) => {
                let command = command.to_owned();
                steps.push(Step { command, output: String::new(), line: number });
                if line.ends_with('\\') { Command } else { Output }
            }
            (Beginning, None) => return Err(format!("{number}: is not a command: $ curl ...")),
            (before, _) => {
                let Some(step) = steps.last_mut() else { continue };
                if before == Output {
                    step.output += line;
                    step.output += "\n";
                } else {
                    step.command += "\n";
                    step.command += line;
                }
                if before == Command && line.ends_with('\\') { Command } else { Output }
            }
        };
    }
    for step in &mut steps {
        step.output.truncate(step.output.trim_end().len());
    }
    match place {
        Outside => Ok(steps),
        _ => Err(format!("{}: the last block is not closed", text.lines().count())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(block: &str) -> Vec<Step> {
        Readme::parse(&format!("# X1: x\n\n```console\n{block}\n```\n")).unwrap().steps
    }

    #[test]
    fn commands_have_their_output() {
        let steps = parse("$ one \\\n  more\na\n\nb\n\n$ two\n$ three\nc");
        let step = |command: &str, output: &str, line| Step {
            command: command.to_owned(),
            output: output.to_owned(),
            line,
        };
        let expected =
            [step("one \\\n  more", "a\n\nb", 4), step("two", "", 10), step("three", "c", 11)];
        assert_eq!(steps, expected);
    }

    #[test]
    fn outputs_must_match_except_for_placeholders() {
        let allows =
            |expected: &str, actual: &str| parse(&format!("$ x\n{expected}"))[0].allows(actual);
        assert!(allows("a", "a\n"));
        assert!(allows("", "\n"));
        assert!(!allows("a", "b\n"));
        assert!(!allows("a", "a\nb\n"));
        assert!(!allows("", "a\n"));
        assert!(allows("a [..] c", "a b c\n"));
        assert!(!allows("a [..] c", "a b\nc\n"));
        assert!(!allows("a [..] c", "a b d\n"));
        assert!(allows("a\n...\nd", "a\nb\nc\nd\n"));
        assert!(!allows("a\n...\nd", "a\nb\nc\n"));
    }

    #[test]
    fn invalid_readmes_are_refused() {
        for text in
            ["x", "# x\n", "# X1: x\n", "# X1: x\n```console\n$ x", "# X1: x\n```console\nx\n```"]
        {
            assert!(Readme::parse(text).is_err(), "{text}");
        }
    }
}
