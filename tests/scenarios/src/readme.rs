//! The commands of a README, and what they print.
//!
//! They stand in fenced `console` blocks. A line that begins with `$ ` is a command; it goes on as
//! long as lines end with a backslash. What follows, up to the next command or the end of the
//! block, is what it prints, standard output and standard error together. There `[..]` stands for
//! anything within a line and a line `...` for any number of lines.

use snapbox::Data;
use snapbox::filter::NormalizeToExpected;

/// What a README says.
#[derive(Debug)]
pub struct Readme {
    /// What stands before the colon of the title.
    pub id: String,
    /// What stands after it.
    pub title: String,
    /// The commands.
    pub steps: Vec<Step>,
}

/// A command and what it prints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// For bash.
    pub command: String,
    /// Without the ends of the last lines.
    pub output: String,
    /// Where it stands in the README, from 1.
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
    /// Whether this is what the command printed.
    pub fn allows(&self, output: &str) -> bool {
        let expected = Data::text(self.output.as_str());
        let actual = Data::text(output.trim_end());
        NormalizeToExpected::new().redact().normalize(actual, &expected) == expected
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    /// Where a line stands.
    #[derive(Clone, Copy, PartialEq)]
    enum Place {
        Outside,
        /// At the beginning of a block, where nothing but a command may stand.
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
        _ => Err(format!("{}: the last block has no end", text.lines().count())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(block: &str) -> Vec<Step> {
        Readme::parse(&format!("# X1: x\n\n```console\n{block}\n```\n")).unwrap().steps
    }

    #[test]
    fn commands_come_with_what_they_print() {
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
    fn outputs_have_to_be_the_same_but_for_what_is_left_open() {
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
    fn what_is_not_checked_is_refused() {
        for text in
            ["x", "# x\n", "# X1: x\n", "# X1: x\n```console\n$ x", "# X1: x\n```console\nx\n```"]
        {
            assert!(Readme::parse(text).is_err(), "{text}");
        }
    }
}
