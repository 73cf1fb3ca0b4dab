//! Documents in the binary encoding of `google.protobuf.Struct`.
//!
//! Envoy passes a plugin configuration of this type to the module in its encoded form, not as JSON.
//! It allows the YAML of a VirtualService to be part of Envoy's YAML without changes.
//!
//! Encoding: <https://protobuf.dev/programming-guides/encoding/>; messages: `Struct` has entries
//! (1) with key (1) and value (2); `Value` has null (1), number (2), string (3), bool (4), struct
//! (5) or list (6); `ListValue` has values (1).

use std::borrow::Cow;

use crate::document::json::Json;

/// Maximum depth of nested messages, the same as that of `serde_json`.
const MAX_DEPTH: usize = 128;

/// Decodes a `Struct`; `None` for bytes that are not one.
pub fn decode(bytes: &[u8]) -> Option<Json<'_>> {
    decode_struct(bytes, 0)
}

fn decode_struct(bytes: &[u8], depth: usize) -> Option<Json<'_>> {
    let mut fields = Vec::new();
    for field in Fields(bytes) {
        let (1, Payload::Bytes(entry)) = field? else { return None };
        let mut key = Cow::default();
        let mut value = Json::Null;
        for field in Fields(entry) {
            match field? {
                (1, Payload::Bytes(bytes)) => key = str::from_utf8(bytes).ok()?.into(),
                (2, Payload::Bytes(bytes)) => value = decode_value(bytes, depth + 1)?,
                _ => return None,
            }
        }
        fields.push((key, value));
    }
    Some(Json::Object(fields))
}

fn decode_value(bytes: &[u8], depth: usize) -> Option<Json<'_>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut value = Json::Null;
    for field in Fields(bytes) {
        value = match field? {
            (1, Payload::Varint(_)) => Json::Null,
            (2, Payload::Fixed64(bits)) => number(f64::from_bits(bits)),
            (3, Payload::Bytes(bytes)) => Json::String(str::from_utf8(bytes).ok()?.into()),
            (4, Payload::Varint(flag)) => Json::Bool(flag != 0),
            (5, Payload::Bytes(bytes)) => decode_struct(bytes, depth)?,
            (6, Payload::Bytes(bytes)) => decode_list(bytes, depth)?,
            _ => return None,
        };
    }
    Some(value)
}

fn decode_list(bytes: &[u8], depth: usize) -> Option<Json<'_>> {
    let mut values = Vec::new();
    for field in Fields(bytes) {
        let (1, Payload::Bytes(value)) = field? else { return None };
        values.push(decode_value(value, depth + 1)?);
    }
    Some(Json::Array(values))
}

/// All numbers of a `Struct` are doubles. Whole numbers become integers again.
fn number(value: f64) -> Json<'static> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        Json::Integer(value as i64)
    } else {
        Json::Float(value)
    }
}

enum Payload<'a> {
    Bytes(&'a [u8]),
    Fixed64(u64),
    Varint(u64),
}

/// The fields of a message: numbers and payloads, `None` where the encoding is broken.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Payload<'a>)> {
        let tag = self.varint()?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk::<8>()?;
                self.0 = rest;
                Payload::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Payload::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, payload))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Payload<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse::parse;

    fn bytes(number: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 128);
        [&[number << 3 | 2, length], payload].concat()
    }

    fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        bytes(1, &[bytes(1, key.as_bytes()), bytes(2, value)].concat())
    }

    fn double(value: f64) -> Vec<u8> {
        [&[0x11], &value.to_le_bytes()[..]].concat()
    }

    #[test]
    fn every_kind_of_value_is_decoded() {
        let list = [bytes(1, &double(50.0)), bytes(1, &double(0.5)), bytes(1, &[0x08, 0])].concat();
        let inner = entry("x", &[0x20, 1]);
        let message = [
            entry("a", &bytes(3, b"s")),
            entry("b", &bytes(6, &list)),
            entry("c", &bytes(5, &inner)),
        ]
        .concat();
        let expected = parse(br#"{"a": "s", "b": [50, 0.5, null], "c": {"x": true}}"#);
        assert_eq!(decode(&message), expected.ok());
        assert_eq!(decode(b""), Some(Json::Object(Vec::new())));
    }

    #[test]
    fn everything_else_is_not_one() {
        let message = entry("a", &bytes(3, b"s"));
        for end in 1..message.len() {
            assert_eq!(decode(&message[..end]), None, "cut off at {end}");
        }
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(&[0xff; 20]), None);
        assert_eq!(decode(&entry("\u{0}", &[0x0d, 0, 0, 0, 0])), None);
        assert_eq!(decode(&bytes(1, &bytes(1, b"\xff"))), None);
    }

    #[test]
    fn nesting_has_an_end() {
        fn length(mut value: usize) -> Vec<u8> {
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        }
        let wrap = |tag: u8, inner: Vec<u8>| [vec![tag], length(inner.len()), inner].concat();
        let mut value = vec![0x08, 0];
        for _ in 0..10_000 {
            value = wrap(6 << 3 | 2, wrap(1 << 3 | 2, value));
        }
        let message = wrap(0x0a, [wrap(0x0a, b"k".to_vec()), wrap(0x12, value)].concat());
        assert_eq!(decode(&message), None);
    }
}
