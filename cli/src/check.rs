//! `sluice check`: everything that the filters find in configuration, told in terms of the files.

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
        // ServiceEntries on their own are right without a policy, which the egress filter alone asks for.
        if bundle.is_of_objects() && Filter::of(&bundle.document) == [Filter::Egress] {
            let mut policy = Tree::new(Value::Object(Vec::new()));
            policy.push_field("mode", Tree::text("ALLOW_ANY"));
            bundle.complete("outboundTrafficPolicy", Some(policy));
        }
        findings.extend(check_bundle(bundle));
    }
    // Settings are told of once, however many namespaces they are for.
    let mut told = HashSet::new();
    findings.retain(|own| {
        told.insert((own.file.clone(), own.line, own.path.clone(), own.reason.clone()))
    });
    sort(&mut findings, files);
    // The process ends with it, which frees thousands of objects faster than one after the other.
    std::mem::forget(bundles);
    findings
}

/// The plugin documents of files, with what is to be said about the files.
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

/// By file and line.
fn sort(findings: &mut [Finding], files: &[String]) {
    let place = |file: &str| files.iter().position(|known| known == file);
    findings.sort_by_key(|finding| (place(&finding.file), finding.line));
}

/// What is found in a document, each once.
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

/// What the filters that a document is for find in it, and what lint finds.
pub fn check_bundle(bundle: &Bundle) -> Vec<Finding> {
    let text = bundle.document.to_json();
    let text = text.as_bytes();
    let mut found = Found::default();
    let mut is_refused = false;
    // At once, as with thousands of rules each takes its time.
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
                is_refused = true;
                for error in rejection.errors {
                    found.add(Severity::Error, error);
                }
            }
        }
    }
    if !is_refused {
        for warning in warnings {
            found.add(Severity::Warning, warning);
        }
    }
    let located = found.findings.iter();
    located.map(|(severity, found)| bundle.locate(*severity, &found.path, &said(found))).collect()
}

/// How much a notice matters.
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

/// What one filter finds: notices, or the errors for which it refuses the document.
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

/// Whether a notice says that another filter of the bundle carries something out.
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
