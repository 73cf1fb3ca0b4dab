//! A plugin document with the files that its parts come from.

use std::collections::HashMap;

use crate::finding::{Finding, Severity};
use crate::tree::{self, Key, Tree, Value};
use sluice_policy::document::field_name::is_field;

/// A plugin document, combined from files.
#[derive(Debug)]
pub struct Bundle {
    /// The document
    pub document: Tree,
    /// Where its parts come from, by their paths in it
    origins: HashMap<String, Origin>,
}

/// Where a part of a plugin document comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file
    pub file: String,
    /// Kind, namespace and name of the Kubernetes object; empty for plugin configuration
    pub object: String,
    /// The path of the part in the file's document
    pub place: String,
}

impl Bundle {
    /// A document whose root comes from `origin`.
    pub fn new(document: Tree, origin: Option<Origin>) -> Self {
        let origins = origin.map(|origin| (String::new(), origin)).into_iter().collect();
        Self { document, origins }
    }

    /// Adds a field that comes from `origin`.
    pub fn add(&mut self, key: Key, value: Tree, origin: Origin) {
        self.origins.insert(key.text.clone(), origin);
        self.push(key, value);
    }

    fn push(&mut self, key: Key, value: Tree) {
        if let Value::Object(fields) = &mut self.document.value {
            fields.push((key, value));
        }
    }

    /// Returns whether the document has the field of `key`, in either spelling.
    pub fn has_field(&self, key: &str) -> bool {
        self.document
            .fields()
            .iter()
            .any(|(known, _)| is_field(&known.text, key) || is_field(key, &known.text))
    }

    /// Adds the field `name` unless the document has it.
    pub fn complete(&mut self, name: &str, value: Option<Tree>) {
        if let Some(value) = value.filter(|_| self.document.field(name).is_none()) {
            self.push(Key { text: name.to_owned(), line: 0 }, value);
        }
    }

    /// Adds an element that comes from `origin` to the list `list`.
    pub fn append(&mut self, list: &str, element: Tree, origin: Origin) {
        let line = element.line;
        if self.document.field(list).is_none() {
            let key = Key { text: list.to_owned(), line };
            self.push(key, Tree { value: Value::Array(Vec::new()), line });
        }
        let Value::Object(fields) = &mut self.document.value else { return };
        let field = fields.iter_mut().find(|(key, _)| is_field(&key.text, list));
        if let Some((_, Tree { value: Value::Array(elements), .. })) = field {
            self.origins.insert(format!("{list}[{}]", elements.len()), origin);
            elements.push(element);
        }
    }

    /// Returns whether all parts come from Kubernetes objects, none from plugin configuration.
    pub fn is_of_objects(&self) -> bool {
        let mut parts = self.origins.iter().filter(|(part, _)| !part.is_empty());
        self.origins.len() > 1 && parts.all(|(_, origin)| !origin.object.is_empty())
    }

    /// A finding of the policy at its place in the files.
    pub fn locate(&self, severity: Severity, path: &str, reason: &str) -> Finding {
        let found = tree::find(&self.document, path);
        let value = found.is_exact.then_some(found.tree).filter(|_| !path.is_empty());
        let (origin, rest) = self.origin(path);
        let (file, object) =
            origin.map_or((String::new(), String::new()), |o| (o.file.clone(), o.object.clone()));
        Finding {
            severity,
            line: found.line,
            path: origin.map_or_else(|| path.to_owned(), |origin| join(&origin.place, rest)),
            value: value.map(Tree::to_json),
            reason: self.translate(&object, reason),
            file,
            object,
        }
    }

    /// The origin of the value at `path`: that of the list element if it has one, else that of the
    /// field, else that of the document. With the rest of the path.
    fn origin<'p>(&self, path: &'p str) -> (Option<&Origin>, &'p str) {
        let element = path.find(']').and_then(|end| path.get(..=end));
        let parts = [element, path.split(['.', '[']).next(), Some("")];
        parts
            .into_iter()
            .flatten()
            .find_map(|part| {
                let origin = self.origins.get(part)?;
                Some((Some(origin), path.get(part.len()..).unwrap_or_default()))
            })
            .unwrap_or((None, path))
    }

    /// Replaces paths in a reason, such as `virtualServices[3].http[0]`, by the objects that they
    /// lead to. `own` is the object that the reason is about, which is not repeated.
    fn translate(&self, own: &str, reason: &str) -> String {
        let mut text = String::new();
        let mut rest = reason;
        while let Some(start) = rest.find("virtualServices[") {
            let (before, path) = rest.split_at(start);
            let end = path.find(']').map_or(path.len(), |end| end + 1);
            let (part, tail) = path.split_at(end);
            text.push_str(before);
            match self.origins.get(part).filter(|origin| !origin.object.is_empty()) {
                Some(origin) if origin.object == own => text.push_str(&origin.place),
                Some(origin) => text.push_str(&format!("{}: {}", origin.object, origin.place)),
                None => text.push_str(part),
            }
            rest = tail;
        }
        text + rest
    }
}

fn join(place: &str, rest: &str) -> String {
    match rest.strip_prefix('.') {
        Some(rest) if place.is_empty() => rest.to_owned(),
        _ if place.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']) => {
            format!("{place}{rest}")
        }
        _ => format!("{place}.{rest}"),
    }
}
