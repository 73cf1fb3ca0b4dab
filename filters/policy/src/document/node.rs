//! Reading a configuration document field by field, with a path for every error.
//!
//! A reader asks an [`Object`] for the fields that it knows. What was never asked for is an unknown
//! field and becomes an error when the object goes out of scope, so nothing is ignored by accident.
//! `null` means absent, and `snake_case` is read like `camelCase`, both as in Istio.
//!
//! Nothing here is inlined: it is at work only while a configuration is read, and every field of it
//! would have a copy in every module.

use std::fmt;

use smallvec::SmallVec;

use crate::bytes;
use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::report::Report;

/// A value of the document.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// The value
    pub json: &'a Json,
    report: &'a Report,
}

impl<'a> Node<'a> {
    /// The root of a document.
    pub fn root(json: &'a Json, report: &'a Report) -> Self {
        Self { json, report }
    }

    /// Reports an error about this value, without showing it.
    pub fn error(&self, reason: impl fmt::Display) {
        self.report.error(self.json, None, &reason);
    }

    /// Reports an error about this value that starts with it.
    pub fn invalid(&self, reason: impl fmt::Display) {
        self.error(format_args!("{} {reason}", self.json));
    }

    /// Reports something remarkable about this value, which is no error.
    pub fn notice(&self, reason: impl fmt::Display) {
        self.report.notice(self.json, &reason);
    }

    /// Reports something remarkable about this value if it is `filter` that reads the document.
    pub fn notice_to(&self, filter: Filter, reason: impl fmt::Display) {
        if self.report.filter() == filter {
            self.notice(reason);
        }
    }

    fn child(&self, json: &'a Json) -> Self {
        Self { json, report: self.report }
    }

