//! From the bytes of a configuration to a tree.

use crate::document::json::Json;
use crate::document::protobuf_struct::{self, MAX_DEPTH, Refusal};

/// Maximum length of a document, in bytes. Reading one of this length takes up to 24 times as much
/// memory, and a VM of Envoy has 1 GiB.
pub const MAX_BYTES: usize = 16 << 20;

/// Checks the length of a document, in bytes.
///
/// # Errors
/// The reason why the document is refused.
pub fn check_length(bytes: usize) -> Result<(), String> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(format!("is {bytes} bytes long; a document has at most {MAX_BYTES} bytes (16 MiB)"))
}

/// Parses a document: JSON text, or a `google.protobuf.Struct` as Envoy passes it on.
///
/// # Errors
/// Text that is not JSON: the reason with line and column. A `Struct` of more than [`MAX_DEPTH`]
/// levels. A document of more than [`MAX_BYTES`].
pub fn parse(document: &[u8]) -> Result<Json<'_>, String> {
    if document.is_empty() {
        return Err("is empty".to_owned());
    }
    check_length(document.len())?;
    serde_json::from_slice(document).or_else(|error| {
        // In this order: a Struct is also JSON only if one of its keys is a JSON document.
        protobuf_struct::decode(document).map_err(|refusal| match refusal {
            Refusal::NoStruct => format!("is not JSON: {error}"),
            Refusal::TooDeep => {
                format!("has more than {MAX_DEPTH} objects and lists in each other")
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_keys_that_are_given_twice() {
        let tree = parse(br#"{"a":1,"a":[null,true,0.5]}"#).unwrap();
        let list = Json::Array(vec![Json::Null, Json::Bool(true), Json::Float(0.5)]);
        assert_eq!(tree, Json::Object(vec![("a".into(), Json::Integer(1)), ("a".into(), list)]));
    }

    #[test]
    fn documents_have_a_maximum_length() {
        let longest = [b"{}".as_slice(), &vec![b' '; MAX_BYTES - 2]].concat();
        assert_eq!(parse(&longest), Ok(Json::Object(Vec::new())));
        let reason = "is 16777217 bytes long; a document has at most 16777216 bytes (16 MiB)";
        assert_eq!(parse(&[longest.as_slice(), b" "].concat()), Err(reason.to_owned()));
    }

    #[test]
    fn text_that_is_not_json_is_refused_with_its_place() {
        let reason = parse(b"{\n  \"a\": }").unwrap_err();
        assert_eq!(reason, "is not JSON: expected value at line 2 column 8");
    }
}
