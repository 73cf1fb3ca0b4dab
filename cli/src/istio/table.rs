//! The schemas that Istio publishes, its CustomResourceDefinitions, as a table.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use sluice_policy::document::field_name::{self, is_field};
use sluice_policy::value::duration::GoDuration;

use crate::istio::errors::Errors;
use crate::istio::path::Path;
use crate::tree::{Key, Tree, Value};

/// The table, made from Istio's schemas by tests/istio.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("schemas.json")).unwrap_or_else(|_| Table::default())
});

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "origin")]
    _origin: String,
    kinds: BTreeMap<String, Schema>,
    shared: Vec<Schema>,
}

/// The schema of a value.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Schema {
    /// `true` or `false`
    Boolean,
    /// A duration of at least a millisecond, as a string
    Duration,
    /// A whole number
    Integer {
        /// The least
        minimum: Option<i64>,
        /// The greatest
        maximum: Option<i64>,
    },
    /// A list
    #[serde(rename_all = "camelCase")]
    List {
        /// Its elements
        items: Box<Schema>,
        /// The least number of elements
        min_items: Option<usize>,
        /// The greatest number of elements
        max_items: Option<usize>,
    },
    /// An object whose keys the user chooses
    Map(Box<Schema>),
    /// The same, or null
    Nullable(Box<Schema>),
    /// Any number
    Number,
    /// An object
    Object {
        /// Its fields
        fields: BTreeMap<String, Schema>,
        /// Fields that it must have
        #[serde(default)]
        required: Vec<String>,
        /// Fields of which it may have at most one
        #[serde(default)]
        choices: Vec<Vec<String>>,
    },
    /// An object that several fields have, by its index
    Shared(usize),
    /// A string
    #[serde(rename_all = "camelCase")]
    String {
        /// Its values; empty if it may be any
        #[serde(default, rename = "enum")]
        values: Vec<String>,
        /// The greatest length in characters
        max_length: Option<usize>,
    },
}

/// The schema of the `spec` of a kind.
pub fn spec(kind: &str) -> Option<&'static Schema> {
    TABLE.kinds.get(kind)
}

