//! Rows about configurations.

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::fault::Faults;
use sluice_policy::mirror::Mirrors;
use sluice_policy::outlier::Outliers;
use sluice_policy::report::Finding;
use sluice_policy::router::Router;

use crate::rows::Node;

/// A configuration and what is found in it: errors, for which it is refused, or notices.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenRejection")]
pub struct Rejection {
    /// Unique in its file, the start of the test's name
    pub id: String,
    /// The filter that alone has these findings; all of them if absent, of notices the router
    pub filter: Option<OwnFilter>,
    /// The configuration, JSON or not
    pub text: String,
    /// What is expected of it
    pub expect: Findings,
}

/// A filter that finds something of its own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnFilter {
    /// `outlier.wasm`, for which a document without virtual services is complete
    Outlier,
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
    filter: Option<OwnFilter>,
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
        Ok(Self { id: written.id, filter: written.filter, text, expect })
    }
}

/// Compiles the configuration of a row.
///
/// # Panics
/// When something else is found in it than the row says.
pub fn check(row: &Rejection) {
    let found = |result: Result<Vec<Finding>, sluice_policy::report::Rejection>| match result {
        Ok(notices) => Findings::Notices(shown(&notices)),
        Err(rejection) => Findings::Errors(shown(&rejection.errors)),
    };
    let (text, node) = (row.text.as_bytes(), Node::default());
    let by_outlier = found(Outliers::from_json(text, &node).map(|(_, notices)| notices));
    if let Some(OwnFilter::Outlier) = row.filter {
        assert!(by_outlier == row.expect, "expected {:#?}\ngot {by_outlier:#?}", row.expect);
        return;
    }
    let by_router = found(Router::from_json(text, &node).map(|(_, notices)| notices));
    assert!(by_router == row.expect, "expected {:#?}\ngot {by_router:#?}", row.expect);
    // The filters share one document, and what is wrong with it is wrong for all of them.
    let errors = match &row.expect {
        Findings::Errors(errors) => errors.clone(),
        Findings::Notices(_) => Vec::new(),
    };
    let by_fault = found(Faults::from_json(text, &node).map(|(_, notices)| notices));
    assert_errors("fault", &by_fault, &errors);
    let by_mirror = found(Mirrors::from_json(text, &node).map(|(_, notices)| notices));
    assert_errors("mirror", &by_mirror, &errors);
    // Only that it needs no virtual services.
    let without = ["virtualServices: is required", "virtualServices: is empty"];
    let errors: Vec<_> =
        errors.into_iter().filter(|error| !without.contains(&error.as_str())).collect();
    assert_errors("outlier", &by_outlier, &errors);
}

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}

fn assert_errors(filter: &str, found: &Findings, expected: &[String]) {
    let errors = match found {
        Findings::Errors(errors) => errors.as_slice(),
        Findings::Notices(_) => &[],
    };
    assert!(errors == expected, "expected by the {filter} filter {expected:#?}\ngot {errors:#?}");
}
