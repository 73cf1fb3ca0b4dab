//! A JSON tree that keeps what `serde_json::Value` loses: keys that are given twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::document::protobuf_struct;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction or exponent that fits 64 bits
    Integer(i64),
    /// Any other number
    Float(f64),
    /// A string
    String(String),
    /// An array
    Array(Vec<Json>),
    /// An object, in document order, with every key as often as it was given
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a document: JSON text, or a `google.protobuf.Struct` as Envoy passes it on.
    ///
    /// # Errors
    /// Text that is not JSON: the reason with line and column.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        if document.is_empty() {
            return Err("is empty".to_owned());
        }
        serde_json::from_slice(document).or_else(|error| {
            // Not the other way round: a Struct is JSON too only if a key of it is a JSON document.
            protobuf_struct::decode(document).ok_or_else(|| format!("is not JSON: {error}"))
        })
    }
}

/// Longest part of a value that an error message repeats, in characters.
const SHOWN: usize = 80;

impl fmt::Display for Json {
    /// The value as JSON, shortened: it goes into error messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write_float(*value, f),
            Self::String(value) if value.chars().count() > SHOWN => {
                let start: String = value.chars().take(SHOWN).collect();
                write!(f, "{start:?}...")
            }
            Self::String(value) => write!(f, "{value:?}"),
            Self::Array(values) if values.is_empty() => f.write_str("[]"),
            Self::Array(_) => f.write_str("[...]"),
            Self::Object(fields) if fields.is_empty() => f.write_str("{}"),
            Self::Object(_) => f.write_str("{...}"),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

/// Writes a number without an exponent, as the standard library does with several times the code.
fn write_float(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format(value);
    let Some((digits, exponent)) = text.split_once('e') else {
        return f.write_str(text.strip_suffix(".0").unwrap_or(text));
    };
    // One digit, others perhaps after a point, and how far the point is to be moved.
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replacen('.', "", 1);
    let moved = exponent.parse::<i32>().unwrap_or_default();
    let width = usize::try_from(moved.unsigned_abs()).unwrap_or_default();
    if moved < 0 {
        let width = digits.len() + width - 1;
        write!(f, "{sign}0.{digits:0>width$}")
    } else {
        let width = width + 1;
        write!(f, "{sign}{digits:0<width$}")
    }
}

/// Adds a value to the list of them. Most have one or two, and a vector takes room for four at first.
fn push<T>(values: &mut Vec<T>, value: T) {
    if values.len() == values.capacity() {
        values.reserve_exact(values.len().max(1));
    }
    values.push(value);
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            push(&mut values, value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            push(&mut fields, field);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_keys_that_are_given_twice() {
        let tree = Json::parse(br#"{"a":1,"a":[null,true,0.5]}"#).unwrap();
        let list = Json::Array(vec![Json::Null, Json::Bool(true), Json::Float(0.5)]);
        assert_eq!(tree, Json::Object(vec![("a".into(), Json::Integer(1)), ("a".into(), list)]));
    }

    #[test]
    fn text_that_is_not_json_is_refused_with_its_place() {
        let reason = Json::parse(b"{\n  \"a\": }").unwrap_err();
        assert_eq!(reason, "is not JSON: expected value at line 2 column 8");
    }

    #[test]
    fn numbers_are_shown_as_by_the_standard_library() {
        for number in [1.5, -0.1, 2.0, 1e23, 1e300, 1.5e-7, -2.25e-300, f64::MAX, f64::MIN_POSITIVE]
        {
            assert_eq!(Json::Float(number).to_string(), number.to_string());
        }
    }

    #[test]
    fn long_strings_are_shortened_in_messages() {
        let text = Json::String("ä".repeat(100)).to_string();
        assert_eq!(text, format!("\"{}\"...", "ä".repeat(80)));
    }
}
