//! Conditions on the claims of a request's JWT: header conditions called `@request.auth.claims...`.

use crate::request::Request;
use crate::spec::string_match::ValueMatch;

/// Header conditions with this prefix are on claims.
const PREFIX: &str = "@request.auth.claims";

/// A condition on one claim of the token that Envoy's JWT filter verified.
#[derive(Clone, Debug)]
pub struct ClaimCondition {
    /// The name of the claim, and of the members inside of it
    pub path: Vec<String>,
    /// What any of its values has to be
    pub condition: ValueMatch,
    /// Whether no value may be so (`withoutHeaders`)
    pub is_inverted: bool,
}

impl ClaimCondition {
    /// Whether the condition holds for a request.
    pub fn holds(&self, request: &Request<'_>) -> bool {
        let values = request.claim(&self.path);
        values.iter().any(|value| self.condition.is_match(Some(value))) != self.is_inverted
    }
}

/// Whether a header condition of this name is on a claim.
pub fn is_claim(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The members that lead to a claim, from `@request.auth.claims.a.b` or
/// `@request.auth.claims[a][b]`; the latter form allows dots in names.
pub fn path_of(name: &str) -> Option<Vec<String>> {
    let rest = name.get(PREFIX.len()..)?;
    let bracketed = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parts: Vec<String> = match (rest.strip_prefix('.'), bracketed) {
        (Some(dotted), _) => dotted.split('.').map(str::to_owned).collect(),
        (None, Some(bracketed)) => bracketed.split("][").map(str::to_owned).collect(),
        (None, None) => return None,
    };
    (!parts.iter().any(String::is_empty)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FixedAttributes};

    fn holds(name: &str, text: &str, is_inverted: bool) -> bool {
        let condition = testing::read(text, crate::spec::string_match::read_value_match).unwrap();
        let attributes = FixedAttributes {
            claims: vec![(vec!["groups"], vec!["user", "admin"]), (vec!["a", "b"], vec!["c"])],
            ..Default::default()
        };
        let claim = ClaimCondition { path: path_of(name).unwrap(), condition, is_inverted };
        claim.holds(&Request::new(&[], &attributes))
    }

    #[test]
    fn a_claim_matches_by_any_of_its_values() {
        assert!(holds("@request.auth.claims.groups", r#"{"exact": "admin"}"#, false));
        assert!(holds("@request.auth.claims[a][b]", r#"{"exact": "c"}"#, false));
        assert!(holds("@Request.auth.claims.a.b", "{}", false));
        assert!(!holds("@request.auth.claims.none", "{}", false));
        assert!(!holds("@request.auth.claims.groups", r#"{"exact": "user"}"#, true));
        assert!(holds("@request.auth.claims.none", r#"{"exact": "user"}"#, true));
    }

    #[test]
    fn names_are_dotted_or_bracketed() {
        assert_eq!(path_of("@request.auth.claims[a.b][c]").unwrap(), ["a.b", "c"]);
        for name in [
            "@request.auth.claims",
            "@request.auth.claims.",
            "@request.auth.claims[]",
            "x-claims.a",
        ] {
            assert_eq!(path_of(name), None, "{name}");
        }
    }
}
