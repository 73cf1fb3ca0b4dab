//! Conditions on JWT claims: header conditions named `@request.auth.claims.NAME`, as in Istio.

use crate::request::Request;
use crate::spec::string_match::ValueMatch;

/// Prefix of the header names that refer to claims; Istio compares it without case.
const PREFIX: &str = "@request.auth.claims";

/// Condition on one claim of the token that Envoy's JWT filter verified.
#[derive(Clone, Debug)]
pub struct ClaimCondition {
    /// Name of the claim, followed by the names of nested members
    pub path: Vec<String>,
    /// Condition that at least one value of the claim must match
    pub condition: ValueMatch,
    /// Whether no value may match (`withoutHeaders`)
    pub is_inverted: bool,
}

impl ClaimCondition {
    /// Returns whether the condition holds for a request.
    pub fn holds(&self, request: &Request<'_>) -> bool {
        let values = request.claim(&self.path);
        values.iter().any(|value| self.condition.is_match(Some(value))) != self.is_inverted
    }
}

/// Returns whether a header condition with this name refers to a claim.
pub fn is_claim(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Returns the path of a claim from `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`. The
/// bracket form allows dots in names. Returns `None` if the name has neither form.
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
    fn a_claim_matches_if_any_of_its_values_matches() {
        assert!(holds("@request.auth.claims.groups", r#"{"exact": "admin"}"#, false));
        assert!(holds("@request.auth.claims[a][b]", r#"{"exact": "c"}"#, false));
        assert!(holds("@Request.auth.claims.a.b", "{}", false));
        assert!(!holds("@request.auth.claims.none", "{}", false));
        assert!(!holds("@request.auth.claims.groups", r#"{"exact": "user"}"#, true));
        assert!(holds("@request.auth.claims.none", r#"{"exact": "user"}"#, true));
    }

    #[test]
    fn claim_paths_use_dots_or_brackets() {
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
