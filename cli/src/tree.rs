//! A YAML or JSON document as a tree, with the place of every value.

use std::fmt::Write as _;

use sluice_policy::document::field_name::is_field;
use sluice_policy::document::json::Json;

use crate::columns::{Columns, Position};

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The value
    pub value: Value,
    /// The line where it starts, counted from 1; 0 if it is not from a file
    pub line: usize,
    /// Its columns in this line
    pub columns: Columns,
}

/// A value of YAML's core schema, which has the types of JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number of 64 bits
    Integer(i64),
    /// Any other number, finite
    Float(f64),
    /// A string
    String(String),
    /// A sequence
    Array(Vec<Tree>),
    /// A mapping in the order of the file, with duplicate keys
    Object(Vec<(Key, Tree)>),
}

impl From<serde_json::Value> for Tree {
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        Self::new(match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Value::Integer(number),
                None => Value::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::String(text),
            Json::Array(elements) => Value::Array(elements.into_iter().map(Self::from).collect()),
            Json::Object(fields) => {
                let fields = fields.into_iter();
                Value::Object(fields.map(|(key, own)| (Key::new(&key), own.into())).collect())
            }
        })
    }
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key
    pub text: String,
    /// Its line, as in [`Tree`]
    pub line: usize,
    /// Its columns in this line
    pub columns: Columns,
}

impl Key {
    /// A key that is not from a file.
    pub fn new(text: &str) -> Self {
        Self::at(text, 0)
    }

    /// A key that stands for a line of a file.
    pub fn at(text: &str, line: usize) -> Self {
        Self { text: text.to_owned(), line, columns: Columns::UNKNOWN }
    }

    /// Its place.
    pub fn position(&self) -> Position {
        Position { line: self.line, columns: self.columns }
    }
}

impl Tree {
    /// A value that is not from a file.
    pub fn new(value: Value) -> Self {
        Self::at(value, 0)
    }

    /// A value that stands for a line of a file.
    pub fn at(value: Value, line: usize) -> Self {
        Self { value, line, columns: Columns::UNKNOWN }
    }

    /// Its place.
    pub fn position(&self) -> Position {
        Position { line: self.line, columns: self.columns }
    }

    /// A string that is not from a file.
    pub fn text(text: &str) -> Self {
        Self::new(Value::String(text.to_owned()))
    }

    /// The fields of a mapping; none for anything else.
    pub fn fields(&self) -> &[(Key, Tree)] {
        match &self.value {
            Value::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The elements of a sequence; none for anything else.
    pub fn elements(&self) -> &[Tree] {
        match &self.value {
            Value::Array(elements) => elements,
            _ => &[],
        }
    }

    /// The index of the first field with the name `name`, which is in `camelCase`.
    fn index_of(&self, name: &str) -> Option<usize> {
        self.fields().iter().position(|(key, _)| is_field(&key.text, name))
    }

    /// The first field with the name `name`, and its key.
    pub fn entry(&self, name: &str) -> Option<&(Key, Tree)> {
        self.fields().get(self.index_of(name)?)
    }

    /// The first field with the name `name`.
    pub fn field(&self, name: &str) -> Option<&Tree> {
        self.entry(name).map(|(_, value)| value)
    }

    /// As [`Tree::field`], to change it.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut Tree> {
        let index = self.index_of(name)?;
        let Value::Object(fields) = &mut self.value else { return None };
        fields.get_mut(index).map(|(_, value)| value)
    }

    /// As [`Tree::field`], without a copy.
    pub fn into_field(self, name: &str) -> Option<Tree> {
        let index = self.index_of(name)?;
        let Value::Object(mut fields) = self.value else { return None };
        Some(fields.swap_remove(index).1)
    }

    /// The elements of the list field `name`; none if there is no such list.
    pub fn list(&self, name: &str) -> &[Tree] {
        self.field(name).map_or(&[], Tree::elements)
    }

    /// Adds a field to a mapping.
    pub fn push_field(&mut self, key: Key, value: Self) {
        if let Value::Object(fields) = &mut self.value {
            fields.push((key, value));
        }
    }

    /// The value as the filters read it. `None` if more than `depth` values are inside each other,
    /// which the filters refuse.
    pub fn to_policy(&self, depth: usize) -> Option<Json<'_>> {
        Some(match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Integer(value) => Json::Integer(*value),
            Value::Float(value) => Json::Float(*value),
            Value::String(value) => Json::String(value.as_str().into()),
            Value::Array(elements) => {
                let depth = depth.checked_sub(1)?;
                let elements = elements.iter().map(|element| element.to_policy(depth));
                Json::Array(elements.collect::<Option<_>>()?)
            }
            Value::Object(fields) => {
                let depth = depth.checked_sub(1)?;
                let fields = fields.iter();
                let fields = fields
                    .map(|(key, value)| Some((key.text.as_str().into(), value.to_policy(depth)?)));
                Json::Object(fields.collect::<Option<_>>()?)
            }
        })
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns whether two values are equal, apart from their lines.
    pub fn is_same(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }

