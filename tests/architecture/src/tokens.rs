//! Paths in the tokens of macro calls, macro definitions and attributes.
//!
//! The meaning of tokens depends on the macro, so everything that has the form of a path is treated
//! as one.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ItemUse;

/// What the tokens name.
#[derive(Default)]
pub struct Paths {
    /// The segments of each path; most have only one.
    pub paths: Vec<Vec<Ident>>,
    /// The `use` items.
    pub uses: Vec<ItemUse>,
}

impl Paths {
    /// Finds the paths in tokens, also in brackets of any depth. Paths that begin with `::` are
    /// left out.
    pub fn of(tokens: TokenStream) -> Self {
        let mut paths = Self::default();
        paths.collect(tokens);
        paths
    }

    fn collect(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let [token, after @ ..] = rest {
            rest = match token {
                TokenTree::Group(group) => {
                    self.collect(group.stream());
                    after
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    self.collect_use(rest).unwrap_or(after)
                }
                TokenTree::Ident(first) => {
                    let (path, after) = path(first, after);
                    self.paths.push(path);
                    after
                }
                // The token after these is not the first segment of a path.
                _ => match colons_and_name(rest) {
                    Some((name, after)) => path(name, after).1,
                    None => after,
                },
            }
        }
    }

    /// Parses the `use` item at the beginning of the tokens and returns the tokens after it.
    fn collect_use<'t>(&mut self, tokens: &'t [TokenTree]) -> Option<&'t [TokenTree]> {
        let is_end = |token: &TokenTree| is_punctuation(token, ';');
        let length = tokens.iter().position(is_end)? + 1;
        let (item, after) = tokens.split_at_checked(length)?;
        self.uses.push(syn::parse2(item.iter().cloned().collect()).ok()?);
        Some(after)
    }
}

/// The path that begins with a segment, and the tokens after it.
fn path<'t>(first: &Ident, mut rest: &'t [TokenTree]) -> (Vec<Ident>, &'t [TokenTree]) {
    let mut path = vec![first.clone()];
    while let Some((segment, after)) = colons_and_name(rest) {
        path.push(segment.clone());
        rest = after;
    }
    (path, rest)
}

/// Two colons and a name, with which the tokens begin, and the tokens after them.
fn colons_and_name(tokens: &[TokenTree]) -> Option<(&Ident, &[TokenTree])> {
    match tokens {
        [first, second, TokenTree::Ident(name), after @ ..]
            if is_punctuation(first, ':') && is_punctuation(second, ':') =>
        {
            Some((name, after))
        }
        _ => None,
    }
}

fn is_punctuation(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punctuation) if punctuation.as_char() == character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let paths = Paths::of(text.parse().unwrap()).paths.into_iter();
        let long = paths.filter(|path| path.len() > 1);
        long.map(|path| path.iter().map(Ident::to_string).collect::<Vec<_>>().join("::")).collect()
    }

    #[test]
    fn paths_are_found_in_brackets_too() {
        assert_eq!(
            paths("a::b(x, [crate::c::D { e: super::f::<g::H>() }])"),
            ["a::b", "crate::c::D", "super::f", "g::H"]
        );
        assert_eq!(paths("$crate::a::b!(x: y)"), ["crate::a::b"]);
    }

    #[test]
    fn the_rest_of_a_path_is_not_a_path() {
        assert_eq!(paths("::a::b; <T as c::D>::e::f; g::<h>::i::j"), ["c::D"]);
    }

    #[test]
    fn use_items_are_found() {
        let paths = Paths::of("{ use a::{b, c}; d::e(); } let use_ = 1;".parse().unwrap());
        assert_eq!(paths.uses.len(), 1);
        let paths: Vec<_> = paths.paths.iter().map(Vec::len).collect();
        // d::e, let, use_
        assert_eq!(paths, [2, 1, 1]);
    }
}
