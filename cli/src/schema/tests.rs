use jsonschema::Validator;
use serde_json::Value;
use sluice_conformance::documents::{documents, places, wrong_values};
use sluice_conformance::{Findings, cases, rejections};

use super::*;

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut characters = part.chars();
        camel.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(characters.as_str());
    }
    camel
}

/// The document with its names in `camelCase`: the schema has no others.
fn camel_cased(document: Value) -> Value {
    match document {
        Value::Array(values) => values.into_iter().map(camel_cased).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.map(|(name, value)| (camel_case(&name), camel_cased(value))).collect()
        }
        other => other,
    }
}

#[test]
fn the_schema_in_the_repository_is_this_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text(), "write it with: sluice schema >cli/schema.json");
}

/// Every document of the conformance tables that the filters accept is valid.
#[test]
fn accepted_documents_are_valid() {
    let validator = validator();
    let tables = cases();
    let rows = tables.iter().flat_map(|table| &table.rows).map(|row| (&*row.id, row.config.get()));
    let rejections = rejections();
    let accepted = rejections
        .iter()
        .flat_map(|table| &table.rows)
        .filter(|row| matches!(row.expect, Findings::Notices(_)));
    let mut valid = 0;
    let mut invalid = Vec::new();
    for (id, text) in rows.chain(accepted.map(|row| (&*row.id, &*row.text))) {
        let document = camel_cased(serde_json::from_str(text).unwrap());
        match validator.validate(&document) {
            Ok(()) => valid += 1,
            Err(error) => invalid.push(format!("{id}: {} {error}", error.instance_path())),
        }
    }
    assert!(invalid.is_empty(), "{}", invalid.join("\n"));
    assert!(valid > 200, "{valid}");
}

/// What the filters reject as an unknown field, the schema rejects.
#[test]
fn documents_with_unknown_fields_are_not_valid() {
    let validator = validator();
    let tables = rejections();
    let mut count = 0;
    for row in tables.iter().flat_map(|table| &table.rows) {
        let Findings::Errors(errors) = &row.expect else { continue };
        if errors.iter().any(|error| error.contains("unknown field")) {
            let document: Value = serde_json::from_str(&row.text).unwrap();
            assert!(!validator.is_valid(&document), "{}: {}", row.id, row.text);
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

/// The schema rejects the wrong values that the filters reject, in every field.
#[test]
fn wrong_values_are_not_valid() {
    let validator = validator();
    let (mut probes, mut valid) = (0, Vec::new());
    for (name, document) in documents() {
        validator.validate(&document).unwrap_or_else(|error| panic!("{name}: {error}"));
        for place in places(&document) {
            let mut wrong: Vec<_> = wrong_values(place.kind)
                .into_iter()
                .map(|wrong| place.replaced(&document, wrong))
                .collect();
            if place.is_field && place.field.is_required {
                wrong.push(place.removed(&document));
            }
            for wrong in wrong {
                probes += 1;
                if validator.is_valid(&wrong) {
                    valid.push(format!(
                        "{name}: {}: {:?}",
                        place.path,
                        wrong.pointer(&place.pointer)
                    ));
                }
            }
        }
    }
    assert!(probes > 500, "{probes}");
    assert!(valid.is_empty(), "{}", valid.join("\n"));
}
