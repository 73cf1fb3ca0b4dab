//! Rows about configurations.

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::chain::Chain;
use sluice_policy::document::report::{Finding, Rejection as PolicyRejection};
use sluice_policy::egress::Egress;
use sluice_policy::fault::Faults;
use sluice_policy::mirror::Mirrors;
use sluice_policy::outlier::Outliers;
use sluice_policy::router::Router;
use sluice_policy::sni::SniPolicy;
use sluice_policy::spec::policy::Policy;

use crate::rows::Node;

/// A configuration and its findings: errors, for which it is refused, or notices.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenRejection")]
pub struct Rejection {
    /// Identifier, unique in its file; the test name begins with it
    pub id: String,
    /// The only filter that reports these findings; if absent, all filters report errors and the
    /// router reports notices
    pub filter: Option<OwnFilter>,
    /// The configuration, JSON or not
    pub text: String,
    /// The expected findings
    pub expect: Findings,
}

/// A filter with findings of its own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnFilter {
    /// `egress.wasm`, which requires other fields than the filters with routes
    Egress,
    /// `fault.wasm`, whose rules need no destination
    Fault,
    /// `mirror.wasm`, whose rules need no destination
    Mirror,
    /// `outlier.wasm`, which does not require virtual services
    Outlier,
    /// `router.wasm`, whose rules need an action
    Router,
    /// `sluice.wasm`, which reports what none of its filters carries out
    Sluice,
    /// `sni.wasm`, which requires virtual services only for its routes and allowed hosts
    Sni,
}

/// All findings of a configuration, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Findings {
    /// It is refused because of these errors.
    Errors(Vec<String>),
    /// It is accepted with these notices; the list may be empty.
    Notices(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRejection {
    id: String,
    // Description; the rest of the test name, and for readers.
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
/// If the findings differ from those of the row.
pub fn check(row: &Rejection) {
    let (text, node) = (row.text.as_bytes(), Node::default());
    let egress = findings(Egress::compile(text, &node));
    let fault = findings(Faults::compile(text, &node));
    let mirror = findings(Mirrors::compile(text, &node));
    let router = findings(Router::compile(text, &node));
    let outlier = findings(Outliers::compile(text, &node));
    let sluice = findings(Chain::compile(text, &node));
    let sni = findings(SniPolicy::compile(text, &node));
    let own = match row.filter {
        None => None,
        Some(OwnFilter::Egress) => Some(&egress),
        Some(OwnFilter::Fault) => Some(&fault),
        Some(OwnFilter::Mirror) => Some(&mirror),
        Some(OwnFilter::Outlier) => Some(&outlier),
        Some(OwnFilter::Router) => Some(&router),
        Some(OwnFilter::Sluice) => Some(&sluice),
        Some(OwnFilter::Sni) => Some(&sni),
    };
    if let Some(found) = own {
        assert!(*found == row.expect, "expected {:#?}\ngot {found:#?}", row.expect);
        return;
    }
    assert!(router == row.expect, "expected {:#?}\ngot {router:#?}", row.expect);
    // All filters read the same document, so all of them report the same errors.
    for (filter, findings) in [("fault", fault), ("mirror", mirror)] {
        let (errors, found) = (row.expect.errors(), findings.errors());
        assert!(found == errors, "expected by the {filter} filter {errors:#?}\ngot {found:#?}");
    }
    let others = [("egress", egress), ("outlier", outlier), ("sluice", sluice), ("sni", sni)];
    for (filter, findings) in others {
        let (errors, found) = (shared_errors(&row.expect), shared_errors(&findings));
        assert!(found == errors, "expected by the {filter} filter {errors:#?}\ngot {found:#?}");
    }
}

fn findings<T>(compiled: Result<(T, Vec<Finding>), PolicyRejection>) -> Findings {
    let shown = |findings: &[Finding]| findings.iter().map(Finding::to_string).collect();
    match compiled {
        Ok((_, notices)) => Findings::Notices(shown(&notices)),
        Err(rejection) => Findings::Errors(shown(&rejection.errors)),
    }
}

impl Findings {
    fn errors(&self) -> &[String] {
        match self {
            Self::Errors(errors) => errors,
            Self::Notices(_) => &[],
        }
    }
}

/// Returns the errors except those about missing fields, because the filters require different
/// fields.
fn shared_errors(findings: &Findings) -> Vec<&String> {
    const OWN: [&str; 3] = [
        "virtualServices: is required",
        "virtualServices: must not be empty",
        "outboundTrafficPolicy: is required",
    ];
    let is_own = |error: &str| OWN.iter().any(|own| error.starts_with(own));
    findings.errors().iter().filter(|error| !is_own(error)).collect()
}
