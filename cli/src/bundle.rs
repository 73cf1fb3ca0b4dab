//! A plugin document that knows which files its parts come from.

use crate::finding::{Finding, Severity};
use crate::tree::{self, Key, Tree, Value};

/// A plugin document, put together from files.
#[derive(Debug)]
pub struct Bundle {
    /// The document
    pub document: Tree,
    /// Where its parts come from, the more special after the more general
    pub origins: Vec<Origin>,
}

/// Where a part of a plugin document comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The path of the part in the plugin document
    pub part: String,
    /// The file
    pub file: String,
    /// What the Kubernetes object is called; empty for others
    pub object: String,
    /// The path of the part in the file's document
    pub place: String,
}

impl Bundle {
    /// Adds a field.
    pub fn push(&mut self, key: Key, value: Tree) {
        if let Value::Object(fields) = &mut self.document.value {
            fields.push((key, value));
        }
    }

    /// Gives the document the field `name` if it has none.
    pub fn complete(&mut self, name: &str, value: Option<Tree>) {
        if let Some(value) = value.filter(|_| self.document.field(name).is_none()) {
            self.push(Key { text: name.to_owned(), line: 0 }, value);
        }
    }

    /// Adds an element to the list `list`, from `origin` whose part is that place.
    pub fn append(&mut self, list: &str, element: Tree, mut origin: Origin) {
        let line = element.line;
        if self.document.field(list).is_none() {
            let key = Key { text: list.to_owned(), line };
            self.push(key, Tree { value: Value::Array(Vec::new()), line });
        }
        let Value::Object(fields) = &mut self.document.value else { return };
        let field = fields.iter_mut().find(|(key, _)| key.text == list);
        if let Some((_, Tree { value: Value::Array(elements), .. })) = field {
            origin.part = format!("{list}[{}]", elements.len());
            elements.push(element);
            self.origins.push(origin);
        }
    }

    /// Whether it is of Kubernetes objects, which are not to know of the filters, and has no settings.
    pub fn is_of_objects(&self) -> bool {
        self.origins.iter().all(|origin| !origin.object.is_empty() || origin.part.is_empty())
            && self.origins.len() > 1
    }

    /// A finding of the policy, told in terms of the files.
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

    /// The most special origin of what stands at `path`, and the rest of the path.
    fn origin<'p>(&self, path: &'p str) -> (Option<&Origin>, &'p str) {
        let list_end = path.find(']').map_or(0, |end| end + 1);
        let parts = [path.get(..list_end), path.split(['.', '[']).next(), Some("")];
        parts
            .into_iter()
            .flatten()
            .find_map(|part| {
                let origin = self.origins.iter().find(|origin| origin.part == part)?;
                Some((Some(origin), path.get(part.len()..).unwrap_or_default()))
            })
            .unwrap_or((None, path))
    }

    /// `virtualServices[3].http[0]` in a reason, as the object that it is. `own` is the object that the
    /// reason is about.
    fn translate(&self, own: &str, reason: &str) -> String {
        let mut text = String::new();
        let mut rest = reason;
        while let Some(start) = rest.find("virtualServices[") {
            let (before, path) = rest.split_at(start);
            let end = path.find(']').map_or(path.len(), |end| end + 1);
            let (part, tail) = path.split_at(end);
            text.push_str(before);
            match self
                .origins
                .iter()
                .find(|origin| origin.part == part && !origin.object.is_empty())
            {
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
