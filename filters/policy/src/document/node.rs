//! Reading a configuration document field by field, with a path for every error.
//!
//! A reader enters an object with the [`Fields`] that it may have. Every other field is reported at
//! once, so nothing is ignored by accident, and an error in one field says nothing about others.
//! `null` means absent, and `snake_case` is read like `camelCase`, both as in Istio.
//!
//! A reader returns its value, or [`Reported`] after an error. To report all errors, it reads every
//! field before it looks at the first result.
//!
//! Nothing here is inlined: it runs only while a configuration is read, and every field of the
//! configuration would have a copy in every module.

mod scalars;

use std::fmt;

use crate::document::field_name::{is_field, unknown};
use crate::document::fields::Fields;
use crate::document::filter::{Filter, Filters};
use crate::document::json::{Field, Json};
use crate::document::report::{Kind, Report, Reported};
use crate::name_set::NameSet;

/// A function that reads a value. It is a pointer and not generic, so that the functions that call
/// it have one copy of their code for each type of values, not for each reader.
pub type Reader<'a, T> = fn(&Node<'a>) -> Result<T, Reported>;

/// Number of entries up to which a comparison with all others costs less than a set of names.
const FEW: usize = 4;

/// A value of the document.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// The value
    pub json: &'a Json<'a>,
    report: &'a Report,
}

impl<'a> Node<'a> {
    /// The root of a document.
    pub fn root(json: &'a Json<'a>, report: &'a Report) -> Self {
        Self { json, report }
    }

    /// The filters that the document is read for.
    pub fn filters(&self) -> Filters {
        self.report.filters()
    }

    /// Counts the bytes of a compiled value once for each `address`. Returns the total.
    pub fn count_memory(&self, address: usize, bytes: usize) -> usize {
        self.report.count_memory(address, bytes)
    }

    /// Reports an error about this value, without showing the value.
    pub fn error(&self, reason: impl fmt::Display) -> Reported {
        self.report.error(self.json, None, &reason)
    }

    /// Reports what filters in a dynamic module cannot do, if the document is read for such.
    #[inline]
    pub fn needs_wasm(&self, reason: &str) -> Result<(), Reported> {
        match self.filters().are_native() {
            true => Err(self.error(reason)),
            false => Ok(()),
        }
    }

    /// Reports what filters that can send no requests cannot do, if the document is read for such.
    #[inline]
    pub fn needs_calls(&self, reason: &str) -> Result<(), Reported> {
        match self.filters().can_call() {
            true => Ok(()),
            false => Err(self.error(reason)),
        }
    }

    /// Reports an error about this value whose text starts with the value.
    pub fn invalid(&self, reason: impl fmt::Display) -> Reported {
        self.error(format_args!("{} {reason}", self.json))
    }

    /// Reports something remarkable about this value, which is no error.
    pub fn notice(&self, kind: Kind, reason: impl fmt::Display) {
        self.report.notice(self.json, kind, &reason, None);
    }

    /// Reports something remarkable about this value that refers to a second place.
    pub fn notice_with(&self, kind: Kind, reason: impl fmt::Display, other: String) {
        self.report.notice(self.json, kind, &reason, Some(other));
    }

    /// Reports something remarkable about this value if the document is read for `filter`.
    pub fn notice_to(&self, filter: Filter, kind: Kind, reason: impl fmt::Display) {
        if self.report.filters().contains(filter) {
            self.notice(kind, reason);
        }
    }

    /// Another value, with the same report.
    pub fn child(&self, json: &'a Json<'a>) -> Self {
        Self { json, report: self.report }
    }

