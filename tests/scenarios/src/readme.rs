//! The code blocks of a README, and the commands in them with their output.
//!
//! The commands of a scenario are in fenced `console` blocks. A line that begins with `$ ` is a
//! command; it continues while lines end with a backslash. The lines up to the next command or the
//! end of the block are its standard output and standard error. In them, `[..]` matches any text
//! within a line, and a line `...` matches any number of lines.

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
        let mut steps = Vec::new();
        for block in blocks(text)? {
            if block.fence.as_deref() == Some("console") {
                steps.extend(self::steps(&block)?);
            }
        }
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

/// A code block of a Markdown file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// Text behind the opening fence, such as `yaml`; `None` for an indented block.
    pub fence: Option<String>,
    /// Content without fences and indentation.
    pub text: String,
    /// Line number of its first line in the file, from 1.
    pub line: usize,
}

/// Returns the code blocks of a Markdown file: all between fences, and all that are indented by
/// four spaces after an empty line. The error begins with the number of the line.
pub fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut is_after_empty = true;
    while let Some((number, line)) = lines.next() {
        let mut block = Block { fence: None, text: String::new(), line: number };
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            (block.fence, block.line) = (Some(fence.to_owned()), number + 1);
            let mut content = lines.by_ref().map(|(_, line)| line);
            loop {
                match content.next() {
                    Some("```") => break,
                    Some(line) => block.text += &format!("{line}\n"),
                    None => return Err(format!("{number}: the block is not closed")),
                }
            }
            blocks.push(block);
        } else if is_after_empty && let Some(first) = line.strip_prefix(INDENTATION) {
            block.text = format!("{first}\n");
            let is_code = |line: &str| line.is_empty() || line.starts_with(INDENTATION);
            while let Some((_, line)) = lines.next_if(|(_, line)| is_code(line)) {
                block.text += line.strip_prefix(INDENTATION).unwrap_or_default();
                block.text += "\n";
            }
            block.text.truncate(block.text.trim_end().len());
            block.text += "\n";
            blocks.push(block);
            continue;
        }
        is_after_empty = line.is_empty();
    }
    Ok(blocks)
}

/// Indentation of a code block without fences.
const INDENTATION: &str = "    ";

/// Returns the commands of a block. The error begins with the number of the line.
pub fn steps(block: &Block) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_command = false;
    for (line, text) in (block.line..).zip(block.text.lines()) {
        let was_command = std::mem::replace(&mut is_command, text.ends_with('\\'));
        match (text.strip_prefix("$ "), steps.last_mut()) {
            (_, Some(step)) if was_command => {
                step.command += "\n";
                step.command += text;
            }
            (Some(command), _) => {
                steps.push(Step { command: command.to_owned(), output: String::new(), line });
            }
            (None, Some(step)) => {
                step.output += text;
                step.output += "\n";
                is_command = false;
            }
            (None, None) => return Err(format!("{line}: is not a command: $ curl ...")),
        }
    }
    for step in &mut steps {
        step.output.truncate(step.output.trim_end().len());
    }
    Ok(steps)
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
    fn all_code_is_in_blocks() {
        let text = "# X\n\n    $ a\n    b\n\n    c\n\ntext\n    no code\n- item\n\n```yaml\na:\n\n    \
                    b\n```\n\n    d\n";
        let block = |fence: Option<&str>, text: &str, line| Block {
            fence: fence.map(str::to_owned),
            text: text.to_owned(),
            line,
        };
        let expected = [
            block(None, "$ a\nb\n\nc\n", 3),
            block(Some("yaml"), "a:\n\n    b\n", 13),
            block(None, "d\n", 18),
        ];
        assert_eq!(blocks(text).unwrap(), expected);
        assert!(blocks("```yaml\na:\n").is_err());
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
