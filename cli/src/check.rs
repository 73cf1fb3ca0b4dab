//! `sluice check`: the errors and warnings of all filters, with their places in the files.

use std::collections::HashSet;

use sluice_policy::egress::Egress;
use sluice_policy::fault::Faults;
use sluice_policy::lint;
use sluice_policy::mirror::Mirrors;
use sluice_policy::outlier::Outliers;
use sluice_policy::proxy::NoMetadata;
use sluice_policy::report::{Finding as PolicyFinding, Rejection};
use sluice_policy::router::Router;
use sluice_policy::sni::SniPolicy;

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
    /// Paths, and reasons up to the first comma: filters and lint may word the rest differently
    seen: HashSet<(String, String)>,
}

impl Found {
    fn add(&mut self, severity: Severity, finding: PolicyFinding) {
        let start = finding.reason.split(',').next().unwrap_or_default();
        if self.seen.insert((finding.path.clone(), start.to_owned())) {
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
        let lint = scope.spawn(|| lint::lint(text));
        let filters = Filter::of(&bundle.document).into_iter();
        let compiled: Vec<_> = filters.map(|filter| compile(filter, text)).collect();
        (compiled, lint.join().unwrap_or_default())
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
    located.map(|(severity, found)| bundle.locate(*severity, &found.path, &found.reason)).collect()
}

/// The severity of a notice: a note for fields that have no effect here, else a warning.
fn severity(notice: &PolicyFinding) -> Severity {
    let remarks = ["is deprecated", "has been replaced", "is of no effect", "is not carried out"];
    if remarks.iter().any(|start| notice.reason.starts_with(start)) {
        Severity::Note
    } else {
        Severity::Warning
    }
}

/// The notices of one filter, or the errors for which it rejects the document.
fn compile(filter: Filter, text: &[u8]) -> Result<Vec<PolicyFinding>, Rejection> {
    Ok(match filter {
        Filter::Egress => Egress::from_json(text, &NoMetadata)?.1,
        Filter::Fault => Faults::from_json(text, &NoMetadata)?.1,
        Filter::Mirror => Mirrors::from_json(text, &NoMetadata)?.1,
        Filter::Outlier => Outliers::from_json(text, &NoMetadata)?.1,
        Filter::Router => Router::from_json(text, &NoMetadata)?.1,
        Filter::Sni => SniPolicy::from_json(text, &NoMetadata)?.1,
    })
}

/// Returns whether a notice is about a field that another filter of the bundle carries out.
fn is_left_to_others(notice: &PolicyFinding) -> bool {
    let is_unused = notice.path.ends_with(".tcp");
    let is_elsewhere = notice.reason == "is not carried out by this filter" && !is_unused;
    is_elsewhere
        || (notice.reason.starts_with("mirroring to ") && notice.reason.ends_with("by this filter"))
}
