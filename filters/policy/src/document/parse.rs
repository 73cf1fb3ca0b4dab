//! From the bytes of a configuration to a tree.

use crate::document::json::Json;
use crate::document::protobuf_struct;

/// Parses a document: JSON text, or a `google.protobuf.Struct` as Envoy passes it on.
///
/// # Errors
/// Text that is not JSON: the reason with line and column.
pub fn parse(document: &[u8]) -> Result<Json, String> {
    if document.is_empty() {
        return Err("is empty".to_owned());
    }
    serde_json::from_slice(document).or_else(|error| {
        // In this order: a Struct is also JSON only if one of its keys is a JSON document.
        protobuf_struct::decode(document).ok_or_else(|| format!("is not JSON: {error}"))
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
    fn text_that_is_not_json_is_refused_with_its_place() {
        let reason = parse(b"{\n  \"a\": }").unwrap_err();
        assert_eq!(reason, "is not JSON: expected value at line 2 column 8");
    }
}
