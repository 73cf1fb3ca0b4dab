//! A plugin document with the files that its parts come from.

use std::collections::HashMap;

use crate::columns::Position;
use crate::finding::{Finding, Place};
use crate::kinds::ROUTES;
use crate::tree::{self, Key, Tree, Value};
use sluice_policy::document::field_name::is_field;
use sluice_policy::document::fields::{Fields as _, Kind};
use sluice_policy::document::report::Finding as PolicyFinding;
use sluice_policy::spec::document::Document;

/// A plugin document, combined from files.
#[derive(Debug)]
pub struct Bundle {
    /// The document
    pub document: Tree,
    /// Where its parts come from, by their paths in it
    origins: HashMap<String, Origin>,
    /// Hosts and ports of Services with HTTP/2
    pub http2_ports: Vec<(String, u16)>,
    /// Objects in the files that change what proxies do with traffic, but not by the filters
    pub others: Vec<OtherObject>,
}

/// An object of a kind that the filters do not use.
#[derive(Clone, Debug)]
pub struct OtherObject {
    /// The file
    pub file: String,
    /// Kind, namespace and name
    pub title: String,
    /// The object
    pub object: Tree,
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
        Self { document, origins, http2_ports: Vec::new(), others: Vec::new() }
    }

    /// Adds a field that comes from `origin`.
    pub fn add(&mut self, key: Key, value: Tree, origin: Origin) {
        self.origins.insert(key.text.clone(), origin);
        self.document.push_field(key, value);
    }

    /// Returns whether the document has the field of `key`, in either spelling.
    pub fn has_field(&self, key: &str) -> bool {
        self.document
            .fields()
            .iter()
            .any(|(known, _)| is_field(&known.text, key) || is_field(key, &known.text))
    }

    /// The namespace of the document.
    pub fn namespace(&self) -> Option<&str> {
        self.document.field("namespace").and_then(Tree::as_str)
    }

    /// Returns whether a VirtualService of the document has HTTP routes, or whether there is a
    /// route of the Gateway API.
    pub fn has_http_routes(&self) -> bool {
        self.has_virtual_service_routes()
            || ROUTES.into_iter().any(|list| !self.document.list(list).is_empty())
    }

    fn has_virtual_service_routes(&self) -> bool {
        self.document.list("virtualServices").iter().any(|service| !service.list("http").is_empty())
    }

    /// Returns whether a VirtualService with HTTP routes comes from a Kubernetes object.
    pub fn has_virtual_service_object(&self) -> bool {
        let is_object = |part: &str, origin: &Origin| {
            part.starts_with("virtualServices[") && !origin.object.is_empty()
        };
        self.has_virtual_service_routes()
            && self.origins.iter().any(|(part, origin)| is_object(part, origin))
    }

    /// Adds the field `name` unless the document has it.
    pub fn complete(&mut self, name: &str, value: Option<Tree>) {
        if let Some(value) = value.filter(|_| self.document.field(name).is_none()) {
            self.document.push_field(Key::new(name), value);
        }
    }

    /// Adds an element that comes from `origin` to the list `list`.
    pub fn append(&mut self, list: &str, element: Tree, origin: Origin) {
        let line = element.line;
        if self.document.field(list).is_none() {
            self.document.push_field(Key::at(list, line), Tree::at(Value::Array(Vec::new()), line));
        }
        let field = self.document.field_mut(list).map(|field| &mut field.value);
        if let Some(Value::Array(elements)) = field {
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
    pub fn locate(&self, finding: &PolicyFinding) -> Finding {
        let found = tree::find(&self.document, &finding.path);
        let value = found.is_exact.then_some(found.tree).filter(|_| !finding.path.is_empty());
        Finding {
            kind: finding.kind,
            place: self.place(&finding.path),
            value: value.map(Tree::to_json),
            reason: finding.reason.clone(),
            other: finding.other.as_ref().map(|other| self.place(other)),
        }
    }

    /// The place in the files of the value at `path`.
    pub fn place(&self, path: &str) -> Place {
        let Position { line, columns } = self.position(path);
        let (origin, rest) = self.origin(path);
        match origin.cloned() {
            Some(Origin { file, object, place }) => {
                Place { file, line, columns, object, path: join(&place, rest) }
            }
            None => {
                let (file, object) = (String::new(), String::new());
                Place { file, line, columns, object, path: path.to_owned() }
            }
        }
    }

    /// The place of the value at `path` as text, with its line if it is known.
    pub fn shown_place(&self, path: &str) -> String {
        let place = self.place(path);
        let line = if place.line > 0 { format!(":{}", place.line) } else { String::new() };
        let value = match place.object.as_str() {
            "" => path.to_owned(),
            object => format!("{object}: {}", place.path),
        };
        format!("{}{line}: {value}", place.file)
    }

    /// The position in its file of the value at `path`. Of a field that does not exist in an object
    /// of this kind, the name is wrong and not the value.
    fn position(&self, path: &str) -> Position {
        let found = tree::find(&self.document, path);
        let key = found.key.filter(|_| found.is_exact && !is_declared(path));
        key.map_or(found.position(), Key::position)
    }

    /// Kind, namespace and name of the object that the value at `path` comes from; empty for plugin
    /// configuration.
    pub fn object(&self, path: &str) -> &str {
        self.origin(path).0.map_or("", |origin| &origin.object)
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
}

/// Returns whether the names in a path are those of declared fields.
fn is_declared(path: &str) -> bool {
    let mut kind = &Kind::Object(Document::schema);
    let mut rest = path;
    while !rest.is_empty() {
        let (segment, tail) = split_segment(rest);
        rest = tail;
        while let Kind::AnyOf(own, _) | Kind::Nullable(own) = kind {
            kind = own;
        }
        kind = match kind {
            Kind::Object(object) => {
                let mut fields = object().fields.iter();
                match fields.find(|field| is_field(segment, field.name)) {
                    Some(field) => &field.kind,
                    None => return false,
                }
            }
            Kind::List(own) | Kind::Map(own) | Kind::RequiredList(own) => own,
            _ => return true,
        };
    }
    true
}

/// The first name or index of a path, and the rest.
fn split_segment(path: &str) -> (&str, &str) {
    let own = path.strip_prefix('.').unwrap_or(path);
    let end = match own.strip_prefix('[') {
        // A key in quotes may contain any characters.
        Some(inner) if inner.starts_with('"') => own.find("\"]").map(|end| end + 2),
        Some(_) => own.find(']').map(|end| end + 1),
        None => own.find(['.', '[']),
    };
    own.split_at_checked(end.unwrap_or(own.len())).unwrap_or((own, ""))
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