impl Schema {
    /// The schema of the field `name` of an object, in `camelCase`.
    pub fn field(&'static self, name: &str) -> Option<&'static Schema> {
        match self.resolved() {
            Self::Object { fields, .. } => fields.get(name),
            _ => None,
        }
    }

    /// The schema of the elements of a list.
    pub fn element(&'static self) -> Option<&'static Schema> {
        match self.resolved() {
            Self::List { items, .. } => Some(items),
            _ => None,
        }
    }

    /// The schema itself if it is shared or nullable.
    fn resolved(&'static self) -> &'static Self {
        match self {
            Self::Shared(index) => TABLE.shared.get(*index).unwrap_or(self),
            Self::Nullable(schema) => schema.resolved(),
            _ => self,
        }
    }

    /// Checks a value. Fields may be in `snake_case` too, as the filters accept it.
    pub fn check(&'static self, value: &Tree, path: &Path<'_>, errors: &mut Errors) {
        let is_null = value.value == Value::Null;
        match self {
            Self::Nullable(_) if is_null => return,
            Self::Nullable(schema) => return schema.check(value, path, errors),
            Self::Shared(_) => return self.resolved().check(value, path, errors),
            _ => {}
        }
        if let Err(reason) = self.check_itself(value) {
            return errors.add_value(path, value, reason);
        }
        match self {
            Self::List { items, .. } => {
                for (index, element) in value.elements().iter().enumerate() {
                    items.check(element, &path.index(index), errors);
                }
            }
            Self::Map(values) => {
                for (key, field) in given_fields(value) {
                    values.check(field, &path.member(&key.text), errors);
                }
            }
            Self::Object { fields, required, choices } => {
                check_fields(fields, value, path, errors);
                for name in required.iter().filter(|name| !is_given(value, name)) {
                    errors.add(path.member(name), "is required");
                }
                for names in choices {
                    let given = names.iter().filter(|name| is_given(value, name));
                    if given.count() > 1 {
                        let reason = format!("must have at most one of {}", names.join(", "));
                        errors.add(path, reason);
                    }
                }
            }
            _ => {}
        }
    }

    /// Returns the reason for which a value is wrong, apart from its elements and fields.
    fn check_itself(&self, value: &Tree) -> Result<(), String> {
        let is = |is_type, name: &str| if is_type { Ok(()) } else { Err(format!("is not {name}")) };
        match (self, &value.value) {
            (Self::Boolean, own) => is(matches!(own, Value::Bool(_)), "true or false"),
            (Self::Number, own) => {
                is(matches!(own, Value::Integer(_) | Value::Float(_)), "a number")
            }
            (Self::Integer { minimum, maximum }, Value::Integer(number)) => {
                let minimum = minimum.unwrap_or(i64::MIN);
                let maximum = maximum.unwrap_or(i64::MAX);
                if (minimum..=maximum).contains(number) {
                    return Ok(());
                }
                Err(format!("is not in the range {minimum} to {maximum}"))
            }
            (Self::Integer { .. }, _) => Err("is not a whole number".to_owned()),
            (Self::Duration, Value::String(text)) => check_duration(text),
            (Self::Duration, _) => Err("is not a duration such as 5s or 100ms".to_owned()),
            (Self::String { values, max_length }, Value::String(text)) => {
                if !values.is_empty() && !values.contains(text) {
                    return Err(format!("is not one of {}", values.join(", ")));
                }
                match max_length.filter(|most| text.chars().count() > *most) {
                    Some(most) => Err(format!("is longer than {most} characters")),
                    None => Ok(()),
                }
            }
            (Self::String { .. }, _) => Err("is not a string".to_owned()),
            (Self::List { min_items, max_items, .. }, Value::Array(elements)) => {
                let count = elements.len();
                if let Some(most) = max_items.filter(|most| count > *most) {
                    return Err(format!("has {count} elements; the limit is {most}"));
                }
                let least = min_items.filter(|least| count < *least);
                least.map_or(Ok(()), |least| Err(format!("must have at least {least} elements")))
            }
            (Self::List { .. }, _) => Err("is not a list".to_owned()),
            (Self::Map(_) | Self::Object { .. }, own) => {
                is(matches!(own, Value::Object(_)), "an object")
            }
            (Self::Nullable(_) | Self::Shared(_), _) => Ok(()),
        }
    }
}

/// The fields that are not null. Null is the same as absent for the API server, which removes it
/// (`PruneNonNullableNullsWithoutDefaults`).
fn given_fields(value: &Tree) -> impl Iterator<Item = &(Key, Tree)> {
    value.fields().iter().filter(|(_, field)| field.value != Value::Null)
}

/// Returns whether an object has the field `name`, and it is not null.
fn is_given(value: &Tree, name: &str) -> bool {
    value.field(name).is_some_and(|field| field.value != Value::Null)
}

/// Reports unknown fields and fields that occur twice, and checks the others.
fn check_fields(
    fields: &'static BTreeMap<String, Schema>,
    value: &Tree,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let mut seen: Vec<&str> = Vec::new();
    for (key, field) in value.fields() {
        let place = path.member(&key.text);
        let known = fields.iter().find(|(name, _)| is_field(&key.text, name));
        match known {
            None => {
                let names: Vec<&'static str> = fields.keys().map(String::as_str).collect();
                errors.add(place, field_name::unknown(&key.text, &names));
            }
            Some((name, _)) if seen.contains(&&**name) => errors.add(place, "occurs twice"),
            Some((name, schema)) => {
                seen.push(name);
                if key.text != *name {
                    errors.check_spelling(&place, name);
                }
                if field.value != Value::Null {
                    schema.check(field, &place, errors);
                }
            }
        }
    }
}

/// Checks a duration as the rule in Istio's schemas, and istiod (`ValidateDuration`).
fn check_duration(text: &str) -> Result<(), String> {
    match text.parse::<GoDuration>() {
        Err(error) => Err(error.to_string()),
        Ok(duration) if duration.0.as_millis() == 0 => Err("is less than 1ms".to_owned()),
        Ok(_) => Ok(()),
    }
}
