//! Regular expressions: the part of RE2's syntax that has the same meaning in Rust's `regex` crate.
//!
//! Istio and Envoy read patterns with RE2. The `regex` crate is based on RE2, but a few patterns
//! are valid in both and have different meanings. These patterns are rejected, because they would
//! match differently than in Istio. Patterns match bytes, and their classes are ASCII, as in RE2:
//! `\d` is `[0-9]`.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use crate::document::node::Node;
use crate::document::report::Reported;

mod repetitions;

pub use repetitions::MAX_REPETITIONS;
use repetitions::Repetitions;

/// The longest pattern, in bytes, that Istio accepts.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Maximum size of one compiled pattern, in bytes, so that no configuration can exhaust the
/// module's memory.
const COMPILED_BYTES: usize = 4 << 20;

/// A pattern that must match the whole value, as in all matches of Istio.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    start: Box<[u8]>,
}

impl Pattern {
    /// Compiles `pattern` to match from the first to the last byte.
    ///
    /// # Errors
    /// [`InvalidPattern`] if Istio rejects the pattern too, or if RE2 reads it differently.
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        let groups = check(pattern)?;
        let wrapped = compile(&format!(r"\A(?:{pattern})\z"));
        // The pattern is also compiled without the group where needed: "a)(b" must not become valid
        // because of the group, and an error must show the pattern as the user wrote it.
        let regex = match wrapped {
            Ok(regex) if groups.are_closed_after_they_open => regex,
            other => compile(pattern).and(other)?,
        };
        let start = if groups.has_alternatives { Vec::new() } else { literal_start(pattern) };
        Ok(Self { regex, start: start.into() })
    }

    /// The literal prefix of all values that match. Empty if the pattern does not show one.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Returns whether the pattern is `.*`, which Istio treats as a match of every value.
    pub fn is_anything(&self) -> bool {
        self.regex.as_str() == r"\A(?:.*)\z"
    }

    /// The pattern as written in the configuration.
    pub fn as_str(&self) -> &str {
        let wrapped = self.regex.as_str().strip_prefix(r"\A(?:");
        wrapped.and_then(|wrapped| wrapped.strip_suffix(r")\z")).unwrap_or_default()
    }

    /// Returns whether the pattern matches the whole `value`.
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }
}

/// Compiles `pattern` to match anywhere in a value.
///
/// # Errors
/// The same as for [`Pattern::new`].
pub fn compile_unanchored(pattern: &str) -> Result<Regex, InvalidPattern> {
    check(pattern)?;
    compile(pattern)
}

fn compile(pattern: &str) -> Result<Regex, InvalidPattern> {
    RegexBuilder::new(pattern).unicode(false).size_limit(COMPILED_BYTES).build().map_err(|error| {
        // The crate's text has several lines, which show the pattern; the last one has the reason.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        InvalidPattern::Syntax(reason.trim_start_matches("error: ").to_owned())
    })
}

/// Why a pattern is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidPattern {
    /// The pattern is empty.
    Empty,
    /// The pattern is longer than [`MAX_PATTERN_BYTES`]. The value is its length in bytes.
    TooLong(usize),
    /// RE2 reads this construct differently from Rust's `regex`.
    Ambiguous(&'static str),
    /// The pattern does not compile, for this reason.
    Syntax(String),
    /// The pattern repeats a part more than [`MAX_REPETITIONS`] times. The value is the number.
    TooManyRepetitions(u64),
}

impl InvalidPattern {
    /// Reports this error for the pattern at `node`.
    pub fn report(&self, node: &Node<'_>) -> Reported {
        match self {
            Self::Empty => node.error(self),
            _ => node.invalid(self),
        }
    }
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is an empty regular expression"),
            Self::TooLong(length) => {
                write!(f, "is {length} bytes long; a regular expression has at most 1024")
            }
            Self::Ambiguous(construct) => write!(f, "is not supported: {construct}"),
            Self::Syntax(reason) => write!(f, "is not a regular expression: {reason}"),
            Self::TooManyRepetitions(count) => {
                write!(f, "repeats a part {count} times; RE2 allows at most {MAX_REPETITIONS}")
            }
        }
    }
}

/// The parentheses and alternatives of a pattern, outside of its classes.
struct Groups {
    /// Whether the pattern has alternatives outside of groups
    has_alternatives: bool,
    /// Whether each closing parenthesis has an opening one before it
    are_closed_after_they_open: bool,
}

