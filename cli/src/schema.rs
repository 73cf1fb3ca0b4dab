//! `sluice schema`: the JSON Schema of plugin documents, for editors that complete and check them.
//!
//! The schema is made from the same declarations of fields that the filters read documents by.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_policy::document::fields::{FieldSchema, Fields, Kind, ObjectSchema};
use sluice_policy::spec::document::Document;

/// The name of the schema, which does not depend on where a copy of it is.
const ID: &str = "urn:sluice:schema:plugin-document";

/// Durations in Go's notation that are longer than 0.
const DURATION: &str =
    "^(?=.*[1-9])\\+?(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h))+$";

/// Numbers from 0 to 100, as JSON writes them.
const PERCENTAGE: &str = "^(-?0(\\.0+)?|(0|[1-9][0-9]?)(\\.[0-9]+)?|100(\\.0+)?|[0-9](\\.[0-9]+)?[eE](-[0-9]+|\\+?[01]))$";

/// A pattern for a word in upper or lower case.
fn in_any_case(word: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphabetic() {
        true => format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase()),
        false => letter.to_string(),
    };
    word.chars().map(letter).collect()
}

/// The schema, in the 2020-12 draft.
pub fn schema() -> Value {
    let mut definitions = Definitions::default();
    let mut schema = definitions.object(Document::schema());
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("$id".to_owned(), json!(ID));
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
            Kind::AnyOf(kind, names) => self.any_of(kind, names),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::Either(kinds) => {
                json!({"anyOf": kinds.iter().map(|kind| self.kind(kind)).collect::<Value>()})
            }
            Kind::Duration => json!({"type": "string", "pattern": DURATION}),
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
                "pattern": PERCENTAGE,
            }),
            Kind::Object(object) => self.reference(object()),
            Kind::OneOf(words) => json!({"type": "string", "enum": words}),
            Kind::OneOfInAnyCase(words) => {
                let words: Vec<_> = words.iter().map(|word| in_any_case(word)).collect();
                json!({"type": "string", "pattern": format!("^({})?$", words.join("|"))})
            }
            Kind::Pattern(pattern) => {
                json!({"type": "string", "pattern": format!("^({pattern})$")})
            }
            Kind::OneOfIntegers(numbers) => json!({"type": "integer", "enum": numbers}),
            Kind::RequiredList(element) => {
                json!({"type": "array", "items": self.kind(element), "minItems": 1})
            }
            Kind::Text => json!({"type": "string"}),
        }
    }

    /// The kind of an object that must have one of the fields `names`. `null` and an empty list are
    /// the same as absent.
    fn any_of(&mut self, kind: &Kind, names: &[&str]) -> Value {
        let Kind::Object(object) = kind else { return self.kind(kind) };
        let mut reference = self.reference(object());
        let is_list = |name: &str| {
            let mut fields = object().fields.iter();
            fields.any(|own| own.name == name && matches!(own.kind, Kind::List(_)))
        };
        let choices = names.iter().map(|name| {
            let given = match is_list(name) {
                true => json!({"type": "array", "minItems": 1}),
                false => json!({"not": {"type": "null"}}),
            };
            json!({"required": [name], "properties": {*name: given}})
        });
        if let Value::Object(schema) = &mut reference {
            schema.insert("anyOf".to_owned(), choices.collect());
        }
        reference
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
mod differences;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
