//! Lines that are too wide.
//!
//! A line is left alone where it cannot be broken, or where breaking it would change what it says:
//! - inside of a string, that is, if a string covers the column after the last one that is allowed,
//! - if its longest word does not fit behind the indentation,
//! - in Markdown, in code, tables and headings,
//! - in YAML, a key with a scalar.

use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

/// The number of characters that a line may have.
pub const WIDTH: usize = 100;

/// Languages with their own rules for line breaks.
#[derive(Clone, Copy, PartialEq)]
enum Language {
    Rust,
    Markdown,
    Yaml,
    /// Shell, TOML and make: comments begin with `#`.
    Other,
}

impl Language {
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => Some(Self::Rust),
            Some("md") => Some(Self::Markdown),
            Some("yaml") => Some(Self::Yaml),
            Some("sh" | "toml") => Some(Self::Other),
            _ => (name == "Makefile" || file == Path::new(".ci/run")).then_some(Self::Other),
        }
    }
}

/// The lines of a file that are wider than [`WIDTH`] and could be broken, from 1. Files of other
/// kinds than Rust, shell, TOML, YAML, make and Markdown have none.
pub fn wide_lines(file: &Path, text: &str) -> Vec<usize> {
    let Some(language) = Language::of(file) else { return Vec::new() };
    let strings = if language == Language::Rust { strings(text) } else { Vec::new() };
    let mut is_fenced = false;
    let mut wide = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let trimmed = line.trim_start();
        is_fenced ^= language == Language::Markdown && trimmed.starts_with("```");
        if line.chars().count() <= WIDTH || !has_short_words(line) {
            continue;
        }
        let is_left_alone = match language {
            Language::Rust => {
                let is_inside = |string: &Text| string.covers(number, trimmed.starts_with("//"));
                strings.iter().any(is_inside)
            }
            Language::Markdown => {
                let is_code = is_fenced || line.starts_with("    ");
                is_code || trimmed.starts_with(['|', '#']) || trimmed.starts_with("```")
            }
            Language::Yaml | Language::Other if trimmed.starts_with('#') => false,
            Language::Yaml => is_in_quotes(line) || !line.contains(" {") && !line.contains(" ["),
            Language::Other => is_in_quotes(line),
        };
        if !is_left_alone {
            wide.push(number);
        }
    }
    wide
}

/// Whether every word fits into a line of its own with the same indentation and comment sign.
fn has_short_words(line: &str) -> bool {
    let is_indentation = |character: char| " \t/#!>".contains(character);
    let text = line.trim_start_matches(is_indentation);
    let indentation = line.chars().count() - text.chars().count();
    text.split_whitespace().all(|word| indentation + word.chars().count() <= WIDTH)
}

/// Whether the column after the last one that is allowed is between quotes. A comment has none.
fn is_in_quotes(line: &str) -> bool {
    let mut open = None;
    let mut previous = ' ';
    for character in line.chars().take(WIDTH) {
        match open {
            None if character == '#' && previous == ' ' => return false,
            None if "\"'".contains(character) => open = Some(character),
            Some(quote) if quote == character => open = None,
            _ => {}
        }
        previous = character;
    }
    open.is_some()
}

/// The place of a string literal in a Rust file.
struct Text {
    lines: RangeInclusive<usize>,
    /// The columns from 0, if it is in one line.
    columns: RangeInclusive<usize>,
}

impl Text {
    /// Whether the string has a whole line inside, or covers the place where the line would have to
    /// end. Of a comment only the first can be: a documentation comment is a string of its own.
    fn covers(&self, line: usize, is_comment: bool) -> bool {
        let (first, last) = (*self.lines.start(), *self.lines.end());
        if first == last {
            !is_comment && line == first && self.columns.contains(&WIDTH)
        } else {
            self.lines.contains(&line)
        }
    }
}

fn strings(text: &str) -> Vec<Text> {
    let mut strings = Vec::new();
    if let Ok(tokens) = text.parse() {
        collect_strings(tokens, &mut strings);
    }
    strings
}

fn collect_strings(tokens: TokenStream, strings: &mut Vec<Text>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_strings(group.stream(), strings),
            TokenTree::Literal(literal) => {
                let (start, end) = (literal.span().start(), literal.span().end());
                strings.push(Text {
                    lines: start.line..=end.line,
                    columns: start.column..=end.column,
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words with `characters` characters in all.
    fn words(characters: usize) -> String {
        "word ".repeat(characters.div_ceil(5))[..characters - 1].to_owned() + "."
    }

    fn wide(file: &str, text: &str) -> Vec<usize> {
        wide_lines(Path::new(file), text)
    }

    #[test]
    fn a_line_may_have_all_its_columns() {
        for (file, sign) in [("a.rs", "//! "), ("a.sh", "# "), ("Makefile", "# "), ("a.md", "")] {
            let line = |characters| format!("x\n{sign}{}\n", words(characters - sign.len()));
            assert_eq!(wide(file, &line(WIDTH)), [0; 0], "{file}");
            assert_eq!(wide(file, &line(WIDTH + 1)), [2], "{file}");
        }
        assert_eq!(wide("a.json", &words(200)), [0; 0]);
        // Characters, not bytes.
        assert_eq!(wide("a.md", &"ä ".repeat(WIDTH / 2)), [0; 0]);
    }

    #[test]
    fn a_word_that_does_not_fit_stays() {
        let word = "x".repeat(WIDTH - 4);
        assert_eq!(wide("a.rs", &format!("// see {word}")), [1]);
        assert_eq!(wide("a.rs", &format!("    // see {word}")), [0; 0]);
        assert_eq!(wide("a.md", &format!("{word} {word}")), [1]);
        assert_eq!(wide("a.md", &format!("- see [{word}]({word})")), [0; 0]);
    }

    #[test]
    fn strings_of_rust_stay() {
        let long = words(120);
        assert_eq!(wide("a.rs", &format!("const A: &str = \"{long}\";")), [0; 0]);
        assert_eq!(wide("a.rs", &format!("const A: &str = r#\"\n// {long}\n\"#;\n// {long}")), [4]);
        assert_eq!(wide("a.rs", &format!("fn f() {{\n    /// {long}\n    let a = 1;\n}}")), [2]);
        assert_eq!(wide("a.rs", &format!("json!({{ \"a\": \"b\", {} }})", "c ".repeat(60))), [1]);
    }

    #[test]
    fn code_and_tables_of_markdown_stay() {
        let long = words(120);
        let text =
            format!("```\n{long}\n```\n{long}\n| {long} |\n# {long}\n\n    {long}\n- {long}");
        assert_eq!(wide("a.md", &text), [4, 9]);
    }

    #[test]
    fn scalars_of_yaml_stay() {
        let long = words(120);
        assert_eq!(wide("a.yaml", &format!("# {long}\na: {long}\n- b: {long}")), [1]);
        assert_eq!(wide("a.yaml", &format!("a: {{b: {long}}}\nc: {{d: \"{long}\"}}")), [1]);
    }

    #[test]
    fn quoted_text_stays() {
        let long = words(120);
        assert_eq!(wide("a.sh", &format!("echo \"{long}\"\necho '{long}'\necho {long}")), [3]);
        assert_eq!(wide("a.toml", &format!("a = \"{long}\"\nb = \"1\" # it's {long}")), [2]);
    }
}
