//! Regular expressions: the part of RE2's syntax that has the same meaning in Rust's `regex`.
//!
//! Istio and Envoy read patterns with RE2. The `regex` crate, whose parser and automata are used,
//! is based on RE2, but a few patterns are valid in both and have different meanings. These
//! patterns are rejected, because they would match differently than in Istio. Patterns match bytes,
//! and their classes are ASCII, as in RE2: `\d` is `[0-9]`.

use std::sync::Arc;

use crate::document::node::Node;
use crate::document::report::Reported;

mod automaton;
mod cache;
mod error;
mod repetitions;
mod replace;
mod syntax;

pub use error::{InvalidPattern, MAX_DOCUMENT_BYTES, MAX_PATTERN_BYTES, MAX_STATES};
pub use repetitions::MAX_REPETITIONS;
pub use replace::{Groups, Replacer, read_replacer};

use automaton::Automaton;
use cache::Cache;
use error::count_memory;

thread_local! {
    static COMPILED: Cache<Compiled> = const { Cache::new() };
}

/// A pattern that must match the whole value, as in all matches of Istio.
#[derive(Clone, Debug)]
pub struct Pattern(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: Box<str>,
    start: Box<[u8]>,
    automaton: Automaton,
}

impl Pattern {
    /// Compiles `pattern` to match from the first to the last byte. Patterns with the same text
    /// share the compiled form.
    ///
    /// # Errors
    /// [`InvalidPattern`] if Istio rejects the pattern too, if RE2 reads it differently, or if a
    /// search would take too long.
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        COMPILED.with(|cache| cache.get(pattern, || Compiled::new(pattern))).map(Self)
    }

    /// The literal prefix of all values that match. Empty if the pattern does not show one.
    pub fn start(&self) -> &[u8] {
        &self.0.start
    }

    /// Returns whether the pattern is `.*`, which Istio treats as a match of every value.
    pub fn is_anything(&self) -> bool {
        self.as_str() == ".*"
    }

    /// The pattern as written in the configuration.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The memory of the compiled pattern, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Compiled>() + self.0.text.len() + self.0.start.len() + self.0.automaton.bytes()
    }

    /// Returns whether the pattern matches the whole `value`.
    #[inline]
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.0.automaton.is_match(value)
    }
}

impl Compiled {
    fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        let has_alternatives = syntax::check(pattern)?;
        let automaton = Automaton::new(syntax::parse(pattern)?)?;
        let start = if has_alternatives { Vec::new() } else { syntax::literal_start(pattern) };
        Ok(Self { text: pattern.into(), start: start.into(), automaton })
    }
}

/// Reads a pattern that must match whole values.
pub fn read_pattern(node: &Node<'_>) -> Result<Pattern, Reported> {
    compile_pattern(node, node.string()?)
}

/// Compiles a pattern that is made from `node`, where errors are reported.
pub fn compile_pattern(node: &Node<'_>, text: &str) -> Result<Pattern, Reported> {
    let pattern = Pattern::new(text).map_err(|reason| reason.report(node))?;
    count_memory(node, Arc::as_ptr(&pattern.0).addr(), pattern.bytes())?;
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &[u8]) -> bool {
        Pattern::new(pattern).unwrap().is_match(value)
    }

    #[test]
    fn the_literal_start_is_compared_apart() {
        for (pattern, matching, other) in [
            ("/api/[a-z]+", "/api/a", "/apj/a"),
            ("^/api/[a-z]+$", "/api/a", "/api/"),
            ("abc", "abc", "ab"),
            ("^abc$", "abc", "abcd"),
            (r"a\bx?", "a", "ax"),
            (r"a\Bx?", "ax", "a"),
            (r"(?m)a\n^b", "a\nb", "a\n"),
            ("a(b|^c)", "ab", "ac"),
            (r"\ba", "a", "b"),
            ("(?i)ab", "AB", "b"),
            ("^^a", "a", "^a"),
            ("abc*", "ab", "abd"),
        ] {
            assert!(matches(pattern, matching.as_bytes()), "{pattern}");
            assert!(!matches(pattern, other.as_bytes()), "{pattern}");
        }
        let bytes = |pattern| Pattern::new(pattern).unwrap().bytes();
        assert!(bytes("/api/v1/products/[a-z]+") < bytes("[a-z]+") + 100);
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
        assert_eq!(
            reason(&".{1000}".repeat(5)),
            "takes up to 5003 steps for each byte of a value; at most 128 are allowed; use smaller \
             repetitions {...}, or .* fewer times"
        );
    }

    #[test]
    fn patterns_of_a_document_have_a_memory_limit() {
        let read = |node: &Node<'_>| {
            let first = read_pattern(node)?;
            let counted = node.count_memory(0, 0);
            let second = read_pattern(node)?;
            // Equal patterns share their memory.
            assert!(counted >= first.bytes());
            assert_eq!(node.count_memory(0, 0), counted);
            assert!(Arc::ptr_eq(&first.0, &second.0));
            node.count_memory(1, MAX_DOCUMENT_BYTES - counted);
            read_pattern(node)?;
            node.count_memory(2, 1);
            read_pattern(node)
        };
        assert_eq!(
            crate::testing::read(r#""a+""#, read).unwrap_err(),
            "configuration: \"a+\" and the patterns before it take 16777217 bytes of memory; at \
             most 16777216 are allowed in a document; use fewer or smaller patterns"
        );
    }

    #[test]
    fn most_patterns_take_one_step_for_a_byte() {
        for pattern in [
            "/api/v[12]/.*",
            "^(.*?;)?(user=jason)(;.*)?$",
            r"^.*\.(ico|png|jpg)$",
            "[a-z0-9.-]{1,253}",
            "(?i).*(android|iphone|ipad).*",
            "([a-z]{1,63}\\.){1,8}[a-z]{2,63}",
            ".{1000}",
            "((a?){50})*",
        ] {
            let automaton = &Pattern::new(pattern).unwrap().0.automaton;
            assert!(automaton.is_deterministic(), "{pattern}");
        }
    }

    #[test]
    fn patterns_without_a_deterministic_automaton_are_small() {
        let pattern = Pattern::new(".*a.{100}b").unwrap();
        assert!(!pattern.0.automaton.is_deterministic());
        let value = |end| [&b"xaxa"[..], &[b'x'; 98], end].concat();
        assert!(pattern.is_match(&value(b"b")) && pattern.is_match(&value(b"yyb")));
        assert!(!pattern.is_match(&value(b"yb")) && !pattern.is_match(&value(b"yyyb")));
        let reason = |pattern| Pattern::new(pattern).unwrap_err();
        assert_eq!(reason("(.*a.{500}b)"), InvalidPattern::TooManyStates(Some(507)));
        assert_eq!(reason(&"(.*a.{900}b){1}".repeat(60)), InvalidPattern::TooManyStates(None));
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
