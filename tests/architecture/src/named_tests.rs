//! Tests that a document names, and the tests that a source file has.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A test that a document names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedTest {
    /// The Rust file with the test, as the document gives it.
    pub file: String,
    /// The name of its function.
    pub name: String,
}

/// Returns the rows of the tables below a heading of a Markdown document, each with the tests that
/// its last cell names. Heads of tables are left out.
///
/// A cell names tests as `` `FILE.rs`: `TEST`, `TEST` ``, once or several times. The parts in
/// backticks have no spaces.
///
/// # Errors
/// If a cell names a test without a file, or a file without a test.
pub fn rows(document: &str, heading: &str) -> Result<Vec<(String, Vec<NamedTest>)>> {
    let mut rows: Vec<(String, Vec<NamedTest>)> = Vec::new();
    let mut is_below = false;
    for line in document.lines() {
        if line.starts_with('#') {
            is_below = line.trim_start_matches('#').trim() == heading;
        }
        let Some(cells) = line.strip_prefix('|').filter(|_| is_below) else { continue };
        if cells.starts_with("--") {
            // What stands above this line is the head.
            rows.pop();
            continue;
        }
        let mut cells = cells.trim_end_matches('|').split('|').map(str::trim);
        let first = cells.next().unwrap_or_default().to_owned();
        let tests = tests_in(cells.next_back().unwrap_or_default());
        rows.push((first.clone(), tests.context(first)?));
    }
    Ok(rows)
}

fn tests_in(cell: &str) -> Result<Vec<NamedTest>> {
    let mut tests = Vec::new();
    let (mut file, mut is_used) = (None, true);
    for code in cell.split('`').skip(1).step_by(2) {
        if code.ends_with(".rs") {
            anyhow::ensure!(is_used, "names no test in a file before {code}");
            (file, is_used) = (Some(code), false);
        } else {
            let file = file.with_context(|| format!("names {code} without a file"))?;
            tests.push(NamedTest { file: file.to_owned(), name: code.to_owned() });
            is_used = true;
        }
    }
    anyhow::ensure!(is_used, "names a file without a test");
    Ok(tests)
}

/// Returns the names of the tests in the text of a Rust file, also of those in macros. Tests with
/// `#[ignore]` are left out, because they do not run with the others.
///
/// # Errors
/// If the text is not Rust.
pub fn tests_of(text: &str) -> Result<BTreeSet<String>> {
    let tokens: TokenStream = text.parse().ok().context("is not Rust")?;
    let mut tests = BTreeSet::new();
    collect(tokens, &mut tests);
    Ok(tests)
}

fn collect(tokens: TokenStream, tests: &mut BTreeSet<String>) {
    let (mut is_test, mut is_ignored) = (false, false);
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.peek()
                    && attribute.delimiter() == Delimiter::Bracket
                {
                    let name = last_segment(attribute.stream());
                    is_test |= name.as_deref() == Some("test");
                    is_ignored |= name.as_deref() == Some("ignore");
                    tokens.next();
                }
            }
            TokenTree::Ident(keyword) if keyword == "fn" => {
                if let Some(TokenTree::Ident(name)) = tokens.peek()
                    && is_test
                    && !is_ignored
                {
                    tests.insert(name.to_string());
                }
                (is_test, is_ignored) = (false, false);
            }
            TokenTree::Group(group) => {
                // The end of another item. Brackets belong to `pub(crate)`.
                if group.delimiter() == Delimiter::Brace {
                    (is_test, is_ignored) = (false, false);
                }
                collect(group.stream(), tests);
            }
            _ => {}
        }
    }
}

/// Returns the last name of the path with which an attribute begins: `test` of `tokio::test(...)`.
fn last_segment(attribute: TokenStream) -> Option<String> {
    let mut last = None;
    for token in attribute {
        match token {
            TokenTree::Ident(name) => last = Some(name.to_string()),
            TokenTree::Punct(sign) if sign.as_char() == ':' => {}
            _ => break,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
# Security

| not | `this.rs`: `one` |

## Threats

| threat | tests |
|---|---|
| a client lies | `a.rs`: `x`, `y`; `b.rs`: `z` |
| a client waits |  |

## Others

| a | `c.rs`: `w` |
";

    fn named(file: &str, name: &str) -> NamedTest {
        NamedTest { file: file.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn rows_name_tests_with_their_files() {
        let expected = [
            (
                "a client lies".to_owned(),
                vec![named("a.rs", "x"), named("a.rs", "y"), named("b.rs", "z")],
            ),
            ("a client waits".to_owned(), Vec::new()),
        ];
        assert_eq!(rows(DOCUMENT, "Threats").unwrap(), expected);
        assert_eq!(rows(DOCUMENT, "None").unwrap(), []);
    }

    #[test]
    fn incomplete_names_are_errors() {
        let error = |cell: &str| {
            let document = format!("# Threats\n| lies | {cell} |\n");
            format!("{:#}", rows(&document, "Threats").unwrap_err())
        };
        assert_eq!(error("`x`"), "lies: names x without a file");
        assert_eq!(error("`a.rs`"), "lies: names a file without a test");
        assert_eq!(error("`a.rs`, `b.rs`: `x`"), "lies: names no test in a file before b.rs");
    }

    #[test]
    fn tests_are_functions_with_the_attribute() {
        let text = "\
#[test] fn plain() {}
#[tokio::test(flavor = \"multi_thread\")] async fn with_runtime() { #[test] fn inner() {} }
proptest! { #[test] fn in_a_macro(n in 0..3) {} }
#[cfg(test)] mod tests { #[test] #[should_panic] pub(crate) fn in_a_module() {} }
#[test] #[ignore = \"takes minutes\"] fn ignored() {}
#[cfg(test)] fn helper() {}
/// #[test]
fn no_test() {}
// #[test] fn commented() {}
";
        let found: Vec<_> = tests_of(text).unwrap().into_iter().collect();
        assert_eq!(found, ["in_a_macro", "in_a_module", "inner", "plain", "with_runtime"]);
        assert!(tests_of("fn f( {").is_err());
    }
}
