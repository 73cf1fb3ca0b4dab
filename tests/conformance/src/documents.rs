//! Valid documents with every field of the schema, and invalid variants of them.

use serde_json::{Value, json};
use sluice_policy::document::fields::{FieldSchema, Fields, Kind, ObjectSchema};
use sluice_policy::spec::document::Document;

const DOCUMENTS: [(&str, &str); 4] = [
    ("clusters", include_str!("../documents/clusters.json")),
    ("connections", include_str!("../documents/connections.json")),
    ("gateway", include_str!("../documents/gateway.json")),
    ("routes", include_str!("../documents/routes.json")),
];

/// A string that is neither the name of a field nor a valid value of any field.
pub const UNKNOWN: &str = "unheardOfByAnyone";

/// The documents with their names.
///
/// # Panics
/// If one of them is not JSON.
pub fn documents() -> impl Iterator<Item = (&'static str, Value)> {
    DOCUMENTS.iter().map(|(name, text)| {
        let document = serde_json::from_str(text);
        (*name, document.unwrap_or_else(|error| panic!("{name}: {error}")))
    })
}

/// A value of a document that the schema describes.
#[derive(Clone, Debug)]
pub struct Place {
    /// The JSON pointer
    pub pointer: String,
    /// The JSON path, in the form that errors use
    pub path: String,
    /// The object that contains the field
    pub object: &'static ObjectSchema,
    /// The field with this value, or with a value that contains it
    pub field: &'static FieldSchema,
    /// The valid values
    pub kind: &'static Kind,
    /// Whether the value is the whole field
    pub is_field: bool,
}

/// The values of a document, and of all objects and lists in it.
pub fn places(document: &Value) -> Vec<Place> {
    let mut found = Vec::new();
    visit_object(document, Document::schema(), ("", ""), &mut found);
    found
}

fn visit_object(
    value: &Value,
    object: &'static ObjectSchema,
    (pointer, path): (&str, &str),
    found: &mut Vec<Place>,
) {
    for field in object.fields {
        let Some(own) = value.get(field.name) else { continue };
        let dot = if path.is_empty() { "" } else { "." };
        let place = Place {
            pointer: format!("{pointer}/{}", field.name),
            path: format!("{path}{dot}{}", field.name),
            object,
            field,
            kind: &field.kind,
            is_field: true,
        };
        visit(own, place, found);
    }
}

fn visit(value: &Value, place: Place, found: &mut Vec<Place>) {
    let part = |pointer: String, path: String, kind| {
        let Place { object, field, .. } = place;
        Place { pointer, path, object, field, kind, is_field: false }
    };
    match (place.kind, value) {
        (Kind::Object(object), _) => {
            visit_object(value, object(), (&place.pointer, &place.path), found);
        }
        (Kind::List(kind) | Kind::RequiredList(kind), Value::Array(values)) => {
            for (index, own) in values.iter().enumerate() {
                let pointer = format!("{}/{index}", place.pointer);
                visit(own, part(pointer, format!("{}[{index}]", place.path), kind), found);
            }
        }
        (Kind::Map(kind), Value::Object(values)) => {
            for (key, own) in values {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
                let path = match key.chars().all(is_plain) {
                    true => format!("{}.{key}", place.path),
                    false => format!("{}[{key:?}]", place.path),
                };
                visit(own, part(format!("{}/{key}", place.pointer), path, kind), found);
            }
        }
        (Kind::Nullable(kind), own) if !own.is_null() => {
            visit(own, part(place.pointer.clone(), place.path.clone(), kind), found);
            return;
        }
        (Kind::AnyOf(kind, _), _) => {
            visit(value, Place { kind, ..place }, found);
            return;
        }
        _ => {}
    }
    found.push(place);
}

/// Values that are invalid for every field with this schema.
pub fn wrong_values(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Any | Kind::Unsupported => Vec::new(),
        Kind::AnyOf(kind, _) => wrong_values(kind),
        Kind::Boolean => vec![json!("yes"), json!(1), json!([])],
        Kind::Either(kinds) => {
            // A value of one kind may be right for another one, except for numbers out of range.
            let numbers = kinds.iter().filter(|kind| matches!(kind, Kind::Integer(..)));
            let numbers = numbers.flat_map(wrong_values).filter(Value::is_i64);
            [json!({}), json!(UNKNOWN)].into_iter().chain(numbers).collect()
        }
        Kind::Integer(least, most) => {
            let mut values = vec![json!("x"), json!(1.5), json!({})];
            values.extend(least.checked_sub(1).map(Value::from));
            values.extend(most.checked_add(1).map(Value::from));
            values
        }
        Kind::List(_) => vec![json!({}), json!("x")],
        Kind::Map(_) | Kind::Object(_) => vec![json!(7), json!([])],
        Kind::Nullable(kind) => wrong_values(kind),
        Kind::Percentage => vec![json!("x"), json!({}), json!(101)],
        Kind::Duration => vec![json!(7), json!("soon"), json!("-5s"), json!("0s")],
        Kind::OneOf(_) | Kind::OneOfInAnyCase(_) => vec![json!(UNKNOWN), json!(7)],
        Kind::OneOfIntegers(_) => vec![json!(12345), json!("x")],
        Kind::RequiredList(_) => vec![json!({}), json!("x"), json!([])],
        Kind::Pattern(_) | Kind::Text => vec![json!(7), json!({}), json!(["x"])],
    }
}

impl Place {
    /// Returns the document with a different value at this place.
    ///
    /// # Panics
    /// If the place belongs to another document.
    pub fn replaced(&self, document: &Value, value: Value) -> Value {
        let mut document = document.clone();
        *document.pointer_mut(&self.pointer).expect("a place of the document") = value;
        document
    }

    /// Returns the document without this field.
    ///
    /// # Panics
    /// If the place belongs to another document.
    pub fn removed(&self, document: &Value) -> Value {
        let mut document = document.clone();
        let parent =
            self.pointer.rsplit_once('/').and_then(|(parent, _)| document.pointer_mut(parent));
        let parent = parent.and_then(Value::as_object_mut).expect("a place of the document");
        parent.remove(self.field.name);
        document
    }

    /// Returns the document with an unknown field in the object at this place.
    ///
    /// # Panics
    /// If the place belongs to another document or is not an object.
    pub fn with_unknown_field(&self, document: &Value) -> Value {
        let mut document = document.clone();
        let object = document.pointer_mut(&self.pointer).and_then(Value::as_object_mut);
        object.expect("an object").insert(UNKNOWN.to_owned(), json!(1));
        document
    }
}
