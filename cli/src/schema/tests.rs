use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_policy::proxy::NoMetadata;
use sluice_policy::router::Router;

use super::*;

/// Fields that the readers know in order to refuse them.
const REFUSED: [&str; 2] = ["delegate", "http2Error"];

/// What the readers look into only where something else is right too: both of these have to be there.
const IN_PAIRS: [&str; 2] = [".uriRegexRewrite.match", ".uriRegexRewrite.rewrite"];

/// What no filter carries out, so that no reader looks into it.
const NOT_READ: [&str; 2] = [".statPrefix", ".tcp"];

/// The word of protobuf's for what is absent, which readers take and do not tell.
const ABSENT: &str = "UNSPECIFIED";

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

/// A place in plugin documents.
struct Place<'a> {
    /// Its path, as readers tell it
    path: String,
    /// A document with a value there
    around: &'a dyn Fn(Value) -> Value,
    /// What the schema says of it
    schema: &'a Value,
}

/// Calls `visit` for every place of the schema: the document, fields, elements and the values of maps.
fn walk(root: &Value, place: &Place<'_>, visit: &mut dyn FnMut(&Place<'_>)) {
    visit(place);
    let Place { path, around, .. } = place;
    let schema = resolve(root, place.schema);
    let mut inner = |path: String, schema: &Value, around: &dyn Fn(Value) -> Value| {
        walk(root, &Place { path, around, schema }, visit);
    };
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        for (name, field) in fields {
            let dot = if path.is_empty() { "" } else { "." };
            inner(format!("{path}{dot}{name}"), field, &|value| {
                around(json!({ name.as_str(): value }))
            });
        }
    } else if let Some(items) = schema.get("items") {
        inner(format!("{path}[0]"), items, &|value| around(json!([value])));
    } else if let Some(values) =
        schema.get("additionalProperties").filter(|values| values.is_object())
    {
        inner(format!("{path}.x"), values, &|value| around(json!({"x": value})));
    }
}

/// Calls `visit` for every place of the schema.
fn visit_places(root: &Value, visit: &mut dyn FnMut(&Place<'_>)) {
    let place = Place { path: String::new(), around: &|value| value, schema: root };
    walk(root, &place, visit);
}

/// The names of the types that the schema takes somewhere; all without any.
fn types<'a>(root: &'a Value, schema: &'a Value) -> BTreeSet<&'a str> {
    let several = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)?.as_array());
    if let Some(several) = several {
        return several.iter().flat_map(|schema| types(root, schema)).collect();
    }
    if schema.get("$ref").is_some() {
        return types(root, resolve(root, schema));
    }
    match schema.get("type") {
        Some(Value::String(name)) => [&**name].into(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => ["null", "boolean", "integer", "number", "string", "array", "object"].into(),
    }
}

/// What the readers say of a value.
fn reasons(document: &Value, path: &str) -> Vec<String> {
    let read = Router::from_json(document.to_string().as_bytes(), &NoMetadata);
    let errors = read.map_or_else(|rejection| rejection.errors, |_| Vec::new());
    let of_path = errors.into_iter().filter(|error| error.path == path);
    of_path.map(|error| error.reason).collect()
}

