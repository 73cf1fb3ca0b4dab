//! Values of a document with their paths, for what is left out of the output.

use std::borrow::Cow;
use std::time::Duration;

use sluice_policy::document::field_name::is_field;
use sluice_policy::document::json::Json;
use sluice_policy::spec::destination::{Destination, Naming};
use sluice_policy::value::duration::GoDuration;

use crate::kinds::ROUTES;

/// A value of a document without errors, with its path.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// The path from the root of the document
    pub path: String,
    /// The value
    pub json: &'a Json<'a>,
    /// The virtual service, HTTPRoute or GRPCRoute that it is in, if any
    owner: Option<&'a Json<'a>>,
}

/// A destination, and the part that has it.
pub struct Found<'a> {
    /// The destination
    pub destination: Destination,
    /// Its value
    pub part: Part<'a>,
}

impl<'a> Part<'a> {
    /// The whole document.
    pub fn root(json: &'a Json) -> Self {
        Self { path: String::new(), json, owner: None }
    }

    /// The virtual services of a document.
    pub fn virtual_services(document: &'a Json) -> Vec<Self> {
        Self::owners(document, "virtualServices")
    }

    /// The HTTPRoutes and GRPCRoutes of a document.
    pub fn gateway_routes(document: &'a Json) -> Vec<Self> {
        ROUTES.into_iter().flat_map(|list| Self::owners(document, list)).collect()
    }

    fn owners(document: &'a Json, list: &str) -> Vec<Self> {
        let mut owners = Self::root(document).elements(list);
        for own in &mut owners {
            own.owner = Some(own.json);
        }
        owners
    }

    /// Returns whether it is in a virtual service without hosts.
    pub fn is_of_delegate(&self) -> bool {
        self.owner.is_some_and(|service| service.elements("hosts").is_empty())
    }

    /// The namespace of a delegate, if it says one.
    pub fn namespace_of_delegate(&self) -> Option<&'a str> {
        let service = self.owner.filter(|_| self.is_of_delegate())?;
        service.field("namespace")?.as_str().filter(|own| !own.is_empty())
    }

    /// How destinations in it are named.
    pub fn naming<'n>(&self, document: &'n Naming) -> Cow<'n, Naming> {
        self.owner.map_or(Cow::Borrowed(document), |owner| document.within(owner))
    }

    /// The field `name`, unless it is absent or null.
    pub fn field(&self, name: &str) -> Option<Self> {
        let (key, json) = self.json.fields().iter().find(|(key, _)| is_field(key, name))?;
        let path =
            if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        (*json != Json::Null).then_some(Self { path, json, ..*self })
    }

    /// The elements of the list field `name`.
    pub fn elements(&self, name: &str) -> Vec<Self> {
        let Some(list) = self.field(name) else { return Vec::new() };
        let Json::Array(elements) = list.json else { return Vec::new() };
        let indexed = elements.iter().enumerate();
        let element = |(i, json)| Self { path: format!("{}[{i}]", list.path), json, ..*self };
        indexed.map(element).collect()
    }

    /// The field `name` if it is a string and not empty.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.json.field(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// The strings of the list field `name`.
    pub fn texts(&self, name: &str) -> Vec<&'a str> {
        self.json.elements(name).iter().filter_map(Json::as_str).collect()
    }

    /// The field `name` if it is a whole number greater than 0. In Istio, 0 is the same as absent.
    pub fn count(&self, name: &str) -> Option<u64> {
        match self.json.field(name)? {
            Json::Integer(number) => u64::try_from(*number).ok().filter(|number| *number > 0),
            _ => None,
        }
    }

    /// The field `name` if it is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.json.field(name)? {
            Json::Integer(number) => Some(*number as f64),
            Json::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The field `name` if it is a port.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.count(name).and_then(|number| number.try_into().ok())
    }

    /// The duration in the field `name`.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name)?.parse::<GoDuration>().ok().map(|GoDuration(duration)| duration)
    }

    /// Returns whether the field `name` is `true`.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.json.field(name), Some(Json::Bool(true)))
    }
}

/// A duration in the notation of protobuf's JSON.
pub fn duration_text(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}
