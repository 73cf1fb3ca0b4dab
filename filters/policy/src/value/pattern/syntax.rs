//! Parses patterns: what they may contain, and the literal text that they start with.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

use super::error::{InvalidPattern, MAX_PATTERN_BYTES};
use super::repetitions::Repetitions;

/// Parses a pattern.
///
/// # Errors
/// Text that is not a pattern.
pub fn parse(pattern: &str) -> Result<Hir, InvalidPattern> {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
    parsed.map_err(|error| {
        // The crate's text has several lines, which show the pattern; the last one has the reason.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        InvalidPattern::Syntax(reason.trim_start_matches("error: ").to_owned())
    })
}

/// Rejects constructs that RE2 and Rust's `regex` read differently, and constructs that only RE2
/// has. Returns whether the pattern has alternatives outside of groups.
pub fn check(pattern: &str) -> Result<bool, InvalidPattern> {
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
    let mut has_alternatives = false;
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
            ')' if !in_class => depth = depth.saturating_sub(1),
            '|' if !in_class && depth == 0 => has_alternatives = true,
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
    Ok(has_alternatives)
}

/// The literal bytes at the start of a pattern without alternatives.
pub fn literal_start(pattern: &str) -> Vec<u8> {
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
