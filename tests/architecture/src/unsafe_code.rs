//! Where the keyword `unsafe` is.

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

/// The lines with the keyword `unsafe` in the text of a file, from 1. Macros and attributes count,
/// comments and strings do not.
///
/// # Errors
/// If the text is not Rust.
pub fn unsafe_lines(text: &str) -> Result<Vec<usize>> {
    let tokens: TokenStream = text.parse().ok().context("is not Rust")?;
    let mut lines = Vec::new();
    collect(tokens, &mut lines);
    lines.dedup();
    Ok(lines)
}

fn collect(tokens: TokenStream, lines: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), lines),
            TokenTree::Ident(ident) if ident == "unsafe" => lines.push(ident.span().start().line),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_is_found_wherever_it_is() {
        let text = "\
// unsafe
#[unsafe(no_mangle)]
extern \"C\" fn call() { unsafe { f() }; g(unsafe { f() }) }
unsafe extern \"C\" { fn f(); }
unsafe impl Send for X {}
vec![unsafe { f() }]";
        assert_eq!(unsafe_lines(text).unwrap(), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn the_word_alone_is_not_the_keyword() {
        let text =
            "#![forbid(unsafe_code)]\n/// unsafe\nfn r#unsafe() { \"unsafe\"; } /* unsafe */";
        assert_eq!(unsafe_lines(text).unwrap(), [0; 0]);
        assert!(unsafe_lines("fn f( {").is_err());
    }
}
