//! Compiled patterns that must match whole values.
//!
//! A search takes one step for each byte of the value if the pattern has a deterministic automaton,
//! which almost every pattern has. But the automaton of `.*a.{20}`, for example, has a million
//! states, because it remembers the last 21 bytes. Such a pattern is searched with a
//! nondeterministic one, which takes up to one step for each byte and state, so that it must be
//! small. A pattern with neither is rejected: otherwise a request with a long path could hold up a
//! worker for seconds.

use std::cell::RefCell;

use regex_automata::dfa::regex::{self, Regex};
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Hir, HirKind, Literal, Look};

use super::error::{InvalidPattern, MAX_STATES};

/// Maximum size of a deterministic automaton, in bytes. Those of common patterns have up to 10 kB.
const MAX_DFA_BYTES: usize = 64 << 10;

/// Maximum memory for the attempt to build one, in bytes. It ends after a few milliseconds.
const MAX_BUILD_BYTES: usize = 256 << 10;

/// Maximum size of a nondeterministic automaton, in bytes: about 20,000 states.
const MAX_NFA_BYTES: usize = 512 << 10;

thread_local! {
    /// What a search with a nondeterministic automaton needs, for one search after the other.
    static CACHE: RefCell<Option<pikevm::Cache>> = const { RefCell::new(None) };
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Automaton {
    /// The text that every value starts with, which is compared at once
    start: Box<[u8]>,
    rest: Rest,
}

/// The part of a pattern after its literal start.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "almost all have the large one")]
enum Rest {
    /// One step for each byte
    Deterministic(dense::DFA<Vec<u32>>),
    /// Up to one step for each byte and state
    Nondeterministic(PikeVM),
}

impl Automaton {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If a search could take too long.
    pub fn new(pattern: Hir) -> Result<Self, InvalidPattern> {
        let (start, rest) = split_start(pattern);
        let nfa = compile(&rest, WhichCaptures::None)?;
        let rest = match deterministic(&nfa, StartKind::Anchored, MatchKind::LeftmostFirst) {
            Some(dfa) => Rest::Deterministic(dfa),
            None => Rest::Nondeterministic(searcher(nfa)?),
        };
        Ok(Self { start, rest })
    }

    /// The memory of the automaton, in bytes.
    pub fn bytes(&self) -> usize {
        let rest = match &self.rest {
            Rest::Deterministic(dfa) => dfa.memory_usage(),
            Rest::Nondeterministic(searcher) => searcher.get_nfa().memory_usage(),
        };
        self.start.len() + rest
    }

    /// Returns whether a search takes one step for each byte.
    #[cfg(test)]
    pub fn is_deterministic(&self) -> bool {
        matches!(self.rest, Rest::Deterministic(_))
    }

    /// Returns whether the pattern matches the whole `value`.
    #[inline]
    pub fn is_match(&self, value: &[u8]) -> bool {
        if !value.starts_with(&self.start) {
            return false;
        }
        // A part of the value, so that `\b` after the start sees the byte before.
        let input = Input::new(value).range(self.start.len()..).anchored(Anchored::Yes);
        match &self.rest {
            Rest::Deterministic(dfa) => matches!(dfa.try_search_fwd(&input), Ok(Some(_))),
            Rest::Nondeterministic(searcher) => {
                with_cache(searcher, |cache| searcher.is_match(cache, input))
            }
        }
    }
}

/// Splits a pattern into the text that all matches start with, and the rest up to the end of the
/// value. Without such a text, the rest is anchored to the start of the value. Each byte of a text
/// would be a state, so that the automaton of the whole pattern is several times larger.
fn split_start(pattern: Hir) -> (Box<[u8]>, Hir) {
    let parts = match pattern.kind() {
        HirKind::Concat(parts) => parts,
        _ => std::slice::from_ref(&pattern),
    };
    // Searches start where the value does.
    let is_start = |part: &&Hir| matches!(part.kind(), HirKind::Look(Look::Start));
    let index = parts.iter().take_while(is_start).count();
    let end = Hir::look(Look::End);
    let Some(HirKind::Literal(Literal(start))) = parts.get(index).map(Hir::kind) else {
        // Without an anchor, the automaton would have states for what comes before a match.
        return (Box::default(), Hir::concat(vec![Hir::look(Look::Start), pattern, end]));
    };
    let start = start.clone();
    let rest = match pattern.into_kind() {
        HirKind::Concat(parts) => parts.into_iter().skip(index + 1).chain([end]).collect(),
        _ => vec![end],
    };
    (start, Hir::concat(rest))
}

/// Builds a deterministic automaton, or returns `None` if it would be too large.
fn deterministic(nfa: &NFA, start: StartKind, kind: MatchKind) -> Option<dense::DFA<Vec<u32>>> {
    let settings = dense::Config::new()
        .accelerate(false)
        .dfa_size_limit(Some(MAX_DFA_BYTES))
        .determinize_size_limit(Some(MAX_BUILD_BYTES))
        .match_kind(kind)
        .start_kind(start);
    dense::Builder::new().configure(settings).build_from_nfa(nfa).ok()
}

/// Compiles a pattern to find its matches inside of a value: one automaton finds the end of a
/// match, and one its start, backwards. Returns `None` if one of them would be too large.
///
/// # Errors
/// If the pattern is too large.
pub fn finder(pattern: &Hir) -> Result<Option<Regex>, InvalidPattern> {
    let forward = compile(pattern, WhichCaptures::None)?;
    let settings = nfa_settings(WhichCaptures::None).reverse(true);
    let reverse = compile_with(pattern, settings)?;
    let forward = deterministic(&forward, StartKind::Both, MatchKind::LeftmostFirst);
    let reverse = deterministic(&reverse, StartKind::Anchored, MatchKind::All);
    Ok(forward
        .zip(reverse)
        .map(|(forward, reverse)| regex::Builder::new().build_from_dfas(forward, reverse)))
}

fn nfa_settings(groups: WhichCaptures) -> thompson::Config {
    let settings = thompson::Config::new().nfa_size_limit(Some(MAX_NFA_BYTES));
    settings.utf8(false).which_captures(groups)
}

fn compile_with(pattern: &Hir, settings: thompson::Config) -> Result<NFA, InvalidPattern> {
    let compiled = thompson::Compiler::new().configure(settings).build_from_hir(pattern);
    compiled.map_err(|_| InvalidPattern::TooManyStates(None))
}

/// Compiles a pattern to a nondeterministic automaton.
///
/// # Errors
/// If it is too large.
pub fn compile(pattern: &Hir, groups: WhichCaptures) -> Result<NFA, InvalidPattern> {
    compile_with(pattern, nfa_settings(groups))
}

/// Makes searches with a nondeterministic automaton possible.
///
/// # Errors
/// If it has too many states.
pub fn searcher(nfa: NFA) -> Result<PikeVM, InvalidPattern> {
    let states = nfa.states().len();
    if states > MAX_STATES {
        return Err(InvalidPattern::TooManyStates(Some(states)));
    }
    PikeVM::new_from_nfa(nfa).map_err(|_| InvalidPattern::TooManyStates(Some(states)))
}

/// Calls a function that searches.
pub fn with_cache<T>(searcher: &PikeVM, search: impl FnOnce(&mut pikevm::Cache) -> T) -> T {
    // Taken out, so that a search inside of another one has a cache of its own.
    let mut cache = CACHE.take().unwrap_or_else(|| searcher.create_cache());
    cache.reset(searcher);
    let result = search(&mut cache);
    CACHE.set(Some(cache));
    result
}
