//! One wrong value beside valid other fields gives exactly one error, with its path.
//!
//! The documents in `documents/` are valid and have every field of the schema. Each of their values
//! is replaced by wrong ones, each required field is removed, and each object gets an unknown
//! field.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_conformance::documents::{UNKNOWN, documents, places, wrong_values};
use sluice_policy::document::fields::{Fields, Kind, ObjectSchema};
use sluice_policy::document::filter::{Filter, Filters};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::proxy::NoMetadata;

/// Returns the errors of a document, from all filters.
fn errors(document: &Value) -> Vec<String> {
    let filters: Filters = [
        Filter::Egress,
        Filter::Fault,
        Filter::Mirror,
        Filter::Outlier,
        Filter::Router,
        Filter::Sni,
    ]
    .into_iter()
    .collect();
    let read = Document::parse(document.to_string().as_bytes(), filters, &NoMetadata);
    let errors = read.err().map_or(Vec::new(), |rejection| rejection.errors);
    errors.iter().map(ToString::to_string).collect()
}

/// Returns a message unless the document has exactly one error, at `path`.
fn difference(name: &str, path: &str, document: &Value) -> Option<String> {
    let found = errors(document);
    let is_one = matches!(found.as_slice(), [error]
        if error.strip_prefix(path).is_some_and(|rest| rest.starts_with(": ")));
    (!is_one).then(|| format!("{name}: {path}: {found:#?}"))
}

#[test]
fn the_documents_are_valid() {
    for (name, document) in documents() {
        assert_eq!(errors(&document), Vec::<String>::new(), "{name}");
    }
}

/// All fields of the schema, as `OBJECT.FIELD`.
fn fields(object: &'static ObjectSchema, found: &mut BTreeSet<String>) {
    fn objects(kind: &Kind, found: &mut BTreeSet<String>) {
        match kind {
            Kind::Object(object) => fields(object(), found),
            Kind::AnyOf(kind, _)
            | Kind::List(kind)
            | Kind::Map(kind)
            | Kind::Nullable(kind)
            | Kind::RequiredList(kind) => {
                objects(kind, found);
            }
            _ => {}
        }
    }
    for field in object.fields {
        let is_probed = !matches!(field.kind, Kind::Any | Kind::Unsupported);
        if is_probed && found.insert(format!("{}.{}", object.name, field.name)) {
            objects(&field.kind, found);
        }
    }
}

#[test]
fn the_documents_have_every_field() {
    let mut all = BTreeSet::new();
    fields(Document::schema(), &mut all);
    for place in documents().flat_map(|(_, document)| places(&document)) {
        all.remove(&format!("{}.{}", place.object.name, place.field.name));
    }
    assert!(all.is_empty(), "no document has {all:#?}");
}

#[test]
fn a_wrong_value_is_one_error() {
    let (mut probes, mut differences) = (0, Vec::new());
    for (name, document) in documents() {
        for place in places(&document) {
            for wrong in wrong_values(place.kind) {
                let document = place.replaced(&document, wrong.clone());
                differences.extend(difference(name, &place.path, &document));
                probes += 1;
            }
        }
    }
    assert!(probes > 500, "{probes}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_missing_or_unknown_field_is_one_error() {
    let (mut probes, mut differences) = (0, Vec::new());
    for (name, document) in documents() {
        for place in places(&document) {
            if place.is_field && place.field.is_required {
                let document = place.removed(&document);
                differences.extend(difference(name, &place.path, &document));
                probes += 1;
            }
            if matches!(place.kind, Kind::Object(_)) {
                let document = place.with_unknown_field(&document);
                let path = format!("{}.{UNKNOWN}", place.path);
                differences.extend(difference(name, &path, &document));
                probes += 1;
            }
        }
    }
    assert!(probes > 100, "{probes}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
