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
use regex_syntax::hir::{Hir, Look};

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
#[expect(clippy::large_enum_variant, reason = "almost all have the large one")]
pub enum Automaton {
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
        let whole = Hir::concat(vec![Hir::look(Look::Start), pattern, Hir::look(Look::End)]);
        let nfa = compile(&whole, WhichCaptures::None)?;
        match deterministic(&nfa, StartKind::Anchored, MatchKind::LeftmostFirst) {
            Some(dfa) => Ok(Self::Deterministic(dfa)),
            None => searcher(nfa).map(Self::Nondeterministic),
        }
    }

    /// The memory of the automaton, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Deterministic(dfa) => dfa.memory_usage(),
            Self::Nondeterministic(searcher) => searcher.get_nfa().memory_usage(),
        }
    }

    /// Returns whether the pattern matches the whole `value`.
    #[inline]
    pub fn is_match(&self, value: &[u8]) -> bool {
        let input = Input::new(value).anchored(Anchored::Yes);
        match self {
            Self::Deterministic(dfa) => matches!(dfa.try_search_fwd(&input), Ok(Some(_))),
            Self::Nondeterministic(searcher) => {
                with_cache(searcher, |cache| searcher.is_match(cache, input))
            }
        }
    }
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