/// Rejects constructs that RE2 and `regex` read differently, and constructs that only RE2 has.
fn check(pattern: &str) -> Result<Groups, InvalidPattern> {
    if pattern.is_empty() {
        return Err(InvalidPattern::Empty);
    }
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(InvalidPattern::TooLong(pattern.len()));
    }
    let mut rest = pattern;
    let mut in_class = false;
    // Number of repetition operators directly before: 1, or 2 with the "?" of a lazy repetition.
    let mut repetitions = 0;
    let mut groups = Groups { has_alternatives: false, are_closed_after_they_open: true };
    let mut depth = 0u32;
    let mut counted = Repetitions::default();
    while let Some(first) = rest.chars().next() {
        let construct = if in_class { class_construct(rest) } else { plain_construct(rest) };
        if let Some(construct) = construct {
            return Err(InvalidPattern::Ambiguous(construct));
        }
        if !in_class {
            repetitions = match (first, repetitions) {
                ('*' | '+' | '?' | '{', 0) => 1,
                ('?', 1) => 2,
                ('*' | '+' | '?' | '{', _) => {
                    return Err(InvalidPattern::Ambiguous(
                        "a repetition of a repetition; put the inner one into (...)",
                    ));
                }
                _ => 0,
            };
        }
        if !in_class {
            counted.add(first, rest).map_err(InvalidPattern::TooManyRepetitions)?;
        }
        match first {
            '(' if !in_class => depth += 1,
            ')' if !in_class => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => groups.are_closed_after_they_open = false,
            },
            '|' if !in_class && depth == 0 => groups.has_alternatives = true,
            _ => {}
        }
        let mut skip = first.len_utf8();
        match first {
            '\\' => skip += escape_length(rest),
            '{' if !in_class => skip = rest.find('}').map_or(skip, |end| end + 1),
            // The "?" is not a repetition: it begins flags or a group name.
            '(' if rest.starts_with("(?") => skip += 1,
            // A class opens with "[" or "[^". A "]" directly after that is a literal.
            '[' if !in_class => {
                in_class = true;
                skip += usize::from(rest.starts_with("[^"));
                skip += usize::from(rest.get(skip..).is_some_and(|tail| tail.starts_with(']')));
            }
            '[' => skip = rest.find(":]").map_or(skip, |end| end + 2),
            ']' => in_class = false,
            _ => {}
        }
        rest = rest.get(skip..).unwrap_or_default();
    }
    Ok(groups)
}

/// The literal bytes at the start of a pattern without alternatives.
fn literal_start(pattern: &str) -> Vec<u8> {
    let mut start = Vec::new();
    let mut bytes = pattern.strip_prefix('^').unwrap_or(pattern).bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(escaped) if escaped.is_ascii_punctuation() => start.push(escaped),
                _ => break,
            },
            // The operator allows zero repetitions, so the byte before it is optional.
            b'*' | b'?' | b'{' => {
                start.pop();
                break;
            }
            b'$' | b'(' | b')' | b'+' | b'.' | b'[' | b'^' => break,
            _ if byte.is_ascii() => start.push(byte),
            _ => break,
        }
    }
    start
}

/// The length of an escape sequence after its backslash, including its braces if it has any.
fn escape_length(rest: &str) -> usize {
    let escaped = rest.chars().nth(1);
    let length = escaped.map_or(0, char::len_utf8);
    let braced = rest.get(1 + length..).is_some_and(|tail| tail.starts_with('{'));
    match rest.find('}') {
        Some(end) if braced && matches!(escaped, Some('x' | 'p' | 'P')) => end,
        _ => length,
    }
}

fn plain_construct(rest: &str) -> Option<&'static str> {
    const CONSTRUCTS: [(&str, &str); 5] = [
        (r"\C", r"\C, which stands for any byte"),
        (r"\Q", r"\Q...\E; escape the characters one by one"),
        (r"\<", r"\<; write < without the backslash"),
        (r"\>", r"\>; write > without the backslash"),
        (r"\b{", r"\b{; escape the brace"),
    ];
    let found = CONSTRUCTS.iter().find(|(start, _)| rest.starts_with(start));
    if let Some((_, construct)) = found {
        return Some(construct);
    }
    // Flags that RE2 does not have: verbose, CRLF and Unicode.
    let flags = rest.strip_prefix("(?")?;
    let flags = flags.get(..flags.find([')', ':', '<', 'P']).unwrap_or(0))?;
    flags.contains(['x', 'R', 'u']).then_some("the flags x, R and u")
}

