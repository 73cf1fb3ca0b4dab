//! `sluice check`: the errors and warnings of all filters, with their places in the files.

use std::collections::{HashMap, HashSet};

use sluice_policy::desk;
use sluice_policy::document::filter::{Filter, Filters};
use sluice_policy::document::json::Json;
use sluice_policy::document::parse::check_length;
use sluice_policy::document::report::{Finding as PolicyFinding, Kind};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::proxy::{NoMetadata, NodeMetadata};

use crate::bundle::Bundle;
use crate::collect::{self, Collected, Defaults};
use crate::filters;
use crate::finding::{Finding, Place, Severity, Skipped};
use crate::inputs::Input;
use crate::istio;
use crate::lint;
use crate::source::{self, Texts};
use crate::tree::{Key, Tree, Value};
use crate::yaml::MAX_DEPTH;

/// A document without errors.
#[derive(Debug)]
pub struct Compiled<'t> {
    /// The document as the filters read it
    pub json: Json<'t>,
    /// The same, compiled
    pub document: Document,
    /// What the policy says about parts that have no effect
    notices: Vec<PolicyFinding>,
}

impl Compiled<'_> {
    /// The same, with copies of the texts that it borrows.
    pub fn into_owned(self) -> Compiled<'static> {
        let Self { json, document, notices } = self;
        Compiled { json: json.into_owned(), document, notices }
    }

    /// What the filters leave to Envoy.
    pub fn left_to_envoy(&self) -> impl Iterator<Item = &PolicyFinding> {
        self.notices.iter().filter(|notice| notice.kind == Kind::LeftToEnvoy)
    }
}

/// What is found in files.
pub struct Checked {
    /// The findings, in the order of the files and their lines
    pub findings: Vec<Finding>,
    /// The objects that the filters do not use
    pub skipped: Skipped,
    /// The texts of the files
    pub texts: Texts,
}

/// Checks files.
pub fn check(inputs: &[Input], defaults: &Defaults) -> Checked {
    let mut texts = Texts::default();
    let collected = read(inputs, defaults, &mut texts);
    let Collected { mut bundles, inventory, mut findings, notices, skipped } = collected;
    findings.extend(notices);
    let mut rejected = Vec::new();
    let mut reported = HashSet::new();
    for bundle in &mut bundles {
        // ServiceEntries alone are correct. Only the egress filter requires a policy beside them.
        if bundle.is_of_objects() && filters::needed(&bundle.document) == [Filter::Egress] {
            let mut policy = Tree::new(Value::Object(Vec::new()));
            policy.push_field(Key::new("mode"), Tree::text("ALLOW_ANY"));
            bundle.complete("outboundTrafficPolicy", Some(policy));
        }
        let mut found: Vec<_> = match compile(bundle, None) {
            Ok(document) => {
                let warnings = warnings(&document);
                discard(document);
                warnings.iter().map(|finding| bundle.locate(finding)).collect()
            }
            Err(errors) => errors,
        };
        let errors = found.iter().filter(|finding| finding.severity() == Severity::Error);
        rejected.push(errors.map(|finding| finding.place.object.clone()).collect());
        // Settings are part of the document of each namespace, but reported once.
        let places: Vec<_> = found.iter().map(Identity::of).collect();
        found.retain(|finding| !reported.contains(&Identity::of(finding)));
        reported.extend(places);
        findings.extend(found);
    }
    let mut found = lint::lint(&bundles, &inventory, &rejected, &findings);
    found.retain(|finding| reported.insert(Identity::of(finding)));
    findings.extend(found);
    sort(&mut findings, inputs);
    discard((bundles, inventory));
    Checked { findings, skipped, texts }
}

/// Frees a value where the process lives on: in a web page. The command ends soon and frees all
/// objects at once, faster than one by one.
fn discard<T>(value: T) {
    if cfg!(target_family = "wasm") {
        drop(value);
    } else {
        std::mem::forget(value);
    }
}

