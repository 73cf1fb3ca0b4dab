//! Parses YAML 1.2 and JSON.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

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
    /// The line, counted from 1
    pub line: usize,
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
                line: error.line(),
                reason: format!("is neither JSON nor YAML: {error}"),
                is_syntax: true,
            }),
        }
    })
}

/// Rewrites JSON as YAML with the same lines: tabs become spaces; `\uXXXX`, alone or in surrogate
/// pairs, becomes `\UXXXXXXXX`.
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
                let character = decoded.next().and_then(Result::ok).unwrap_or_default();
                yaml.push_str(&format!("\\U{:08x}", u32::from(character)));
                6 * character.len_utf16()
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

/// A list or object whose end has not been read.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Array(Vec<Tree>),
    Object { fields: Vec<(Key, Tree)>, key: Option<Key>, merged: Vec<Tree> },
}

#[derive(Default)]
struct Loader {
    documents: Vec<Tree>,
    open: Vec<Open>,
    anchors: HashMap<usize, Tree>,
    aliased: usize,
}

fn parse_yaml(text: &str) -> Result<Vec<Tree>, SyntaxError> {
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError {
            line: error.marker().line(),
            reason: format!("is not YAML: {}", error.info()),
            is_syntax: true,
        })?;
        let line = span.start.line();
        loader.on_event(event, line).map_err(|reason| SyntaxError {
            line,
            reason,
            is_syntax: false,
        })?;
    }
    loader.documents.retain(|document| document.value != Value::Null);
    Ok(loader.documents)
}

impl Loader {
    fn on_event(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text =
                    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let value = match style {
                    ScalarStyle::Plain if !is_text => read_plain(&text),
                    _ => Value::String(text.clone().into_owned()),
                };
                // A key is its text, even if it looks like a number.
                let is_plain_merge = style == ScalarStyle::Plain && text == "<<";
                self.push(Tree { value, line }, anchor, Some((&text, is_plain_merge)))
            }
            Event::SequenceStart(anchor, _) => self.start(line, anchor, Content::Array(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Object { fields: Vec::new(), key: None, merged: Vec::new() };
                self.start(line, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
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

    fn start(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), String> {
        if matches!(self.open.last(), Some(Open { content: Content::Object { key: None, .. }, .. }))
        {
            return Err("a key must be a string, not a list or an object".to_owned());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(Open { line, anchor, content }) = self.open.pop() else { return Ok(()) };
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
        self.push(Tree { value, line }, anchor, None)
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
                (Some(Key { text, .. }), _) if text == "\0<<" => {
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
                    let text = if is_merge { "\0<<" } else { text };
                    *key = Some(Key { text: text.to_owned(), line: tree.line });
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
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let radix = |prefix, radix| i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    let integer = text.parse::<i64>().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8));
    if let Some(integer) = integer {
        return Value::Integer(integer);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(number) if is_number && number.is_finite() => Value::Float(number),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