fn class_construct(rest: &str) -> Option<&'static str> {
    if rest.starts_with('[') && !rest.starts_with("[:") {
        return Some(r"[ inside of [...]; write \[");
    }
    let set_operation = ["&&", "--", "~~"].iter().any(|operator| rest.starts_with(operator));
    set_operation.then_some("&&, -- and ~~ inside of [...]")
}

/// Reads a pattern that must match whole values.
pub fn read_pattern(node: &Node<'_>) -> Result<Pattern, Reported> {
    Pattern::new(node.string()?).map_err(|reason| reason.report(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &[u8]) -> bool {
        Pattern::new(pattern).unwrap().is_match(value)
    }

    #[test]
    fn patterns_match_whole_values_only() {
        assert!(matches("/t[io]c", b"/tic"));
        assert!(!matches("/t[io]c", b"/tick"));
        assert!(!matches("a|b", b"ab"));
        assert!(matches("a|ab", b"ab"));
        assert!(!matches("a", b"a\n"));
        assert!(matches("(?m)^a$", b"a"));
        assert!(!matches("(?m)^a$", b"a\nb"));
    }

    #[test]
    fn classes_are_ascii_and_values_are_bytes() {
        assert!(matches(r"\d+", b"42"));
        assert!(!matches(r"\d", "\u{663}".as_bytes()));
        assert!(matches(".*", b"\xff\xfe"));
        assert!(!matches(".*", b"a\nb"));
    }

    #[test]
    fn literal_prefix_of_patterns() {
        for (pattern, start) in [
            ("/api/v[12]/.*", "/api/v"),
            (r"^/a\.b/\d+$", "/a.b/"),
            ("abc*", "ab"),
            ("abc+", "abc"),
            ("ab{0,2}", "a"),
            ("ab?", "a"),
            ("^*ab", ""),
            ("/a/(b|c)", "/a/"),
            ("/a/[|(]", "/a/"),
            ("/a/[[:alpha:](]|b", ""),
            ("a|b", ""),
            ("(?i)a", ""),
            ("a(?i)b", "a"),
            ("aü*", "a"),
            (r"a\x62", "a"),
            (r"a\*b", "a*b"),
            ("a}b]", "a}b]"),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().start(), start.as_bytes(), "{pattern}");
        }
        assert!(matches("^*ab", b"ab") && matches("ab{0,2}", b"a"));
    }

    #[test]
    fn errors_give_the_reason() {
        let reason = |pattern: &str| Pattern::new(pattern).unwrap_err().to_string();
        assert_eq!(reason(""), "is an empty regular expression");
        assert_eq!(
            reason(&"a".repeat(1025)),
            "is 1025 bytes long; a regular expression has at most 1024"
        );
        assert_eq!(reason("a)(b"), "is not a regular expression: unopened group");
        assert_eq!(
            reason("*"),
            "is not a regular expression: repetition operator missing expression"
        );
        assert_eq!(
            reason(r"\Qa.b\E"),
            r"is not supported: \Q...\E; escape the characters one by one"
        );
        assert_eq!(
            reason("(?:a{1000}){1000}"),
            "repeats a part 1000000 times; RE2 allows at most 1000"
        );
    }

    #[test]
    fn patterns_that_re2_reads_differently_are_rejected() {
        for pattern in [
            r"\C",
            "[a[b]",
            "[[a-z]]",
            "[a&&b]",
            "[a--b]",
            r"\<b",
            "(?x)a b",
            "(?u:a)",
            "(?sR)a",
            "[]a[b]",
            "[^]a&&b]",
            "a**",
            "a+*",
            "a{2}*",
            "a*??",
            "a??+",
            "(a?)?+",
            r"\x{41}+*",
        ] {
            let refused = Pattern::new(pattern);
            assert!(matches!(refused, Err(InvalidPattern::Ambiguous(_))), "{pattern}");
        }
        for pattern in [
            r"[[:alpha:]]",
            r"\[a&&b",
            r"[a\[b]",
            "a--b",
            "(?i)x",
            "(?i:u)",
            "(?P<x>a)",
            "(?s).",
            "[[:digit:]x]",
            r"\\C",
            "[]a]",
            "[a-]",
            "(?:xu)",
            "a*?b??c{2}?",
            r"[*+]*\*?",
            r"\x{41}+",
        ] {
            assert!(Pattern::new(pattern).is_ok(), "{pattern}");
        }
    }
}
