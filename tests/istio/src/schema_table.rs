//! The schemas of Istio in the form that the command has them: `cli/src/istio/schemas.json`, a
//! table without descriptions in which equal objects are shared.

use std::path::Path;

use serde_json::{Map, Value, json};
use sluice_e2e::workspace;

use crate::published::documents;

/// Keywords of the table that the command checks, or that say nothing about a value.
const KNOWN: [&str; 19] = [
    "additionalProperties",
    "allOf",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minimum",
    "nullable",
    "oneOf",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
];

/// The CEL rule of durations. Others are about fields that the filters read and check themselves.
const DURATION: &str = "duration(self) >= duration('1ms')";

/// Compares the table of the command with the CustomResourceDefinitions in the file `crds`. With
/// `SLUICE_REWRITE_SCHEMAS`, writes it instead.
///
/// # Panics
/// If they differ.
pub fn compare(crds: &Path) {
    let text = std::fs::read_to_string(crds).expect("the CustomResourceDefinitions");
    let table = Table::of(&documents(&text)).into_text(&version());
    let file = workspace().join("cli/src/istio/schemas.json");
    if std::env::var_os("SLUICE_REWRITE_SCHEMAS").is_some() {
        std::fs::write(&file, &table).expect("schemas.json");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == table, "{} is old: set SLUICE_REWRITE_SCHEMAS=1", file.display());
}

/// The version of Istio in go.mod.
fn version() -> String {
    let text = std::fs::read_to_string(workspace().join("tests/istio/istiod/go.mod"));
    let text = text.expect("go.mod");
    let version = text.lines().find_map(|line| line.trim().strip_prefix("istio.io/istio "));
    version.expect("a version").to_owned()
}

#[derive(Default)]
struct Table {
    kinds: Map<String, Value>,
    shared: Vec<Value>,
}

impl Table {
    fn of(definitions: &[Value]) -> Self {
        let mut table = Self::default();
        for definition in definitions {
            let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
            if !["VirtualService", "DestinationRule", "ServiceEntry"].contains(&kind) {
                continue;
            }
            let versions = definition["spec"]["versions"].as_array().expect("versions");
            let spec = |version: &Value| {
                version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
            };
            let own = spec(&versions[0]);
            assert!(versions.iter().all(|other| spec(other) == own), "{kind}: the versions differ");
            let schema = table.schema(&own);
            table.kinds.insert(kind.to_owned(), schema);
        }
        table
    }

    /// One schema or shared object per line.
    fn into_text(self, version: &str) -> String {
        let origin = format!(
            "CustomResourceDefinitions of istio.io/istio {version}, \
             manifests/charts/base/files/crd-all.gen.yaml, Copyright Istio Authors, Apache-2.0; \
             changed into a table without descriptions by tests/istio (make corpus)"
        );
        let kinds: Vec<_> =
            self.kinds.iter().map(|(kind, schema)| format!("{kind:?}: {schema}")).collect();
        let shared: Vec<_> = self.shared.iter().map(Value::to_string).collect();
        format!(
            "{{\n\"origin\": {},\n\"kinds\": {{\n{}\n}},\n\"shared\": [\n{}\n]\n}}\n",
            json!(origin),
            kinds.join(",\n"),
            shared.join(",\n")
        )
    }

    fn schema(&mut self, schema: &Value) -> Value {
        for (keyword, rules) in schema.as_object().expect("a schema") {
            let is_rule = keyword == "x-kubernetes-validations" && rules.is_array();
            assert!(is_rule || KNOWN.contains(&keyword.as_str()), "{keyword} is new");
        }
        let own = match schema["type"].as_str() {
            Some("object") => self.object(schema),
            Some("array") => {
                let mut own = Map::new();
                own.insert("items".to_owned(), self.schema(&schema["items"]));
                copy(&mut own, schema, &["minItems", "maxItems"]);
                json!({ "list": own })
            }
            Some("string") if has_rule(schema, DURATION) => json!("duration"),
            Some("string") => {
                let mut own = Map::new();
                copy(&mut own, schema, &["enum", "maxLength"]);
                json!({ "string": own })
            }
            Some("integer") => {
                let mut own = Map::new();
                if schema["format"] == "int32" {
                    own.insert("minimum".to_owned(), json!(i32::MIN));
                    own.insert("maximum".to_owned(), json!(i32::MAX));
                }
                copy(&mut own, schema, &["minimum", "maximum"]);
                json!({ "integer": own })
            }
            Some("number") => json!("number"),
            Some("boolean") => json!("boolean"),
            other => panic!("{other:?} is no type that Istio used so far"),
        };
        if schema["nullable"] == true { json!({ "nullable": own }) } else { own }
    }

    fn object(&mut self, schema: &Value) -> Value {
        if let Some(values) = schema.get("additionalProperties") {
            return json!({ "map": self.schema(values) });
        }
        let properties = schema["properties"].as_object().into_iter().flatten();
        let fields: Map<_, _> =
            properties.map(|(name, field)| (name.clone(), self.schema(field))).collect();
        let mut own = Map::new();
        own.insert("fields".to_owned(), fields.into());
        copy(&mut own, schema, &["required"]);
        let choices = schema["allOf"].as_array().cloned().unwrap_or_default();
        let choices: Vec<_> = choices.iter().chain([schema]).filter_map(choice).collect();
        if !choices.is_empty() {
            own.insert("choices".to_owned(), choices.into());
        }
        let own = json!({ "object": own });
        let index = self.shared.iter().position(|known| *known == own).unwrap_or_else(|| {
            self.shared.push(own);
            self.shared.len() - 1
        });
        json!({ "shared": index })
    }
}

/// The fields of which an object may have at most one: Istio writes `oneOf` of none and of each.
fn choice(schema: &Value) -> Option<Value> {
    let mut alternatives = schema["oneOf"].as_array()?.iter();
    let none = alternatives.next()?;
    let names: Vec<_> = alternatives.map(|one| one["required"][0].clone()).collect();
    let required: Vec<_> = names.iter().map(|name| json!({ "required": [name] })).collect();
    assert!(*none == json!({ "not": { "anyOf": required } }), "{schema} is new");
    Some(names.into())
}

fn copy(own: &mut Map<String, Value>, schema: &Value, keywords: &[&str]) {
    for keyword in keywords {
        if let Some(value) = schema.get(keyword) {
            own.insert((*keyword).to_owned(), value.clone());
        }
    }
}

fn has_rule(schema: &Value, rule: &str) -> bool {
    let rules = schema["x-kubernetes-validations"].as_array();
    rules.into_iter().flatten().any(|own| own["rule"] == rule)
}
