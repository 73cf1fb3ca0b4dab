//! Parses YAML 1.2 and JSON.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::columns::{Columns, Position};
use crate::tree::{Key, Tree, Value};

/// The maximum depth of nested values. It is that of `serde_json`, with which the filters read.
pub const MAX_DEPTH: usize = 127;

/// The maximum size of all values with anchors and aliases, in bytes, so that a short file cannot
/// fill the memory. Sizes are estimates.
const MAX_ALIASED: usize = 64 << 20;

/// The estimated size of a value without its text, in bytes.
const VALUE_SIZE: usize = 64;

/// The error for which a text cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The place
    pub at: Position,
    /// The reason
    pub reason: String,
    /// Whether the text is not YAML; otherwise it is YAML with values that JSON does not have
    is_syntax: bool,
}

/// Parses the documents of a YAML stream, without empty ones. JSON is YAML.
///
/// # Errors
/// The first error of the text.
pub fn parse(text: &str) -> Result<Vec<Tree>, SyntaxError> {
    let starts_as_json = text.trim_start().starts_with(['{', '[']);
    parse_yaml(text).or_else(|error| {
        if !starts_as_json || !error.is_syntax {
            return Err(error);
        }
        // Unlike YAML, JSON may be indented with tabs, and escapes some characters by two `\u`.
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => parse_yaml(&to_yaml(text)),
            Err(error) => Err(SyntaxError {
                at: at(error.line(), error.column().saturating_sub(1)),
                reason: format!("is neither JSON nor YAML: {error}"),
                is_syntax: true,
            }),
        }
    })
}

/// Rewrites JSON as YAML with the same lines: tabs become spaces; two `\uXXXX` that are a surrogate
/// pair become `\UXXXXXXXX`.
fn to_yaml(json: &str) -> String {
    let mut yaml = String::with_capacity(json.len());
    let mut rest = json;
    let mut in_string = false;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '\\' if rest.starts_with("\\u") => {
                let number = |text: Option<&str>| u16::from_str_radix(text?, 16).ok();
                let units = [number(rest.get(2..6)), number(rest.get(8..12))];
                let mut decoded = char::decode_utf16(units.into_iter().flatten());
                match decoded.next().and_then(Result::ok) {
                    Some(character) if character.len_utf16() == 2 => {
                        yaml.push_str(&format!("\\U{:08x}", u32::from(character)));
                        12
                    }
                    _ => {
                        yaml.push_str(rest.get(..6).unwrap_or_default());
                        6
                    }
                }
            }
            '\\' => {
                yaml.push_str(rest.get(..2).unwrap_or_default());
                2
            }
            '\t' if !in_string => {
                yaml.push(' ');
                1
            }
            _ => {
                in_string ^= character == '"';
                yaml.push(character);
                character.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    yaml
}

/// The text of the key `<<`. No other key has a NUL byte.
const MERGE: &str = "\0<<";

/// A list or object whose end has not been read.
struct Open {
    start: Marker,
    anchor: usize,
    content: Content,
}

enum Content {
    Array(Vec<Tree>),
    Object { fields: Vec<(Key, Tree)>, key: Option<Key>, merged: Vec<Tree> },
}

struct Loader<'t> {
    text: Cursor<'t>,
    documents: Vec<Tree>,
    open: Vec<Open>,
    anchors: HashMap<usize, Tree>,
    aliased: usize,
}

/// The place of one character in a line from 1 and a column from 0.
fn at(line: usize, column: usize) -> Position {
    Position { line, columns: Columns::new((line, column), (line, column + 1)) }
}

fn parse_yaml(text: &str) -> Result<Vec<Tree>, SyntaxError> {
    let mut loader = Loader::new(text);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError {
            at: at(error.marker().line(), error.marker().col()),
            reason: format!("is not YAML: {}", error.info()),
            is_syntax: true,
        })?;
        loader.on_event(event, span).map_err(|reason| SyntaxError {
            at: at(span.start.line(), span.start.col()),
            reason,
            is_syntax: false,
        })?;
    }
    loader.documents.retain(|document| document.value != Value::Null);
    Ok(loader.documents)
}