    /// The report of the document.
    pub fn report(&self) -> &'a Report {
        self.report
    }

    /// Enters an object that has the fields of `T`. Reports fields that `T` does not have, and
    /// fields that occur twice.
    ///
    /// To be called once for each object.
    pub fn object<T: Fields>(&self) -> Result<Object<'a>, Reported> {
        self.enter(T::NAMES)
    }

    #[inline(never)]
    fn enter(&self, names: &'static [&'static str]) -> Result<Object<'a>, Reported> {
        let Json::Object(given) = self.json else {
            return Err(self.invalid("is not an object"));
        };
        // One bit for each name; no object has more than 64.
        let (mut seen, mut marks) = (0_u64, 0);
        for (key, json) in given {
            let node = self.child(json);
            match names.iter().enumerate().find(|(_, name)| is_field(key, name)) {
                None => _ = node.error(unknown(key, names)),
                Some((index, _)) if seen >> index & 1 == 1 => _ = node.error("occurs twice"),
                Some((index, name)) => (seen, marks) = (seen | 1 << index, marks | mark(name)),
            }
        }
        Ok(Object { node: *self, names, given, marks })
    }

    /// Whether it is a list without elements.
    pub fn is_empty_list(&self) -> bool {
        matches!(self.json, Json::Array(values) if values.is_empty())
    }

    /// The elements of a list.
    #[inline(never)]
    pub fn elements(&self) -> Result<Vec<Node<'a>>, Reported> {
        Ok(self.list()?.iter().map(|json| self.child(json)).collect())
    }

    #[inline(never)]
    fn list(&self) -> Result<&'a [Json<'a>], Reported> {
        match self.json {
            Json::Array(elements) => Ok(elements),
            _ => Err(self.invalid("is not a list")),
        }
    }

    /// Reads all elements of a list.
    #[inline(never)]
    pub fn each<T>(&self, read: Reader<'a, T>) -> Result<Vec<T>, Reported> {
        all(self.list()?.iter().map(|json| read(&self.child(json))))
    }

    /// As [`Node::each`], for a reader that needs more than the node.
    pub fn each_with<T>(
        &self,
        mut read: impl FnMut(&Node<'a>) -> Result<T, Reported>,
    ) -> Result<Vec<T>, Reported> {
        all(self.list()?.iter().map(|json| read(&self.child(json))))
    }

    /// The entries of an object whose keys the user chooses, such as header names. Values may be
    /// `null`. A key that occurs twice is an error, and its first value counts.
    #[inline(never)]
    pub fn entries(&self) -> Result<Vec<(&'a str, Node<'a>)>, Reported> {
        let Json::Object(fields) = self.json else {
            return Err(self.invalid("is not an object"));
        };
        let mut entries: Vec<(&str, Node<'a>)> = Vec::with_capacity(fields.len());
        let mut seen = NameSet::default();
        for (key, json) in fields {
            let node = self.child(json);
            let is_new = if fields.len() <= FEW {
                entries.iter().all(|(known, _)| known != key)
            } else {
                seen.insert(key.as_bytes())
            };
            if is_new {
                entries.push((key, node));
            } else {
                node.error("occurs twice");
            }
        }
        Ok(entries)
    }

    /// A list of strings.
    #[inline(never)]
    pub fn strings(&self) -> Result<Vec<String>, Reported> {
        self.each(Node::text)
    }
}

/// All values, or that an error was reported for one of them. Unlike `collect`, it does not stop at
/// the first error, so that all of them are reported.
pub fn all<T>(results: impl Iterator<Item = Result<T, Reported>>) -> Result<Vec<T>, Reported> {
    let mut values = Vec::with_capacity(results.size_hint().0);
    let mut failure = None;
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(reported) => failure = Some(reported),
        }
    }
    failure.map_or(Ok(values), Err)
}

/// An object of the document. Its fields are asked for by the names of its [`Fields`].
pub struct Object<'a> {
    /// The object itself
    pub node: Node<'a>,
    names: &'static [&'static str],
    given: &'a [Field<'a>],
    /// The [`mark`]s of the given fields
    marks: u64,
}

/// One of 64 bits. Most fields are absent, and the bit of an absent field is usually not set.
fn mark(name: &str) -> u64 {
    let first = usize::from(name.as_bytes().first().copied().unwrap_or_default());
    1 << ((first + 7 * name.len()) % 64)
}

