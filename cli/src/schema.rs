//! `sluice schema`: the JSON Schema of plugin documents, for editors that complete and check them.
//!
//! The schema is made from the same declarations of fields that the filters read documents by.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_policy::document::fields::{FieldSchema, Fields, Kind, ObjectSchema};
use sluice_policy::spec::document::Document;

/// The schema, in the 2020-12 draft.
pub fn schema() -> Value {
    let mut definitions = Definitions::default();
    let mut schema = definitions.object(Document::schema());
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("Sluice plugin document"));
        root.insert("$defs".to_owned(), definitions.schemas.into_iter().collect());
    }
    schema
}

/// The schema as text.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// The objects that others refer to, by name.
#[derive(Default)]
struct Definitions {
    schemas: BTreeMap<String, Value>,
}

impl Definitions {
    fn object(&mut self, object: &ObjectSchema) -> Value {
        let is_supported = |field: &&FieldSchema| !matches!(field.kind, Kind::Unsupported);
        let fields = object.fields.iter().filter(is_supported);
        let properties: Map<String, Value> =
            fields.clone().map(|field| (field.name.to_owned(), self.field(field))).collect();
        let required = fields.filter(|field| field.is_required).map(|field| field.name);
        let required: Vec<_> = required.collect();
        let mut schema = json!({
            "type": "object",
            "description": object.description,
            "properties": properties,
            "additionalProperties": false,
        });
        if let Some(schema) = schema.as_object_mut()
            && !required.is_empty()
        {
            schema.insert("required".to_owned(), json!(required));
        }
        schema
    }

    fn field(&mut self, field: &FieldSchema) -> Value {
        let mut schema = self.kind(&field.kind);
        if !field.is_required {
            schema = nullable(schema);
        }
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), json!(field.description));
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Any | Kind::Unsupported => json!({}),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::Either(kinds) => {
                json!({"anyOf": kinds.iter().map(|kind| self.kind(kind)).collect::<Value>()})
            }
            Kind::Integer(least, i64::MAX) => json!({"type": "integer", "minimum": least}),
            Kind::Integer(least, most) => {
                json!({"type": "integer", "minimum": least, "maximum": most})
            }
            Kind::List(element) => json!({"type": "array", "items": self.kind(element)}),
            Kind::Map(value) => json!({"type": "object", "additionalProperties": self.kind(value)}),
            Kind::Nullable(kind) => nullable(self.kind(kind)),
            Kind::Percentage => json!({
                "type": ["number", "string"],
                "minimum": 0,
                "maximum": 100,
                "pattern": r"^[-+.0-9eE]+$",
            }),
            Kind::Object(object) => self.reference(object()),
            Kind::OneOf(words) => json!({"type": "string", "enum": words}),
            Kind::OneOfIntegers(numbers) => json!({"type": "integer", "enum": numbers}),
            Kind::RequiredList(element) => {
                json!({"type": "array", "items": self.kind(element), "minItems": 1})
            }
            Kind::Text => json!({"type": "string"}),
        }
    }

    fn reference(&mut self, object: &ObjectSchema) -> Value {
        let name = object.name;
        if !self.schemas.contains_key(name) {
            // Its own fields may refer to it.
            self.schemas.insert(name.to_owned(), Value::Null);
            let schema = self.object(object);
            self.schemas.insert(name.to_owned(), schema);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }
}

/// The same, or `null`, which is the same as absent.
fn nullable(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    if schema.contains_key("$ref") {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    if let Some(kinds) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        kinds.push(json!({"type": "null"}));
    }
    match schema.get_mut("type") {
        Some(Value::Array(names)) => names.push(json!("null")),
        Some(name) => *name = json!([*name, "null"]),
        None => {}
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    Value::Object(schema)
}

#[cfg(test)]
mod tests;
