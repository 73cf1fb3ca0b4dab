//! Texts that satisfy a condition.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

/// A text that satisfies a StringMatch; `None` if it is not known how.
pub fn satisfying(condition: &Value) -> Option<String> {
    if let Some(text) = condition["exact"].as_str() {
        return Some(text.to_owned());
    }
    if let Some(text) = condition["prefix"].as_str() {
        return Some(format!("{text}x"));
    }
    match condition["regex"].as_str() {
        Some(pattern) => matching(pattern),
        None => Some("x".to_owned()),
    }
}

/// A short text that a regular expression matches.
fn matching(pattern: &str) -> Option<String> {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let hir = parser.parse(pattern).ok()?;
    let mut text = String::new();
    write(&hir, &mut text)?;
    Some(text)
}

fn write(hir: &Hir, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => text.push(choose(
            class.ranges().iter().map(|range| (range.start() as u32, range.end() as u32)),
        )?),
        HirKind::Class(Class::Bytes(class)) => text.push(choose(
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())),
        )?),
        HirKind::Repetition(repetition) => {
            let count = repetition.min.max(u32::from(repetition.max != Some(0)));
            for _ in 0..count {
                write(&repetition.sub, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, text)?;
            }
        }
        HirKind::Alternation(parts) => write(parts.first()?, text)?,
    }
    Some(())
}

/// A character of a class that may stand in a path: a letter or digit if there is one.
fn choose(ranges: impl Iterator<Item = (u32, u32)> + Clone) -> Option<char> {
    let has = |c: &char| ranges.clone().any(|(first, last)| (first..=last).contains(&(*c as u32)));
    ['a', '1', 'A', '-', '.', '_', '/', ' ']
        .into_iter()
        .chain('b'..='z')
        .chain('0'..='9')
        .chain('B'..='Z')
        .chain('!'..='~')
        .find(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_match_their_expression() {
        let cases = [
            ("/a/.*", "/a/a"),
            ("^(.*?;)?(user=jason)(;.*)?$", "a;user=jason;a"),
            (r"/api/v\d+/[^/]{2,}", "/api/v1/aa"),
            ("x|y", "x"),
        ];
        for (pattern, text) in cases {
            assert_eq!(matching(pattern).as_deref(), Some(text));
        }
    }
}
