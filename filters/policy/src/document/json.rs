//! A JSON tree that keeps repeated keys of an object, which `serde_json::Value` loses, and borrows
//! from the text of the document.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::document::field_name::is_field;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'t> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction or exponent that fits 64 bits
    Integer(i64),
    /// Any other number
    Float(f64),
    /// A string
    String(Cow<'t, str>),
    /// An array
    Array(Vec<Json<'t>>),
    /// An object, in document order, including repeated keys
    Object(Vec<Field<'t>>),
}

/// A field of an object: its key and its value.
pub type Field<'t> = (Cow<'t, str>, Json<'t>);

impl<'t> Json<'t> {
    /// The first field called `name`, in `camelCase` or `snake_case`.
    pub fn field(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(key, _)| is_field(key, name)).map(|(_, value)| value)
    }

    /// The elements of the list field `name`; none when there is no such list.
    pub fn elements(&self, name: &str) -> &[Self] {
        match self.field(name) {
            Some(Self::Array(values)) => values,
            _ => &[],
        }
    }

    /// The fields of an object; none for anything else.
    pub fn fields(&self) -> &[Field<'t>] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The length of the value as JSON text without spaces and escapes, in bytes.
    pub fn length(&self) -> usize {
        let quoted = |text: &str| text.len() + 2;
        match self {
            Self::String(text) => quoted(text),
            Self::Array(values) => {
                values.iter().map(|value| value.length() + 1).sum::<usize>().max(1) + 1
            }
            Self::Object(fields) => {
                let field = |(key, value): &Field<'_>| quoted(key) + value.length() + 2;
                fields.iter().map(field).sum::<usize>().max(1) + 1
            }
            Self::Null | Self::Bool(true) => 4,
            Self::Bool(false) => 5,
            Self::Integer(value) => {
                let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
                digits as usize + usize::from(*value < 0)
            }
            float => float.to_string().len(),
        }
    }

    /// The same value, with copies of the texts that it borrows.
    pub fn into_owned(self) -> Json<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Integer(value) => Json::Integer(value),
            Self::Float(value) => Json::Float(value),
            Self::String(text) => Json::String(owned(text)),
            Self::Array(values) => Json::Array(values.into_iter().map(Json::into_owned).collect()),
            Self::Object(fields) => {
                let fields = fields.into_iter();
                Json::Object(fields.map(|(key, own)| (owned(key), own.into_owned())).collect())
            }
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Longest part of a value or a key that an error message repeats, in characters.
pub const SHOWN: usize = 80;

/// A text of a document in quotation marks, shortened for error messages.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN).and_then(|(end, _)| self.0.get(..end)) {
            Some(start) => write!(f, "{start:?}..."),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl fmt::Display for Json<'_> {
    /// Writes the value as JSON, shortened for error messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write_float(*value, f),
            Self::String(value) => Quoted(value).fmt(f),
            Self::Array(values) if values.is_empty() => f.write_str("[]"),
            Self::Array(_) => f.write_str("[...]"),
            Self::Object(fields) if fields.is_empty() => f.write_str("{}"),
            Self::Object(_) => f.write_str("{...}"),
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

/// Writes a number without an exponent. The standard library does the same with more code.
fn write_float(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format(value);
    let Some((digits, exponent)) = text.split_once('e') else {
        return f.write_str(text.strip_suffix(".0").unwrap_or(text));
    };
    // Exponent format: one digit, perhaps a point and more digits, and an exponent.
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

/// Adds a value to a list. Most lists have one or two values, and a vector allocates four at first.
fn push<T>(values: &mut Vec<T>, value: T) {
    if values.len() == values.capacity() {
        values.reserve_exact(values.len().max(1));
    }
    values.push(value);
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    /// A text with an escape.
    fn visit_str<E: Error>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            push(&mut values, value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some((Key(key), value)) = access.next_entry()? {
            push(&mut fields, (key, value));
        }
        Ok(Json::Object(fields))
    }
}

/// A key of an object.
struct Key<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    /// A key with an escape.
    fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_by_the_standard_library() {
        for number in [1.5, -0.1, 2.0, 1e23, 1e300, 1.5e-7, -2.25e-300, f64::MAX, f64::MIN_POSITIVE]
        {
            assert_eq!(Json::Float(number).to_string(), number.to_string());
        }
    }

    #[test]
    fn the_length_is_that_of_the_text() {
        for text in ["[]", "{}", "null", r#"{"a":[1,"b",[]],"c":{"d":0.5,"e":true}}"#] {
            assert_eq!(
                serde_json::from_str::<Json<'_>>(text).unwrap().length(),
                text.len(),
                "{text}"
            );
        }
    }

    #[test]
    fn texts_are_borrowed_unless_they_have_an_escape() {
        let json: Json<'_> = serde_json::from_str(r#"{"a": ["b", "\n"], "\t": 1}"#).unwrap();
        let [(borrowed, list), (owned, _)] = json.fields() else { panic!("not two fields") };
        assert!(matches!(borrowed, Cow::Borrowed("a")));
        assert!(matches!(owned, Cow::Owned(key) if key == "\t"));
        let Json::Array(texts) = list else { panic!("not a list") };
        assert!(matches!(texts[0], Json::String(Cow::Borrowed("b"))));
        assert!(matches!(&texts[1], Json::String(Cow::Owned(text)) if text == "\n"));
    }

    #[test]
    fn long_strings_are_shortened_in_messages() {
        let text = Json::String("ä".repeat(100).into()).to_string();
        assert_eq!(text, format!("\"{}\"...", "ä".repeat(80)));
    }
}
