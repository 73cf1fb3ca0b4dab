//! A part of a virtual service, as JSON.

use crate::document::json::{Field, Json};
use crate::name_set::NameSet;
use crate::spec::proxy::complete_gateway;
use crate::value::host_name::qualify;

/// A part of a virtual service.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The part
    pub json: &'a Json<'a>,
    /// Namespace of the virtual service, which completes short names
    pub namespace: Option<&'a str>,
}

impl<'a> Part<'a> {
    /// Returns the field; `None` if it is absent or has a value that is the same as absent.
    #[inline(never)]
    pub fn field(self, name: &str) -> Option<Self> {
        let json = self.json.field(name)?;
        let is_absent = match json {
            Json::Null => true,
            Json::String(text) => text.is_empty(),
            Json::Array(values) => values.is_empty(),
            // mirrorPercent 0 is not the same as absent.
            Json::Integer(number) => *number == 0 && name == "port",
            _ => false,
        };
        (!is_absent).then_some(Self { json, ..self })
    }

    /// Returns the names of a list of gateways, complete.
    pub fn gateways(self) -> impl Iterator<Item = String> {
        let names = if let Json::Array(names) = self.json { &names[..] } else { &[] };
        let names = names.iter().filter_map(Json::as_str);
        names.map(move |name| complete_gateway(name, self.namespace))
    }
}

/// Returns the text of a string field; `None` if it is empty or absent.
#[inline(never)]
pub fn text<'a>(json: &'a Json, name: &str) -> Option<&'a str> {
    json.field(name).and_then(Json::as_str).filter(|text| !text.is_empty())
}

/// Completes `host` of a destination, of an object with a destination, or of a list of those.
pub fn complete_hosts(json: &mut Json, namespace: Option<&str>) {
    match json {
        Json::Array(values) => {
            for value in values {
                complete_hosts(value, namespace);
            }
        }
        Json::Object(fields) => {
            for (key, value) in fields {
                match (&**key, value) {
                    ("host", Json::String(host)) => *host = qualify(host, namespace).into(),
                    ("destination", value) => complete_hosts(value, namespace),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// Returns the keys of entries, each with its index, as keys are unique.
#[inline(never)]
pub fn keys(entries: &[Field<'_>]) -> NameSet {
    let mut keys = NameSet::default();
    for (key, _) in entries {
        keys.add(key.as_bytes());
    }
    keys
}
