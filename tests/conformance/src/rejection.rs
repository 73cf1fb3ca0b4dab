//! Rows about configurations.

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::fault::Faults;
use sluice_policy::mirror::Mirrors;
use sluice_policy::report::Finding;
use sluice_policy::router::Router;
use sluice_policy::sni::SniPolicy;

use crate::rows::Node;

/// A configuration and what is found in it: errors, for which it is refused, or notices.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenRejection")]
pub struct Rejection {
    /// Unique in its file, the start of the test's name
    pub id: String,
    /// The configuration, JSON or not
    pub text: String,
    /// What is expected of it
    pub expect: Findings,
}

/// What is found in a configuration, all of it and in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Findings {
    /// It is refused for these errors.
    Errors(Vec<String>),
    /// It is accepted with these notices, of which there may be none.
    Notices(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRejection {
    id: String,
    // The rest of the test's name, and for readers.
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    config: Option<Box<RawValue>>,
    text: Option<String>,
    errors: Option<Vec<String>>,
    notices: Option<Vec<String>>,
}

impl TryFrom<WrittenRejection> for Rejection {
    type Error = &'static str;

    fn try_from(written: WrittenRejection) -> Result<Self, &'static str> {
        let text = match (written.config, written.text) {
            (Some(config), None) => config.get().to_owned(),
            (None, Some(text)) => text,
            _ => return Err("a row has either config or text"),
        };
        let expect = match (written.errors, written.notices) {
            (Some(errors), None) if !errors.is_empty() => Findings::Errors(errors),
            (None, Some(notices)) => Findings::Notices(notices),
            _ => return Err("a row has either errors or notices"),
        };
        Ok(Self { id: written.id, text, expect })
    }
}

/// Compiles the configuration of a row.
///
/// # Panics
/// When something else is found in it than the row says.
pub fn check(row: &Rejection) {
    let shown =
        |findings: &[Finding]| -> Vec<_> { findings.iter().map(Finding::to_string).collect() };
    let found = match Router::from_json(row.text.as_bytes(), &Node::default()) {
        Ok((_, notices)) => Findings::Notices(shown(&notices)),
        Err(rejection) => Findings::Errors(shown(&rejection.errors)),
    };
    assert!(found == row.expect, "expected {:#?}\ngot {found:#?}", row.expect);
    // The filters share one document, and what is wrong with it is wrong for all of them.
    let errors = match &row.expect {
        Findings::Errors(errors) => errors.as_slice(),
        Findings::Notices(_) => &[],
    };
    let text = row.text.as_bytes();
    for (filter, rejection) in [
        ("fault", Faults::from_json(text, &Node::default()).err()),
        ("mirror", Mirrors::from_json(text, &Node::default()).err()),
        ("sni", SniPolicy::from_json(text, &Node::default()).err()),
    ] {
        let found = rejection.map_or_else(Vec::new, |rejection| shown(&rejection.errors));
        assert!(found == errors, "expected by the {filter} filter {errors:#?}\ngot {found:#?}");
    }
}