impl<'a> Object<'a> {
    /// The field `name`; `None` when it is absent or `null`.
    #[inline(never)]
    pub fn field(&self, name: &'static str) -> Option<Node<'a>> {
        debug_assert!(self.names.contains(&name), "{name} is not declared");
        if self.marks & mark(name) == 0 {
            return None;
        }
        let (_, json) = self.given.iter().find(|(key, _)| is_field(key, name))?;
        Some(self.node.child(json)).filter(|node| *node.json != Json::Null)
    }

    /// The field `name`, unless it is the empty string, which protobuf takes for absent.
    #[inline(never)]
    pub fn given(&self, name: &'static str) -> Option<Node<'a>> {
        self.field(name).filter(|node| !matches!(node.json, Json::String(text) if text.is_empty()))
    }

    /// Reads the field `name`; `None` when it is absent.
    #[inline(always)]
    pub fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Node<'a>) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        self.field(name).map(|node| read(&node)).transpose()
    }

    /// The field `name`; an error when it is absent.
    #[inline(never)]
    pub fn required(&self, name: &'static str) -> Result<Node<'a>, Reported> {
        self.field(name).ok_or_else(|| self.absent(name, "is required"))
    }

    /// Reports an error about the field `name`, which is absent.
    pub fn absent(&self, name: &'static str, reason: impl fmt::Display) -> Reported {
        self.node.report.error(self.node.json, Some(name), &reason)
    }

    /// The string field `name`. Empty is the same as absent, as in protobuf.
    #[inline(never)]
    pub fn string(&self, name: &'static str) -> Result<Option<&'a str>, Reported> {
        self.given(name).map(|node| node.string()).transpose()
    }

    /// The flag `name`; `false` when it is absent.
    #[inline(never)]
    pub fn flag(&self, name: &'static str) -> Result<bool, Reported> {
        Ok(self.optional(name, Node::boolean)?.unwrap_or_default())
    }

    /// The port field `name`; 0 is the same as absent, as in protobuf, and stands for any port.
    #[inline(never)]
    pub fn port(&self, name: &'static str) -> Result<Option<u16>, Reported> {
        let field = self.field(name).filter(|node| node.json != &Json::Integer(0));
        field.map(|node| node.port()).transpose()
    }

    #[inline(never)]
    fn values(&self, name: &'static str) -> Result<&'a [Json<'a>], Reported> {
        self.field(name).map_or(Ok(&[]), |node| node.list())
    }

    /// The elements of the list field `name`; none when it is absent.
    #[inline(never)]
    pub fn elements(&self, name: &'static str) -> Result<Vec<Node<'a>>, Reported> {
        self.field(name).map_or(Ok(Vec::new()), |node| node.elements())
    }

    /// Reads all elements of the list field `name`; none when it is absent.
    #[inline(never)]
    pub fn list<T>(&self, name: &'static str, read: Reader<'a, T>) -> Result<Vec<T>, Reported> {
        self.field(name).map_or(Ok(Vec::new()), |node| node.each(read))
    }

    /// As [`Object::list`], for a reader that needs more than the node.
    pub fn list_with<T>(
        &self,
        name: &'static str,
        mut read: impl FnMut(&Node<'a>) -> Result<T, Reported>,
    ) -> Result<Vec<T>, Reported> {
        all(self.values(name)?.iter().map(|json| read(&self.node.child(json))))
    }

    /// The elements of the list field `name`; an error when it is absent or empty.
    #[inline(never)]
    pub fn required_elements(&self, name: &'static str) -> Result<Vec<Node<'a>>, Reported> {
        let node = self.required(name)?;
        if node.is_empty_list() {
            return Err(node.error("must not be empty"));
        }
        node.elements()
    }

    /// The entries of the field `name`, an object whose keys the user chooses; none when it is
    /// absent.
    #[inline(never)]
    pub fn entries(&self, name: &'static str) -> Result<Vec<(&'a str, Node<'a>)>, Reported> {
        self.field(name).map_or(Ok(Vec::new()), |node| node.entries())
    }

    /// Reports an error when the object has both fields.
    #[inline(never)]
    pub fn exclude(&self, first: &'static str, second: &'static str) -> Result<(), Reported> {
        match (self.given(first), self.given(second)) {
            (Some(_), Some(_)) => {
                Err(self.node.error(format_args!("cannot have both {first} and {second}")))
            }
            _ => Ok(()),
        }
    }

    /// The one field of `names` that the object has; an error when it has several.
    #[inline(never)]
    pub fn at_most_one(
        &self,
        names: &[&'static str],
    ) -> Result<Option<(&'static str, Node<'a>)>, Reported> {
        let mut given = names.iter().filter_map(|name| Some((*name, self.field(name)?)));
        let first = given.next();
        match (first, given.next()) {
            (Some((first, _)), Some((second, _))) => {
                Err(self.node.error(format_args!("cannot have both {first} and {second}")))
            }
            _ => Ok(first),
        }
    }

    /// The one field of `names` that the object has; an error when it has none or several.
    #[inline(never)]
    pub fn exactly_one(
        &self,
        names: &[&'static str],
    ) -> Result<(&'static str, Node<'a>), Reported> {
        self.at_most_one(names)?
            .ok_or_else(|| self.node.error(format_args!("must have one of {}", names.join(", "))))
    }
}

#[cfg(test)]
mod tests;