    /// The fields of an object; an error and `None` for anything else.
    #[inline(never)]
    pub fn object(&self) -> Option<Object<'a>> {
        match self.json {
            Json::Object(fields) => {
                Some(Object { node: *self, fields, known: SmallVec::new(), used: 0 })
            }
            _ => {
                self.invalid("is not an object");
                None
            }
        }
    }

    /// Whether it is an array without elements.
    pub fn is_empty_list(&self) -> bool {
        matches!(self.json, Json::Array(values) if values.is_empty())
    }

    /// The elements of an array; an error and nothing for anything else.
    #[inline(never)]
    pub fn elements(&self) -> Vec<Node<'a>> {
        let Json::Array(values) = self.json else {
            self.invalid("is not a list");
            return Vec::new();
        };
        values.iter().map(|json| self.child(json)).collect()
    }

    /// The entries of an object whose keys the user chooses, such as header names. A key that is
    /// given twice is an error. Values may be `null`.
    #[inline(never)]
    pub fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let Json::Object(fields) = self.json else {
            self.invalid("is not an object");
            return Vec::new();
        };
        let mut entries: Vec<(&str, Node<'a>)> = Vec::with_capacity(fields.len());
        for (key, json) in fields {
            let node = self.child(json);
            if entries.iter().any(|(known, _)| known == key) {
                node.error("is given twice");
            } else {
                entries.push((key, node));
            }
        }
        entries
    }

    /// A string; an error and `None` for anything else.
    #[inline(never)]
    pub fn string(&self) -> Option<&'a str> {
        match self.json {
            Json::String(value) => Some(value),
            _ => {
                self.invalid("is not a string");
                None
            }
        }
    }

    /// `true` or `false`; an error and `None` for anything else.
    #[inline(never)]
    pub fn boolean(&self) -> Option<bool> {
        match self.json {
            Json::Bool(value) => Some(*value),
            _ => {
                self.invalid("is not true or false");
                None
            }
        }
    }

    /// Any finite number; an error and `None` for anything else.
    ///
    /// It may be written as a string, as protobuf's JSON mapping allows: Envoy makes a string of every
    /// number with a fraction when it reads a `Struct` from YAML.
    #[inline(never)]
    pub fn number(&self) -> Option<f64> {
        let written = match self.json {
            Json::String(text) => Json::parse(text.as_bytes()).ok(),
            _ => None,
        };
        let number = match written.as_ref().unwrap_or(self.json) {
            Json::Integer(value) => Some(*value as f64),
            Json::Float(value) => Some(*value),
            _ => None,
        };
        if number.is_none() {
            self.invalid("is not a number");
        }
        number
    }

    /// A whole number, also one that is written with a fraction of zero, as a protobuf `Struct`
    /// may give it; an error and `None` for anything else.
    #[inline(never)]
    pub fn integer(&self) -> Option<i64> {
        match self.json {
            Json::Integer(value) => return Some(*value),
            Json::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                return Some(*value as i64);
            }
            _ => self.invalid("is not an integer"),
        }
        None
    }

    /// A port number, 1 to 65535; an error and `None` for anything else.
    #[inline(never)]
    pub fn port(&self) -> Option<u16> {
        let port = u16::try_from(self.integer()?).ok().filter(|port| *port > 0);
        if port.is_none() {
            self.invalid("is not in 1..=65535");
        }
        port
    }

    /// One of `names`; an error and `None` for anything else.
    pub fn one_of(&self, names: &[&'static str]) -> Option<&'static str> {
        let text = self.string()?;
        let found = names.iter().find(|name| **name == text);
        if found.is_none() {
            self.invalid(format_args!("is not one of {}", names.join(", ")));
        }
        found.copied()
    }

    /// A list of strings. Elements that are something else are errors and left out.
    #[inline(never)]
    pub fn strings(&self) -> Vec<String> {
        self.elements().iter().filter_map(|node| node.string().map(str::to_owned)).collect()
    }
}

/// The fields of an object, to be asked for by name.
pub struct Object<'a> {
    /// The object itself
    pub node: Node<'a>,
    fields: &'a [(String, Json)],
    /// The names that were asked for, some perhaps twice
    known: SmallVec<[&'static str; 16]>,
    /// A bit for each of the first fields that has one of these names
    used: u64,
}

impl<'a> Object<'a> {
    /// The field `name`, given in `camelCase`; `None` when it is absent or `null`.
    #[inline(never)]
    pub fn field(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.known.push(name);
        let mut found: Option<Node<'a>> = None;
        for (place, (key, json)) in self.fields.iter().enumerate() {
            if !is_field(key, name) {
                continue;
            }
            self.used |= bit(place);
            let node = self.node.child(json);
            if found.is_some() {
                node.error("is given twice");
            } else {
                found = Some(node);
            }
        }
        found.filter(|node| *node.json != Json::Null)
    }

    /// The field `name`, unless it is the empty string, which protobuf takes for absent.
    #[inline(never)]
    pub fn given(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.field(name).filter(|node| !matches!(node.json, Json::String(text) if text.is_empty()))
    }

    /// The string field `name`. Empty is the same as absent, as in protobuf.
    #[inline(never)]
    pub fn string(&mut self, name: &'static str) -> Option<&'a str> {
        self.given(name)?.string()
    }

    /// The port field `name`; 0 is the same as absent, as in protobuf, and stands for any port.
    pub fn port(&mut self, name: &'static str) -> Option<u16> {
        self.field(name).filter(|node| node.json != &Json::Integer(0))?.port()
    }

    /// The elements of the list field `name`; none when it is absent.
    #[inline(never)]
    pub fn list(&mut self, name: &'static str) -> Vec<Node<'a>> {
        self.field(name).map_or(Vec::new(), |node| node.elements())
    }

    /// The field `name`; an error when it is absent.
    #[inline(never)]
    pub fn required(&mut self, name: &'static str) -> Option<Node<'a>> {
        let field = self.field(name);
        if field.is_none() {
            self.absent(name, "is required");
        }
        field
    }

    /// The elements of the list field `name`; an error when it is absent or empty.
    #[inline(never)]
    pub fn required_list(&mut self, name: &'static str) -> Vec<Node<'a>> {
        let Some(node) = self.required(name) else { return Vec::new() };
        if node.is_empty_list() {
            node.error("is empty");
        }
        node.elements()
    }

    /// Reports an error about the field `name`, which is absent.
    pub fn absent(&self, name: &'static str, reason: impl fmt::Display) {
        self.node.report.error(self.node.json, Some(name), &reason);
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        for (place, (key, json)) in self.fields.iter().enumerate() {
            if self.used & bit(place) != 0 || self.known.iter().any(|name| is_field(key, name)) {
                continue;
            }
            let node = self.node.child(json);
            let nearest = self
                .known
                .iter()
                .map(|name| (strsim::osa_distance(key, name), *name))
                .min()
                .filter(|(distance, name)| *distance * 2 < name.len());
            match nearest {
                Some((_, name)) => {
                    node.error(format_args!("unknown field, did you mean {name:?}?"));
                }
                None => {
                    let mut names: Vec<&str> = Vec::new();
                    for name in &self.known {
                        if !names.contains(name) {
                            names.push(name);
                        }
                    }
                    let known = names.join(", ");
                    node.error(format_args!("unknown field, known are {known}"));
                }
            }
        }
    }
}

/// The bit of the field at a place; none beyond the 64th.
fn bit(place: usize) -> u64 {
    u32::try_from(place).ok().and_then(|place| 1u64.checked_shl(place)).unwrap_or_default()
}

/// Whether `key` of the document is the field that Istio calls `name` in `camelCase`.
fn is_field(key: &str, name: &str) -> bool {
    // Most fields are others, and most of these start with another letter.
    if key.as_bytes().first() != name.as_bytes().first() {
        return false;
    }
    if bytes::equal(key.as_bytes(), name.as_bytes()) {
        return true;
    }
    let mut key = key.chars();
    for wanted in name.chars() {
        if wanted.is_ascii_uppercase() && key.next() != Some('_') {
            return false;
        }
        let mut next = key.next();
        // `consecutive_5xx_errors` is `consecutive5xxErrors`.
        if wanted.is_ascii_digit() && next == Some('_') {
            next = key.next();
        }
        if next != Some(wanted.to_ascii_lowercase()) {
            return false;
        }
    }
    key.next().is_none()
}

#[cfg(test)]
mod tests;
