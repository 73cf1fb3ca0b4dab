//! Documents as `google.protobuf.Struct`: any bytes are read or refused, and a document means the
//! same as a Struct and as JSON.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use sluice_policy::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

/// A value that JSON and Struct have in common.
#[derive(Arbitrary, Debug)]
enum Any {
    Null,
    Bool(bool),
    Number(i32),
    Text(String),
    List(Vec<Any>),
    Object(BTreeMap<Key, Any>),
}

/// A key: one that documents have, so that values are read, or any.
#[derive(Arbitrary, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    ClusterName,
    VirtualServices,
    Hosts,
    Http,
    Match,
    Uri,
    Prefix,
    Route,
    Destination,
    Host,
    Weight,
    Other(String),
}

impl Key {
    fn text(&self) -> &str {
        match self {
            Self::ClusterName => "clusterName",
            Self::VirtualServices => "virtualServices",
            Self::Hosts => "hosts",
            Self::Http => "http",
            Self::Match => "match",
            Self::Uri => "uri",
            Self::Prefix => "prefix",
            Self::Route => "route",
            Self::Destination => "destination",
            Self::Host => "host",
            Self::Weight => "weight",
            Self::Other(text) => text,
        }
    }
}

fn json(value: &Any) -> serde_json::Value {
    match value {
        Any::Null => serde_json::Value::Null,
        Any::Bool(flag) => (*flag).into(),
        Any::Number(number) => (*number).into(),
        Any::Text(text) => text.as_str().into(),
        Any::List(values) => values.iter().map(json).collect(),
        Any::Object(fields) => {
            fields.iter().map(|(key, value)| (key.text().to_owned(), json(value))).collect()
        }
    }
}

fn protobuf(value: &serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(flag) => Kind::BoolValue(*flag),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.iter().map(protobuf).collect() })
        }
        serde_json::Value::Object(_) => Kind::StructValue(protobuf_struct(value)),
    };
    Value { kind: Some(kind) }
}

fn protobuf_struct(object: &serde_json::Value) -> Struct {
    let fields = object.as_object().into_iter().flatten();
    Struct { fields: fields.map(|(key, value)| (key.clone(), protobuf(value))).collect() }
}

fn errors(document: &[u8]) -> Vec<String> {
    let rejection = Router::compile(document, &NoMetadata).err();
    let errors = rejection.into_iter().flat_map(|rejection| rejection.errors);
    // Only JSON has a line in which it is nested too deep.
    let is_deep =
        |error: &String| ["recursion limit", "in each other"].iter().any(|t| error.contains(t));
    let text = |error: String| if is_deep(&error) { "too deep".to_owned() } else { error };
    errors.map(|error| text(error.to_string())).collect()
}

fuzz_target!(|input: (BTreeMap<Key, Any>, &[u8])| {
    let (fields, bytes) = input;
    let _ = Router::compile(bytes, &NoMetadata);
    let document = json(&Any::Object(fields));
    let encoded = protobuf_struct(&document).encode_to_vec();
    // No bytes are no document; JSON that Struct bytes happen to be is read as JSON.
    if encoded.is_empty() || serde_json::from_slice::<serde_json::Value>(&encoded).is_ok() {
        return;
    }
    assert_eq!(errors(&encoded), errors(document.to_string().as_bytes()), "{document}");
});
