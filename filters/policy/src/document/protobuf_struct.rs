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

/// Maximum number of objects and lists in each other, the same as that of `serde_json`.
pub const MAX_DEPTH: usize = 127;

/// Why bytes are no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They are no `Struct`.
    NoStruct,
    /// They have more than [`MAX_DEPTH`] objects and lists in each other.
    TooDeep,
}

/// Decodes a `Struct`.
pub fn decode(bytes: &[u8]) -> Result<Json<'_>, Refusal> {
    decode_struct(bytes, 1)
}

fn decode_struct(bytes: &[u8], depth: usize) -> Result<Json<'_>, Refusal> {
    check_depth(depth)?;
    let mut fields = Vec::new();
    for field in Fields(bytes) {
        let (1, Payload::Bytes(entry)) = field.ok_or(Refusal::NoStruct)? else {
            return Err(Refusal::NoStruct);
        };
        let mut key = Cow::default();
        let mut value = Json::Null;
        for field in Fields(entry) {
            match field.ok_or(Refusal::NoStruct)? {
                (1, Payload::Bytes(bytes)) => key = text(bytes)?,
                (2, Payload::Bytes(bytes)) => value = decode_value(bytes, depth)?,
                _ => return Err(Refusal::NoStruct),
            }
        }
        fields.push((key, value));
    }
    Ok(Json::Object(fields))
}

fn check_depth(depth: usize) -> Result<(), Refusal> {
    if depth > MAX_DEPTH { Err(Refusal::TooDeep) } else { Ok(()) }
}

fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Refusal::NoStruct)
}

/// Decodes a value that is in `depth` objects and lists.
fn decode_value(bytes: &[u8], depth: usize) -> Result<Json<'_>, Refusal> {
    let mut value = Json::Null;
    for field in Fields(bytes) {
        value = match field.ok_or(Refusal::NoStruct)? {
            (1, Payload::Varint(_)) => Json::Null,
            (2, Payload::Fixed64(bits)) => number(f64::from_bits(bits)),
            (3, Payload::Bytes(bytes)) => Json::String(text(bytes)?),
            (4, Payload::Varint(flag)) => Json::Bool(flag != 0),
            (5, Payload::Bytes(bytes)) => decode_struct(bytes, depth + 1)?,
            (6, Payload::Bytes(bytes)) => decode_list(bytes, depth + 1)?,
            _ => return Err(Refusal::NoStruct),
        };
    }
    Ok(value)
}

fn decode_list(bytes: &[u8], depth: usize) -> Result<Json<'_>, Refusal> {
    check_depth(depth)?;
    let mut values = Vec::new();
    for field in Fields(bytes) {
        let (1, Payload::Bytes(value)) = field.ok_or(Refusal::NoStruct)? else {
            return Err(Refusal::NoStruct);
        };
        values.push(decode_value(value, depth)?);
    }
    Ok(Json::Array(values))
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
        assert_eq!(decode(&message).ok(), expected.ok());
        assert_eq!(decode(b""), Ok(Json::Object(Vec::new())));
    }

    #[test]
    fn everything_else_is_not_one() {
        let message = entry("a", &bytes(3, b"s"));
        for end in 1..message.len() {
            assert_eq!(decode(&message[..end]), Err(Refusal::NoStruct), "cut off at {end}");
        }
        assert_eq!(decode(b"{}"), Err(Refusal::NoStruct));
        assert_eq!(decode(&[0xff; 20]), Err(Refusal::NoStruct));
        assert_eq!(decode(&entry("\u{0}", &[0x0d, 0, 0, 0, 0])), Err(Refusal::NoStruct));
        assert_eq!(decode(&bytes(1, &bytes(1, b"\xff"))), Err(Refusal::NoStruct));
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
        // The same as for JSON.
        for (lists, is_read) in [(126, true), (127, false), (10_000, false)] {
            let mut value = vec![0x08, 0];
            for _ in 0..lists {
                value = wrap(6 << 3 | 2, wrap(1 << 3 | 2, value));
            }
            let message = wrap(0x0a, [wrap(0x0a, b"k".to_vec()), wrap(0x12, value)].concat());
            let refusal = decode(&message).err();
            assert_eq!(refusal, (!is_read).then_some(Refusal::TooDeep), "{lists}");
            let json = format!(r#"{{"k":{}null{}}}"#, "[".repeat(lists), "]".repeat(lists));
            let json: Result<Json<'_>, _> = serde_json::from_str(&json);
            assert_eq!(json.is_ok(), is_read, "{lists}");
        }
    }
}