    /// The value as compact JSON.
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        self.write_json(&mut text, None);
        text
    }

    /// The value as the filters show it in errors: without the content of lists and objects.
    pub fn shown(&self) -> String {
        match &self.value {
            Value::Array(values) if !values.is_empty() => "[...]".to_owned(),
            Value::Object(fields) if !fields.is_empty() => "{...}".to_owned(),
            _ => self.to_json(),
        }
    }

    /// The value as JSON, with indented lines.
    pub fn to_pretty_json(&self) -> String {
        let mut text = String::new();
        self.write_json(&mut text, Some(0));
        text
    }

    /// Writes JSON: on one line, or on several that are indented from the depth `indent` on.
    fn write_json(&self, text: &mut String, indent: Option<usize>) {
        match &self.value {
            Value::Null => text.push_str("null"),
            Value::Bool(value) => push(text, value),
            Value::Integer(value) => push(text, value),
            Value::Float(value) => text.push_str(&serde_json::json!(value).to_string()),
            Value::String(value) => push_string(text, value),
            Value::Array(values) => {
                let items = values.iter().map(|value| (None, value));
                write_items(text, indent, ['[', ']'], items);
            }
            Value::Object(fields) => {
                let items = fields.iter().map(|(key, value)| (Some(&*key.text), value));
                write_items(text, indent, ['{', '}'], items);
            }
        }
    }
}

fn write_items<'a>(
    text: &mut String,
    indent: Option<usize>,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = (Option<&'a str>, &'a Tree)>,
) {
    let is_empty = items.len() == 0;
    let inner = indent.map(|indent| indent + 1);
    let break_line = |text: &mut String, indent: Option<usize>| {
        if let Some(indent) = indent.filter(|_| !is_empty) {
            text.push('\n');
            text.extend(std::iter::repeat_n("  ", indent));
        }
    };
    text.push(open);
    for (index, (key, value)) in items.enumerate() {
        if index > 0 {
            text.push(',');
        }
        break_line(text, inner);
        if let Some(key) = key {
            push_string(text, key);
            text.push_str(if indent.is_some() { ": " } else { ":" });
        }
        value.write_json(text, inner);
    }
    break_line(text, indent);
    text.push(close);
}

fn push(text: &mut String, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(text, "{value}");
}

fn push_string(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

/// The value at a JSON path of the policy, such as `virtualServices[0].http[1].match[0]` or
/// `headers["a.b"]`, and its line. If the end of the path does not exist, this is the innermost
/// value that does.
pub fn find<'a>(root: &'a Tree, path: &str) -> Found<'a> {
    let mut found = Found { tree: root, key: None, is_exact: true };
    let mut rest = path;
    while !rest.is_empty() {
        let Some((key, tree, tail)) = step(found.tree, rest) else {
            return Found { is_exact: false, ..found };
        };
        found = Found { tree, key, is_exact: true };
        rest = tail;
    }
    found
}

/// As [`find`], to change the value; `None` if the path does not exist.
pub fn find_mut<'a>(root: &'a mut Tree, path: &str) -> Option<&'a mut Tree> {
    let (mut tree, mut rest) = (root, path);
    while !rest.is_empty() {
        (tree, rest) = match &mut tree.value {
            Value::Array(elements) => {
                let (index, tail) = rest.strip_prefix('[')?.split_once(']')?;
                (elements.get_mut(index.parse::<usize>().ok()?)?, tail)
            }
            Value::Object(fields) => fields
                .iter_mut()
                .rev()
                .find_map(|(key, value)| Some((value, strip_key(rest, &key.text)?)))?,
            _ => return None,
        };
    }
    Some(tree)
}

/// The value at a path.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The value
    pub tree: &'a Tree,
    /// Its key; none for an element of a list
    pub key: Option<&'a Key>,
    /// Whether the whole path exists
    pub is_exact: bool,
}

impl Found<'_> {
    /// The place of the value, or that of its key if the value is a list, an object, or in another
    /// line: an editor shows a field at the line of its key.
    pub fn position(&self) -> Position {
        let is_nested = matches!(self.tree.value, Value::Array(_) | Value::Object(_));
        match self.key {
            Some(key) if is_nested || key.line != self.tree.line => key.position(),
            _ => self.tree.position(),
        }
    }
}

fn step<'a, 'p>(tree: &'a Tree, path: &'p str) -> Option<(Option<&'a Key>, &'a Tree, &'p str)> {
    match &tree.value {
        Value::Array(elements) => {
            let (index, tail) = path.strip_prefix('[')?.split_once(']')?;
            Some((None, elements.get(index.parse::<usize>().ok()?)?, tail))
        }
        Value::Object(fields) => {
            // The last of duplicate keys, which is the one that the filters reject.
            fields
                .iter()
                .rev()
                .find_map(|(key, value)| Some((Some(key), value, strip_key(path, &key.text)?)))
        }
        _ => None,
    }
}

/// The rest of `path` if it starts with the key `key`.
fn strip_key<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    if path.starts_with('[') {
        return path.strip_prefix(&format!("[{key:?}]"));
    }
    let tail = path.strip_prefix('.').unwrap_or(path).strip_prefix(key)?;
    (!key.is_empty() && (tail.is_empty() || tail.starts_with(['.', '[']))).then_some(tail)
}

#[cfg(test)]
mod tests;
