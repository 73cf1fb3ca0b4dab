//! Replaces all matches of a pattern in a value, as RE2's `GlobalReplace` does.
//!
//! A deterministic automaton finds the matches, and a nondeterministic one the groups inside of
//! each match. As in RE2, patterns such as `[a-z]*[0-9]|[a-z]` take a time that is quadratic in the
//! length of the value, because each search may read the rest of it.

use std::sync::Arc;

use regex_automata::dfa::regex::Regex;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::util::captures::Captures;
use regex_automata::{Anchored, Input};

use super::automaton::{compile, finder, searcher, with_cache};
use super::error::{InvalidPattern, count_memory};
use super::syntax;
use crate::document::node::Node;
use crate::document::report::Reported;

/// A pattern whose matches are replaced.
#[derive(Clone, Debug)]
pub struct Replacer(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    matches: Regex,
    groups: PikeVM,
}

/// A match: its text, and that of its groups.
pub struct Groups<'a> {
    value: &'a [u8],
    captures: &'a Captures,
}

impl<'a> Groups<'a> {
    /// Returns the text of a group; empty if the group is not part of the match. Group 0 is the
    /// whole match.
    pub fn get(&self, group: usize) -> &'a [u8] {
        let range = self.captures.get_group(group).map(|span| span.range());
        range.and_then(|range| self.value.get(range)).unwrap_or_default()
    }
}

impl Replacer {
    /// Compiles `pattern` to match anywhere in a value.
    ///
    /// # Errors
    /// The same as for [`Pattern::new`](super::Pattern::new).
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        syntax::check(pattern)?;
        let parsed = syntax::parse(pattern)?;
        let groups = searcher(compile(&parsed, WhichCaptures::All)?)?;
        let matches = finder(&parsed)?.ok_or(InvalidPattern::NoFinder)?;
        Ok(Self(Arc::new(Compiled { matches, groups })))
    }

    /// Number of groups, including group 0.
    pub fn groups(&self) -> usize {
        self.0.groups.get_nfa().group_info().all_group_len()
    }

    fn bytes(&self) -> usize {
        let Compiled { matches, groups } = &*self.0;
        let found = matches.forward().memory_usage() + matches.reverse().memory_usage();
        found + groups.get_nfa().memory_usage()
    }

    /// Returns `value` with all matches replaced by what `append` writes for them.
    pub fn replace_all(&self, value: &[u8], append: impl Fn(&Groups<'_>, &mut Vec<u8>)) -> Vec<u8> {
        let Compiled { matches, groups } = &*self.0;
        let mut result = Vec::new();
        let mut copied = 0;
        with_cache(groups, |cache| {
            let mut captures = groups.create_captures();
            for found in matches.find_iter(value) {
                let input = Input::new(value).range(found.range()).anchored(Anchored::Yes);
                groups.captures(cache, input, &mut captures);
                result.extend_from_slice(value.get(copied..found.start()).unwrap_or_default());
                append(&Groups { value, captures: &captures }, &mut result);
                copied = found.end();
            }
        });
        result.extend_from_slice(value.get(copied..).unwrap_or_default());
        result
    }
}

/// Reads a pattern whose matches are replaced.
pub fn read_replacer(node: &Node<'_>) -> Result<Replacer, Reported> {
    let replacer = Replacer::new(node.string()?).map_err(|reason| reason.report(node))?;
    count_memory(node, Arc::as_ptr(&replacer.0).addr(), replacer.bytes())?;
    Ok(replacer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, value: &str) -> String {
        let replaced =
            Replacer::new(pattern).unwrap().replace_all(value.as_bytes(), |groups, to| {
                to.extend([b"<", groups.get(0), b"|", groups.get(1), b">"].concat());
            });
        String::from_utf8(replaced).unwrap()
    }

    #[test]
    fn all_matches_are_replaced_with_their_groups() {
        assert_eq!(replaced("/(a+)", "/a/b/aa"), "</a|a>/b</aa|aa>");
        assert_eq!(replaced("(a)|b", "ab-"), "<a|a><b|>-");
        // An empty match directly after a match is none, as in RE2.
        assert_eq!(replaced("a*", "baac"), "<|>b<aa|>c<|>");
        // The first alternative is preferred, and assertions see what is around the match.
        assert_eq!(replaced(r"(a)|ab|\bx\b", "ab x xy"), "<a|a>b <x|> xy");
    }

    #[test]
    fn patterns_whose_matches_are_expensive_to_find_are_rejected() {
        let reason = |pattern| Replacer::new(pattern).unwrap_err();
        assert_eq!(reason("a.{30}b"), InvalidPattern::NoFinder);
        assert_eq!(reason("(.*a.{500}b)"), InvalidPattern::TooManyStates(Some(511)));
    }
}
