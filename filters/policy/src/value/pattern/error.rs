//! The limits of patterns, and why a pattern is rejected.

use std::fmt;

use super::repetitions::MAX_REPETITIONS;
use crate::document::node::Node;
use crate::document::report::Reported;

/// The longest pattern, in bytes, that Istio accepts.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Maximum memory of the compiled patterns of a document, in bytes. Each worker has a copy, and two
/// of them while a document is replaced. A pattern takes 3 kB on average, and 64 kB at most.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// Maximum number of states of a pattern that has no deterministic automaton of 64 KiB. A byte of a
/// value may take a step for each of them.
pub const MAX_STATES: usize = 128;

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
    /// The pattern has more than [`MAX_STATES`] states. The value is their number, if it is not too
    /// large to be known.
    TooManyStates(Option<usize>),
    /// The matches inside of a value are to be found, but the pattern has no deterministic
    /// automaton of 64 KiB.
    NoFinder,
    /// The patterns of the document take more than [`MAX_DOCUMENT_BYTES`]. The value is their size
    /// up to this pattern.
    TooMuchMemory(usize),
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
            Self::TooManyStates(count) => {
                f.write_str("takes up to ")?;
                match count {
                    Some(count) => write!(f, "{count}")?,
                    None => f.write_str("more than 20,000")?,
                }
                write!(
                    f,
                    " steps for each byte of a value; at most {MAX_STATES} are allowed; use smaller \
                     repetitions {{...}}, or .* fewer times"
                )
            }
            Self::NoFinder => f.write_str(
                "takes too many steps to find its matches; use smaller repetitions {...}, or .* \
                 fewer times",
            ),
            Self::TooMuchMemory(bytes) => write!(
                f,
                "and the patterns before it take {bytes} bytes of memory; at most \
                 {MAX_DOCUMENT_BYTES} are allowed in a document; use fewer or smaller patterns"
            ),
        }
    }
}

/// Adds the memory of a compiled pattern to that of the document.
pub fn count_memory(node: &Node<'_>, address: usize, bytes: usize) -> Result<(), Reported> {
    let total = node.count_memory(address, bytes);
    if total <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    Err(InvalidPattern::TooMuchMemory(total).report(node))
}
