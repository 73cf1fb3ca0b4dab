//! `sluice check`: the errors and warnings of all filters, with their places in the files.

use std::collections::HashSet;

use sluice_policy::desk::lint;
use sluice_policy::document::filter::Filters;
use sluice_policy::document::parse::parse;
use sluice_policy::document::report::Kind;
use sluice_policy::document::report::{Finding as PolicyFinding, Rejection};
use sluice_policy::egress::Egress;
use sluice_policy::fault::Faults;
use sluice_policy::mirror::Mirrors;
use sluice_policy::outlier::Outliers;
use sluice_policy::router::Router;
use sluice_policy::sni::SniPolicy;
use sluice_policy::spec::document::Document;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use crate::bundle::Bundle;
use crate::collect::{self, Defaults};
use crate::filters::Filter;
use crate::finding::{Finding, Severity};
use crate::source;
use crate::tree::{Tree, Value};

/// Checks files.
pub fn check(files: &[String], defaults: &Defaults) -> Vec<Finding> {
    let (mut bundles, mut findings) = read(files, defaults);
    for bundle in &mut bundles {
        // ServiceEntries alone are correct. Only the egress filter requires a policy beside them.
        if bundle.is_of_objects() && Filter::of(&bundle.document) == [Filter::Egress] {
            let mut policy = Tree::new(Value::Object(Vec::new()));
            policy.push_field("mode", Tree::text("ALLOW_ANY"));
            bundle.complete("outboundTrafficPolicy", Some(policy));
        }
        findings.extend(check_bundle(bundle));
    }
    // Settings are part of the document of each namespace, but reported once.
    let mut reported = HashSet::new();
    findings.retain(|own| {
        reported.insert((own.file.clone(), own.line, own.path.clone(), own.reason.clone()))
    });
    sort(&mut findings, files);
    // The process ends soon and frees all objects at once, faster than one after the other.
    std::mem::forget(bundles);
    findings
}

/// The plugin documents of files, and findings about the files.
pub fn read(files: &[String], defaults: &Defaults) -> (Vec<Bundle>, Vec<Finding>) {
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for file in files {
        match source::read(file) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(*finding),
        }
    }
    let (bundles, more) = collect::collect(sources, defaults);
    findings.extend(more);
    (bundles, findings)
}

/// Sorts findings by file, in the order of the arguments, and line.
fn sort(findings: &mut [Finding], files: &[String]) {
    let place = |file: &str| files.iter().position(|known| known == file);
    findings.sort_by_key(|finding| (place(&finding.file), finding.line));
}

/// The findings in a document, each once.
#[derive(Default)]
struct Found {
    findings: Vec<(Severity, PolicyFinding)>,
    /// Filters and lint may report the same
    seen: HashSet<(String, Kind, String)>,
}

impl Found {
    fn add(&mut self, severity: Severity, finding: PolicyFinding) {
        // Of a rule that is never reached, one reason is enough.
        let reason = if finding.kind == Kind::NeverReached { "" } else { &finding.reason };
        if self.seen.insert((finding.path.clone(), finding.kind, reason.to_owned())) {
            self.findings.push((severity, finding));
        }
    }
}

/// The findings of lint and of all filters that use a document.
pub fn check_bundle(bundle: &Bundle) -> Vec<Finding> {
    let text = bundle.document.to_json();
    let text = text.as_bytes();
    let mut found = Found::default();
    let mut is_rejected = false;
    // In parallel, as each takes long with thousands of rules.
    let (compiled, warnings) = std::thread::scope(|scope| {
        let lint = scope.spawn(|| {
            let json = parse(text).ok()?;
            let (document, _) = Document::compile(&json, Filters::NONE, &NoMetadata).ok()?;
            Some(lint::lint(&document, &json))
        });
        let filters = Filter::of(&bundle.document).into_iter();
        let compiled: Vec<_> = filters.map(|filter| compile(filter, text)).collect();
        (compiled, lint.join().ok().flatten().unwrap_or_default())
    });
    for outcome in compiled {
        match outcome {
            Ok(notices) => {
                for notice in notices.into_iter().filter(|notice| !is_left_to_others(notice)) {
                    found.add(severity(&notice), notice);
                }
            }
            Err(rejection) => {
                is_rejected = true;
                for error in rejection.errors {
                    found.add(Severity::Error, error);
                }
            }
        }
    }
    if !is_rejected {
        for warning in warnings {
            found.add(Severity::Warning, warning);
        }
    }
    let located = found.findings.iter();
    located.map(|(severity, found)| bundle.locate(*severity, &found.path, &said(found))).collect()
}

/// The severity of a notice: a note for fields that have no effect here, else a warning.
fn severity(notice: &PolicyFinding) -> Severity {
    match notice.kind {
        Kind::Error => Severity::Error,
        Kind::Deprecated | Kind::LeftToEnvoy | Kind::LeftToFilter(_) | Kind::NotApplicable => {
            Severity::Note
        }
        Kind::Costly
        | Kind::NeverMatches
        | Kind::NeverReached
        | Kind::NoEffect
        | Kind::Overridden => Severity::Warning,
    }
}

/// The notices of one filter, or the errors for which it rejects the document.
fn compile(filter: Filter, text: &[u8]) -> Result<Vec<PolicyFinding>, Rejection> {
    Ok(match filter {
        Filter::Egress => Egress::compile(text, &NoMetadata)?.1,
        Filter::Fault => Faults::compile(text, &NoMetadata)?.1,
        Filter::Mirror => Mirrors::compile(text, &NoMetadata)?.1,
        Filter::Outlier => Outliers::compile(text, &NoMetadata)?.1,
        Filter::Router => Router::compile(text, &NoMetadata)?.1,
        Filter::Sni => SniPolicy::compile(text, &NoMetadata)?.1,
    })
}

/// Returns whether a notice is about a field that another filter of the bundle carries out.
fn is_left_to_others(notice: &PolicyFinding) -> bool {
    matches!(notice.kind, Kind::LeftToFilter(_))
}

/// The reason with the second place that it refers to.
fn said(finding: &PolicyFinding) -> String {
    match &finding.other {
        Some(other) => format!("{}: {other}", finding.reason),
        None => finding.reason.clone(),
    }
}