/// The plugin documents of files, and findings about the files. Adds the files to `texts`.
pub fn read(inputs: &[Input], defaults: &Defaults, texts: &mut Texts) -> Collected {
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for input in inputs {
        match source::read(input, texts) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(*finding),
        }
    }
    let mut collected = collect::collect(sources, defaults);
    findings.append(&mut collected.findings);
    // A file can be given twice, and its settings are part of several documents.
    let mut reported = HashSet::new();
    findings.retain(|finding| reported.insert(Identity::of(finding)));
    Collected { findings, ..collected }
}

/// Compiles a document for all filters that it needs, and for `other`.
///
/// # Errors
/// Every error for which one of the filters rejects the document, and for which Istio rejects what
/// the filters do not read.
pub fn compile(bundle: &Bundle, other: Option<Filter>) -> Result<Compiled<'_>, Vec<Finding>> {
    compile_for(bundle, other, &NoMetadata)
}

/// As [`compile`], on the proxy that `metadata` describes.
///
/// # Errors
/// As [`compile`].
pub fn compile_for<'b>(
    bundle: &'b Bundle,
    other: Option<Filter>,
    metadata: &dyn NodeMetadata,
) -> Result<Compiled<'b>, Vec<Finding>> {
    let refuse = |reason: String| {
        let error = PolicyFinding::new(String::new(), Kind::Error, reason);
        vec![bundle.locate(&error)]
    };
    let Some(json) = bundle.document.to_policy(MAX_DEPTH) else {
        return Err(refuse(format!("is nested more than {MAX_DEPTH} levels deep")));
    };
    check_length(json.length()).map_err(refuse)?;
    // A VirtualService needs destinations also where only the fault or mirror filter uses it.
    let of_istio = bundle.has_virtual_service_object().then_some(Filter::Router);
    let needed = filters::needed(&bundle.document).into_iter();
    let filters: Filters = needed.chain(other).chain(of_istio).collect();
    let unread = istio::check(&bundle.document, |path| !bundle.object(path).is_empty());
    match Document::compile(&json, filters, metadata) {
        Ok((document, notices)) if unread.is_empty() => Ok(Compiled { json, document, notices }),
        compiled => {
            let errors = compiled.err().map_or(Vec::new(), |rejection| rejection.errors);
            let is_new = |error: &&PolicyFinding| errors.iter().all(|own| own.path != error.path);
            let unread = unread.iter().filter(is_new);
            Err(errors.iter().chain(unread).map(|error| bundle.locate(error)).collect())
        }
    }
}

/// The notices and warnings about a document, those of the policy first.
fn warnings(compiled: &Compiled<'_>) -> Vec<PolicyFinding> {
    let Compiled { json, document, notices } = compiled;
    // A field that another filter of the bundle carries out is in use. Of what the filters infer,
    // the lint gives the places.
    let is_for_filters =
        |notice: &PolicyFinding| matches!(notice.kind, Kind::Inferred | Kind::LeftToFilter(_));
    let notices = notices.iter().filter(|notice| !is_for_filters(notice));
    // Of a value without effect, one reason is enough.
    let known: HashSet<_> =
        notices.clone().map(|notice| (notice.path.clone(), notice.kind)).collect();
    let mut found = desk::lint::lint(document, json);
    found.retain(|finding| !known.contains(&(finding.path.clone(), finding.kind)));
    notices.cloned().chain(found).collect()
}

/// What two findings that say the same have in common.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    kind: Kind,
    place: Place,
    value: Option<String>,
    other: Option<Place>,
}

impl Identity {
    fn of(finding: &Finding) -> Self {
        let Finding { kind, place, value, reason: _, other } = finding.clone();
        Self { kind, place, value, other }
    }
}

/// Sorts findings by file, in the order of the arguments, and line.
pub fn sort(findings: &mut [Finding], inputs: &[Input]) {
    let places: HashMap<_, _> =
        inputs.iter().enumerate().rev().map(|(place, input)| (&*input.file, place)).collect();
    let place = |file: &str| places.get(file).copied();
    findings.sort_by_key(|finding| (place(&finding.place.file), finding.place.line));
}
