//! The one plugin document of files, for `sluice explain`, `sluice diff` and `sluice render`.

use std::collections::HashSet;
use std::io::Write;

use sluice_policy::document::filter::Filter;
use sluice_policy::document::report::Kind;
use sluice_policy::spec::proxy::NodeMetadata;

use crate::bundle::Bundle;
use crate::check::{self, Compiled};
use crate::collect::{Collected, Defaults};
use crate::filters;
use crate::finding::{Finding, Severity};
use crate::inputs::Input;
use crate::output::write_full;
use crate::source::Texts;

/// The plugin document of files, compiled for the filters that it needs and for `other`; none if
/// they have errors, or not exactly one document. Of several namespaces, `namespace` chooses one.
/// The reasons and notices are written to `err`, if `has_lines` with the lines of the files.
///
/// # Errors
/// `err` cannot be written.
pub fn read_one(
    inputs: &[Input],
    defaults: &Defaults,
    other: Option<Filter>,
    metadata: &dyn NodeMetadata,
    err: &mut dyn Write,
    has_lines: bool,
) -> std::io::Result<Option<(Bundle, Compiled<'static>)>> {
    let mut texts = Texts::default();
    let collected = check::read(inputs, defaults, &mut texts);
    let Collected { mut bundles, mut findings, notices, .. } = collected;
    let namespace = defaults.namespace.as_deref();
    let names = |bundles: &[Bundle]| {
        let names: Vec<_> = bundles.iter().filter_map(Bundle::namespace).collect();
        names.join(", ")
    };
    let is_chosen = |bundle: &Bundle| bundle.namespace() == namespace;
    notices.iter().try_for_each(|notice| writeln!(err, "{notice}"))?;
    if namespace.is_some() && bundles.len() > 1 && bundles.iter().any(is_chosen) {
        let (chosen, others): (_, Vec<_>) = bundles.into_iter().partition(is_chosen);
        bundles = chosen;
        writeln!(err, "sluice: --namespace leaves out the objects of {}", names(&others))?;
    }
    let namespaces = names(&bundles);
    let distinct: HashSet<_> = bundles.iter().filter_map(Bundle::namespace).collect();
    let have_namespaces = distinct.len() == bundles.len();
    let is_repeated = |finding: &Finding| finding.kind == Kind::Repeated;
    findings.retain(|finding| finding.severity() == Severity::Error || is_repeated(finding));
    if other == Some(Filter::Router) && bundles.iter().any(Bundle::has_http_routes) {
        // A file may also have documents without HTTP routes, for other filters.
        bundles.retain(Bundle::has_http_routes);
    }
    let other = other.filter(|_| bundles.len() == 1);
    let mut documents = Vec::new();
    for bundle in bundles {
        let other = other.filter(|_| bundle.has_http_routes() || !has_own_filters(&bundle));
        match check::compile_for(&bundle, other, metadata) {
            Ok(compiled) => {
                let compiled = compiled.into_owned();
                documents.push((bundle, compiled));
            }
            Err(errors) => findings.extend(errors),
        }
    }
    if has_lines {
        write_full(err, &findings, &texts)?;
    } else {
        findings.iter().try_for_each(|finding| writeln!(err, "{finding}"))?;
    }
    if findings.iter().any(is_repeated) {
        writeln!(err, "sluice: several objects have the same name; give only one of them")?;
    }
    if !findings.is_empty() {
        return Ok(None);
    }
    let document = documents.pop();
    if !documents.is_empty() && have_namespaces {
        writeln!(
            err,
            "sluice: the objects are of several namespaces, each of which makes a plugin document: \
             {namespaces}; choose one with --namespace"
        )?;
        return Ok(None);
    }
    if !documents.is_empty() {
        writeln!(
            err,
            "sluice: the files make several plugin documents; give the files of one document"
        )?;
        return Ok(None);
    }
    if document.is_none() {
        writeln!(
            err,
            "sluice: no file has a plugin document, VirtualService, DestinationRule or ServiceEntry"
        )?;
    }
    Ok(document)
}

/// Returns whether a document has rules for filters that need no routes for HTTP.
fn has_own_filters(bundle: &Bundle) -> bool {
    let needed = filters::needed(&bundle.document);
    needed.iter().any(|filter| matches!(filter, Filter::Egress | Filter::Sni))
}
