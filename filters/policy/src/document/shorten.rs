//! Shortens texts of a document for messages, since they can have any length.

use std::borrow::Cow;
use std::fmt;

use crate::document::json::SHOWN;

/// Returns a path for messages, with at most [`SHOWN`] characters of each key.
pub fn shorten_keys(path: &str) -> Cow<'_, str> {
    if path.len() <= SHOWN {
        return path.into();
    }
    let mut short = String::new();
    let (mut length, mut is_quoted, mut is_escaped) = (0_usize, false, false);
    for c in path.chars() {
        let is_quote = c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        is_quoted ^= is_quote;
        if is_quote || !is_quoted && matches!(c, '.' | '[' | ']') {
            if length > SHOWN {
                short.push_str("...");
            }
            length = 0;
            short.push(c);
        } else {
            length = length.saturating_add(1);
            if length <= SHOWN {
                short.push(c);
            }
        }
    }
    if length > SHOWN {
        short.push_str("...");
    }
    short.into()
}

/// A text of which at most [`MAX_SHOWN`] bytes are written.
pub struct Cut<'a>(pub &'a str);

/// Maximum length of the path and of the reason of a finding that is shown, in bytes.
pub const MAX_SHOWN: usize = 500;

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_at_checked(self.0.floor_char_boundary(MAX_SHOWN)) {
            Some((start, rest)) if !rest.is_empty() => write!(f, "{start}..."),
            _ => f.write_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::document::report::{Finding, Kind};

    #[test]
    fn each_key_of_a_path_is_cut_at_80_characters() {
        let long = "\u{e4}".repeat(81);
        let shown = |path: &str| Finding::new(path.to_owned(), Kind::Error, "bad").to_string();
        let cut = |end: &str| ["\u{e4}".repeat(80).as_str(), end].concat();
        let name = "n".repeat(81);
        for (path, expected) in [
            (format!("a.{name}[10].b"), format!("a.{}...[10].b", "n".repeat(80))),
            (format!("a.{name}"), format!("a.{}...", "n".repeat(80))),
            (format!("a[\"{long}\"].b"), format!("a[\"{}\"].b", cut("..."))),
            (
                format!(r#"["\"].{long}"].b"#),
                // The escaped quotation mark does not end the key.
                format!(r#"["\"].{}..."].b"#, "\u{e4}".repeat(76)),
            ),
            (format!("a.{}.b", "n".repeat(80)), format!("a.{}.b", "n".repeat(80))),
        ] {
            assert_eq!(shown(&path), format!("{expected}: bad"));
        }
    }
}