#[test]
fn schema_and_readers_take_the_same_types() {
    let root = schema().to_value();
    let mut differences = BTreeSet::new();
    let mut probes = 0;
    visit_places(&root, &mut |place| {
        if IN_PAIRS.iter().chain(&NOT_READ).any(|end| place.path.ends_with(end)) {
            return;
        }
        let taken = types(&root, place.schema);
        for (name, value) in [
            ("boolean", json!(true)),
            ("integer", json!(1)),
            ("number", json!(1.5)),
            ("string", json!("1")),
            ("array", json!([])),
            ("object", json!({})),
        ] {
            let is_taken = taken.contains(name) || (name == "integer" && taken.contains("number"));
            let reasons = reasons(&(place.around)(value), &place.path);
            let refusals = ["object", "list", "string", "number", "integer"];
            let is_refused = reasons.iter().any(|reason| {
                reason.ends_with(" is not true or false")
                    || refusals.iter().any(|name| {
                        reason.ends_with(&format!(" is not a {name}"))
                            || reason.ends_with(&format!(" is not an {name}"))
                    })
            });
            probes += 1;
            if is_taken == is_refused {
                let path = &place.path;
                differences.insert(format!("{path}: {name}: schema {is_taken}, {reasons:?}"));
            }
        }
    });
    assert!(probes > 1000, "{probes}");
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn schema_and_readers_take_the_same_words() {
    let root = schema().to_value();
    let mut differences = BTreeSet::new();
    let mut lists = 0;
    visit_places(&root, &mut |place| {
        if !types(&root, place.schema).contains("string") {
            return;
        }
        let reasons = reasons(&(place.around)(json!("unheardOfByAnyone")), &place.path);
        let told = reasons.iter().find_map(|reason| {
            let told = reason.strip_prefix("\"unheardOfByAnyone\" is ")?;
            let words: Vec<_> = match told.strip_prefix("not one of ") {
                Some(words) => words.split(", ").collect(),
                None => told.strip_prefix("neither ")?.split(" nor ").collect(),
            };
            // Others are told by what they are.
            let is_list = words.iter().all(|word| !word.contains(' '));
            is_list.then(|| words.into_iter().map(str::to_owned).collect::<BTreeSet<_>>())
        });
        let mut words = words(&root, place.schema);
        words.iter_mut().for_each(|words| words.retain(|word| word != ABSENT));
        lists += usize::from(told.is_some());
        if told != words {
            differences.insert(format!("{}: schema {words:?}, {reasons:?}", place.path));
        }
    });
    assert!(lists > 10, "{lists}");
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The words that the schema takes somewhere, if not all.
fn words(root: &Value, schema: &Value) -> Option<BTreeSet<String>> {
    let schema = resolve(root, schema);
    let several = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)?.as_array());
    if let Some(several) = several {
        let words: Vec<_> = several.iter().filter_map(|schema| words(root, schema)).collect();
        return (!words.is_empty()).then(|| words.into_iter().flatten().collect());
    }
    let constant = schema.get("const").map(|word| vec![word.clone()]);
    let words = constant.or_else(|| schema.get("enum")?.as_array().cloned())?;
    Some(words.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Whole numbers that readers refuse for their size, the schema refuses, and no others.
#[test]
fn schema_and_readers_take_the_same_numbers() {
    let root = schema().to_value();
    let mut differences = BTreeSet::new();
    let mut numbers = 0;
    visit_places(&root, &mut |place| {
        if !types(&root, place.schema).contains("integer") || place.schema.is_boolean() {
            return;
        }
        let limit = |name: &str| find_limit(&root, place.schema, name);
        let (minimum, maximum) = (limit("minimum"), limit("maximum"));
        let listed = resolve(&root, place.schema).get("enum").and_then(Value::as_array);
        for probe in
            [-1, 0, 1, 99, 100, 101, 199, 200, 599, 600, 301, 502, 65535, 65536, 1 << 31, 1 << 32]
        {
            let reasons = reasons(&(place.around)(json!(probe)), &place.path);
            let is_taken = minimum.is_none_or(|least| probe >= least)
                && maximum.is_none_or(|most| probe <= most)
                && listed.is_none_or(|listed| listed.contains(&json!(probe)));
            numbers += 1;
            if is_taken == is_size(&reasons) {
                let path = &place.path;
                differences.insert(format!(
                    "{path}: {probe}: schema {minimum:?} to {maximum:?}, {reasons:?}"
                ));
            }
        }
    });
    assert!(numbers > 200, "{numbers}");
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Whether a value is refused for its size.
fn is_size(reasons: &[String]) -> bool {
    let starts = ["not in ", "negative", "above ", "not 1 or more ", "not one of ", "neither "];
    let is_size = |reason: &str| starts.iter().any(|start| reason.starts_with(start));
    reasons.iter().filter_map(|reason| reason.split_once(" is ")).any(|(_, told)| is_size(told))
}

fn find_limit(root: &Value, schema: &Value, name: &str) -> Option<i64> {
    let schema = resolve(root, schema);
    if let Some(several) = schema.get("anyOf").and_then(Value::as_array) {
        return several.iter().find_map(|schema| find_limit(root, schema, name));
    }
    schema.get(name).and_then(|limit| limit.as_i64().or_else(|| Some(limit.as_f64()? as i64)))
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
    visit_places(&root, &mut |place| {
        let own = resolve(&root, place.schema);
        let Some(fields) = own.get("properties").and_then(Value::as_object) else { return };
        let fields: BTreeSet<_> = fields.keys().cloned().collect();
        let document = (place.around)(json!({"unheardOfByAnyone": 1}));
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

/// The document with its names in `camelCase`, in which alone the schema has them.
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

/// Every document of the conformance tables that the filters take is valid.
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
