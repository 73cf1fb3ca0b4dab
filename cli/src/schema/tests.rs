use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_policy::proxy::NoMetadata;
use sluice_policy::router::Router;

use super::*;

/// Fields that the readers know in order to refuse them.
const REFUSED: [&str; 2] = ["delegate", "http2Error"];

/// Follows `$ref` and what stands beside `null`.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = name.strip_prefix('#').unwrap();
        return resolve(root, root.pointer(pointer).unwrap());
    }
    let is_some = |schema: &&Value| schema.get("type") != Some(&json!("null"));
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(several) if several.len() == 2 && several.iter().any(|s| !is_some(&s)) => {
            resolve(root, several.iter().find(is_some).unwrap())
        }
        _ => schema,
    }
}

/// Calls `visit` for every object of the schema with its fields and a document around such an object.
fn walk(
    root: &Value,
    schema: &Value,
    around: &dyn Fn(Value) -> Value,
    visit: &mut dyn FnMut(BTreeSet<String>, Value),
) {
    let schema = resolve(root, schema);
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        visit(fields.keys().cloned().collect(), around(json!({"unheardOfByAnyone": 1})));
        for (name, field) in fields {
            walk(root, field, &|inner| around(json!({ name.as_str(): inner })), visit);
        }
    } else if let Some(items) = schema.get("items") {
        walk(root, items, &|inner| around(json!([inner])), visit);
    } else if let Some(values) =
        schema.get("additionalProperties").filter(|values| values.is_object())
    {
        walk(root, values, &|inner| around(json!({"x": inner})), visit);
    }
}

/// The names that the reader of the place with the unknown field has, as it tells them itself.
fn known_names(document: &Value) -> BTreeSet<String> {
    let errors =
        Router::from_json(document.to_string().as_bytes(), &NoMetadata).unwrap_err().errors;
    let mut told = errors.iter().filter(|error| error.path.ends_with("unheardOfByAnyone"));
    let reason = &told.next().unwrap_or_else(|| panic!("{document}: {errors:?}")).reason;
    let names = reason.strip_prefix("unknown field, known are ").unwrap();
    let names = names.split(", ").filter(|name| !REFUSED.contains(name));
    names.map(str::to_owned).collect()
}

#[test]
fn schema_and_readers_have_the_same_fields() {
    let root = schema().to_value();
    let mut differences = Vec::new();
    let mut objects = 0;
    walk(&root, &root, &|document| document, &mut |fields, document| {
        objects += 1;
        let known = known_names(&document);
        if known != fields {
            differences.push(format!(
                "{document}\n  only in the schema: {:?}\n  only in the reader: {:?}",
                fields.difference(&known),
                known.difference(&fields)
            ));
        }
    });
    assert!(objects > 50, "{objects}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
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

/// Every document of the conformance tables that the router takes is valid. Those in `snake_case`, which
/// readers take too, are not for the schema.
#[test]
fn accepted_documents_are_valid() {
    let validator = jsonschema::validator_for(&schema().to_value()).unwrap();
    let tables = sluice_conformance::cases();
    let rows = tables.iter().flat_map(|table| &table.rows).map(|row| (&*row.id, row.config.get()));
    let rejections = sluice_conformance::rejections();
    let accepted = rejections
        .iter()
        .flat_map(|table| &table.rows)
        .filter(|row| matches!(row.expect, sluice_conformance::Findings::Notices(_)));
    let (mut valid, mut snake) = (0, 0);
    let mut invalid = Vec::new();
    for (id, text) in rows.chain(accepted.map(|row| (&*row.id, &*row.text))) {
        let document: Value = serde_json::from_str(text).unwrap();
        match validator.validate(&document) {
            Ok(()) => valid += 1,
            Err(error) if error.to_string().contains('_') => snake += 1,
            Err(error) => invalid.push(format!("{id}: {} {error}", error.instance_path())),
        }
    }
    assert!(invalid.is_empty(), "{}", invalid.join("\n"));
    assert!(valid > 200 && snake < 20, "{valid} valid, {snake} in snake_case");
}

/// What readers refuse as an unknown field, the schema refuses.
#[test]
fn documents_with_unknown_fields_are_not_valid() {
    let validator = jsonschema::validator_for(&schema().to_value()).unwrap();
    let tables = sluice_conformance::rejections();
    let mut count = 0;
    for row in tables.iter().flat_map(|table| &table.rows) {
        let sluice_conformance::Findings::Errors(errors) = &row.expect else { continue };
        if errors.iter().any(|error| error.contains("unknown field")) {
            let document: Value = serde_json::from_str(&row.text).unwrap();
            assert!(!validator.is_valid(&document), "{}: {}", row.id, row.text);
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}
