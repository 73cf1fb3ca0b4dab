//! `sluice check`: everything that the filters find in configuration, told in terms of the files.

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
        // ServiceEntries on their own are right without a policy, which the egress filter alone asks for.
        if bundle.is_of_objects() && Filter::of(&bundle.document) == [Filter::Egress] {
            let mut policy = Tree::new(Value::Object(Vec::new()));
            policy.push_field("mode", Tree::text("ALLOW_ANY"));
            bundle.complete("outboundTrafficPolicy", Some(policy));
        }
        findings.extend(check_bundle(bundle));
    }
    // Settings are told of once, however many namespaces they are for.
    let mut reported = HashSet::new();
    findings.retain(|own| {
        reported.insert((own.file.clone(), own.line, own.path.clone(), own.reason.clone()))
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
    /// Paths with the start of what is said: filters and lint may say the same in other words
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

/// What the filters that a document is for find in it, and what lint finds.
pub fn check_bundle(bundle: &Bundle) -> Vec<Finding> {
    let text = bundle.document.to_json();
    let text = text.as_bytes();
    let mut found = Found::default();
    let mut is_refused = false;
    // At once, as with thousands of rules each takes its time.
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
    located.map(|(severity, found)| bundle.locate(*severity, &found.path, &found.reason)).collect()
}

/// How much a notice matters: what is left to Envoy is only remarkable.
fn severity(notice: &PolicyFinding) -> Severity {
    let remarks = ["is deprecated", "has been replaced", "is of no effect", "is not carried out"];
    if remarks.iter().any(|start| notice.reason.starts_with(start)) {
        Severity::Note
    } else {
        Severity::Warning
    }
}

/// What one filter finds: notices, or the errors for which it refuses the document.
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

/// Whether a notice says that another filter of the bundle carries something out.
fn is_left_to_others(notice: &PolicyFinding) -> bool {
    let is_nobodys = notice.path.ends_with(".tcp");
    let is_this = notice.reason == "is not carried out by this filter" && !is_nobodys;
    is_this
        || (notice.reason.starts_with("mirroring to ") && notice.reason.ends_with("by this filter"))
}