/// A place in a text that only moves forward, by characters.
struct Cursor<'t> {
    rest: &'t str,
    index: usize,
}

impl<'t> Cursor<'t> {
    /// The text from the character `index` on; `None` if that is behind.
    fn from(&mut self, index: usize) -> Option<&'t str> {
        let (byte, _) = self.rest.char_indices().nth(index.checked_sub(self.index)?)?;
        (self.rest, self.index) = (self.rest.get(byte..)?, index);
        Some(self.rest)
    }
}

/// The length of the quoted scalar at the start of a text, in characters. `None` if it goes on in
/// the next line.
fn quoted_length(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut is_escaped = false;
    for (index, character) in text.chars().enumerate().skip(1) {
        match character {
            '\n' | '\r' => return None,
            _ if is_escaped => is_escaped = false,
            '\\' if quote == '"' => is_escaped = true,
            // A single quote is written as two.
            '\'' if quote == '\'' && text.chars().nth(index + 1) == Some('\'') => is_escaped = true,
            _ if character == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}

fn columns_between(start: Marker, end: Marker) -> Columns {
    Columns::new((start.line(), start.col()), (end.line(), end.col()))
}

impl<'t> Loader<'t> {
    fn new(text: &'t str) -> Self {
        let text = Cursor { rest: text, index: 0 };
        let (documents, open, anchors) = (Vec::new(), Vec::new(), HashMap::new());
        Self { text, documents, open, anchors, aliased: 0 }
    }

    /// The columns of a scalar. The parser takes what follows a quoted one for a part of it.
    fn columns_of(&mut self, style: ScalarStyle, Span { start, end }: Span) -> Columns {
        if !matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) {
            return columns_between(start, end);
        }
        let length = self.text.from(start.index()).and_then(quoted_length).unwrap_or_default();
        Columns::new((start.line(), start.col()), (start.line(), start.col() + length))
    }

    fn on_event(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let columns = self.columns_of(style, span);
                // A key is its text, even if it looks like a number.
                if anchor == 0 && self.is_at_key() {
                    let is_merge = style == ScalarStyle::Plain && text == "<<";
                    self.set_key(text.as_ref().to_owned(), is_merge, line, columns);
                    return Ok(());
                }
                let is_text =
                    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let key = self.is_at_key().then(|| text.clone());
                let is_plain_merge = style == ScalarStyle::Plain && text == "<<";
                let value = match style {
                    ScalarStyle::Plain if !is_text => read_plain(&text),
                    _ => Value::String(text.as_ref().to_owned()),
                };
                let key = key.as_deref().map(|text| (text, is_plain_merge));
                self.push(Tree { value, line, columns }, anchor, key)
            }
            Event::SequenceStart(anchor, _) => {
                self.start(span.start, anchor, Content::Array(Vec::new()))
            }
            Event::MappingStart(anchor, _) => {
                let content = Content::Object { fields: Vec::new(), key: None, merged: Vec::new() };
                self.start(span.start, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span.end),
            Event::Alias(anchor) => {
                let Some(tree) = self.anchors.get(&anchor).cloned() else {
                    return Err("an alias must not be inside the value of its anchor".to_owned());
                };
                self.add_size(&tree)?;
                let text = tree.as_str().map(str::to_owned);
                self.push(tree, 0, text.as_deref().map(|text| (text, false)))
            }
            // Anchors end with their document.
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds the size of a copy of a value at the current place to the total.
    fn add_size(&mut self, tree: &Tree) -> Result<(), String> {
        let (depth, size) = measure(tree);
        self.aliased += size;
        if self.open.len() + depth > MAX_DEPTH {
            return Err(too_deep());
        }
        if self.aliased > MAX_ALIASED {
            return Err(format!(
                "has anchors and aliases of more than {MAX_ALIASED} bytes in total"
            ));
        }
        Ok(())
    }

    fn start(&mut self, start: Marker, anchor: usize, content: Content) -> Result<(), String> {
        if self.is_at_key() {
            return Err("a key must be a string, not a list or an object".to_owned());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.open.push(Open { start, anchor, content });
        Ok(())
    }

    fn end(&mut self, end: Marker) -> Result<(), String> {
        let Some(Open { start, anchor, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::Array(values) => Value::Array(values),
            Content::Object { mut fields, merged, .. } => {
                for (key, value) in merged.iter().flat_map(|tree| tree.fields()) {
                    if !fields.iter().any(|(known, _)| known.text == key.text) {
                        fields.push((key.clone(), value.clone()));
                    }
                }
                Value::Object(fields)
            }
        };
        let columns = columns_between(start, end);
        self.push(Tree { value, line: start.line(), columns }, anchor, None)
    }

    /// Returns whether the next value is the key of a field.
    fn is_at_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Object { key: None, .. }, .. }))
    }

    /// Sets the key of the next field.
    fn set_key(&mut self, text: String, is_merge: bool, line: usize, columns: Columns) {
        if let Some(Open { content: Content::Object { key, .. }, .. }) = self.open.last_mut() {
            let text = if is_merge { MERGE.to_owned() } else { text };
            *key = Some(Key { text, line, columns });
        }
    }

    /// Adds a complete value. `text` is its text as a key, and whether this is the merge key `<<`.
    fn push(
        &mut self,
        tree: Tree,
        anchor: usize,
        text: Option<(&str, bool)>,
    ) -> Result<(), String> {
        if anchor > 0 {
            self.add_size(&tree)?;
            self.anchors.insert(anchor, tree.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(tree),
            Some(Content::Array(values)) => values.push(tree),
            Some(Content::Object { fields, key, merged }) => match (key.take(), text) {
                (Some(Key { text, .. }), _) if text == MERGE => {
                    let more = match tree.value {
                        Value::Array(values) => values,
                        _ => vec![tree],
                    };
                    if more.iter().any(|tree| !matches!(tree.value, Value::Object(_))) {
                        return Err(
                            "the value of << must be an object or a list of objects".to_owned()
                        );
                    }
                    merged.extend(more);
                }
                (Some(known), _) => fields.push((known, tree)),
                (None, Some((text, is_merge))) => {
                    let Tree { line, columns, .. } = tree;
                    self.set_key(text.to_owned(), is_merge, line, columns);
                }
                (None, None) => {
                    return Err("a key must be a string, not a list or an object".to_owned());
                }
            },
        }
        Ok(())
    }
}

fn too_deep() -> String {
    format!("is nested more than {MAX_DEPTH} levels deep")
}

/// The depth of a value and its estimated size.
fn measure(tree: &Tree) -> (usize, usize) {
    let own = tree.as_str().map_or(0, str::len);
    let keys = tree.fields().iter().map(|(key, _)| VALUE_SIZE + key.text.len()).sum::<usize>();
    let fields = tree.fields().iter().map(|(_, value)| value);
    let parts = fields.chain(tree.elements()).map(measure);
    let (depth, size) =
        parts.fold((0, 0), |(depth, size), part| (depth.max(part.0), size + part.1));
    let is_nested = matches!(tree.value, Value::Object(_) | Value::Array(_));
    (depth + usize::from(is_nested), VALUE_SIZE + own + keys + size)
}

/// Reads a plain scalar by YAML's core schema (YAML 1.2.2, section 10.3.2). Numbers that JSON
/// does not have are strings.
pub fn read_plain(text: &str) -> Value {
    // A copy takes less memory than the text of the parser, which has room for more.
    read_scalar(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Reads a plain scalar that is no string.
fn read_scalar(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    // Most scalars are no numbers, which the first character shows.
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let radix = |prefix, radix| i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    let integer = text.parse::<i64>().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8));
    if let Some(integer) = integer {
        return Some(Value::Integer(integer));
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(number) if is_number && number.is_finite() => Some(Value::Float(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
