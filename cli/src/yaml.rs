//! YAML 1.2 and JSON text as trees.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::tree::{Key, Tree, Value};

/// How deep values may be nested, as in `serde_json`, with which the filters read.
const MAX_DEPTH: usize = 127;

/// How many values aliases may add up to, so that a short file cannot fill the memory.
const MAX_ALIASED: usize = 1_000_000;

/// Why a text is neither YAML nor JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, from 1 on
    pub line: usize,
    /// The reason
    pub reason: String,
}

/// The documents of a YAML stream, empty ones left out. JSON is YAML.
///
/// # Errors
/// The first error of the text.
pub fn parse(text: &str) -> Result<Vec<Tree>, SyntaxError> {
    let starts_as_json = text.trim_start().starts_with(['{', '[']);
    parse_yaml(text).or_else(|error| {
        if !starts_as_json {
            return Err(error);
        }
        // JSON may be indented with tabs and has escapes that this YAML parser does not know.
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => Ok(vec![from_json(value)]),
            Err(error) => Err(SyntaxError {
                line: error.line(),
                reason: format!("is neither JSON nor YAML: {error}"),
            }),
        }
    })
}

fn from_json(value: serde_json::Value) -> Tree {
    use serde_json::Value as Json;
    Tree::new(match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(text),
        Json::Array(values) => Value::Array(values.into_iter().map(from_json).collect()),
        Json::Object(fields) => {
            let field = |(text, value)| (Key { text, line: 0 }, from_json(value));
            Value::Object(fields.into_iter().map(field).collect())
        }
    })
}

/// A value that is not complete yet.
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
        })?;
        let line = span.start.line();
        loader.on_event(event, line).map_err(|reason| SyntaxError { line, reason })?;
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
                // A key is its text, whatever it would be as a value.
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
                    return Err("is an alias of what is not complete".to_owned());
                };
                self.aliased += count(&tree);
                if self.aliased > MAX_ALIASED {
                    return Err(format!("has aliases of more than {MAX_ALIASED} values"));
                }
                let text = tree.as_str().map(str::to_owned);
                self.push(tree, 0, text.as_deref().map(|text| (text, false)))
            }
            // Anchors are those of their document.
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), String> {
        if matches!(self.open.last(), Some(Open { content: Content::Object { key: None, .. }, .. }))
        {
            return Err("is a key that is not a string".to_owned());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("is nested more than {MAX_DEPTH} levels deep"));
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

    /// Takes a complete value. `text` is what it is as a key and whether that is YAML's merge.
    fn push(
        &mut self,
        tree: Tree,
        anchor: usize,
        text: Option<(&str, bool)>,
    ) -> Result<(), String> {
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(tree),
            Some(Content::Array(values)) => values.push(tree),
            Some(Content::Object { fields, key, merged }) => match (key.take(), text) {
                (Some(Key { text, .. }), _) if text == "\0<<" => match tree.value {
                    Value::Array(values) => merged.extend(values),
                    _ => merged.push(tree),
                },
                (Some(known), _) => fields.push((known, tree)),
                (None, Some((text, is_merge))) => {
                    let text = if is_merge { "\0<<" } else { text };
                    *key = Some(Key { text: text.to_owned(), line: tree.line });
                }
                (None, None) => return Err("is a key that is not a string".to_owned()),
            },
        }
        Ok(())
    }
}

fn count(tree: &Tree) -> usize {
    let fields = tree.fields().iter().map(|(_, value)| value);
    1 + fields.chain(tree.elements()).map(count).sum::<usize>()
}

/// A plain scalar by YAML's core schema (YAML 1.2.2, section 10.3.2). Numbers that JSON does not have
/// stay text.
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
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let documents = parse(text).unwrap();
        documents.iter().map(Tree::to_json).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        let text = "[~, null, true, False, 7, -7, 0x1F, 0o17, 1.5, 1e3, 7s, yes, '7', !!str 7, .inf, 1e999,\
            9223372036854775808]";
        assert_eq!(
            json(text),
            r#"[null,null,true,false,7,-7,31,15,1.5,1000.0,"7s","yes","7","7",".inf","1e999",9.223372036854776e+18]"#
        );
    }

    #[test]
    fn documents_anchors_and_merges() {
        assert_eq!(
            json("---\na: &x {b: 1}\nc: *x\n---\n# nothing\n---\n- 1\n"),
            r#"{"a":{"b":1},"c":{"b":1}} [1]"#
        );
        assert_eq!(
            json("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  a: 3\n"),
            r#"{"x":{"a":1,"b":2},"y":{"a":3,"b":2}}"#
        );
        assert_eq!(json("a: 1\na: 2\n80: x\n"), r#"{"a":1,"a":2,"80":"x"}"#);
    }

    #[test]
    fn json_is_read_where_yaml_is_not() {
        assert_eq!(json("{\n\t\"a\": [\n\t\t1\n\t]\n}"), r#"{"a":[1]}"#);
        assert_eq!(json(r#"{"a": "\ud83d\ude00\/"}"#), "{\"a\":\"\u{1f600}/\"}");
        let error = parse("{\"a\": 1,\n \"b\" }}").unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn what_is_not_yaml_has_a_line() {
        for (text, line) in
            [("a: 1\nb: [1\n", 3), ("a:\n\tb: 1\n", 2), ("a: *nobody\n", 1), ("? {a: 1}\n: 2\n", 1)]
        {
            let found = parse(text);
            assert_eq!(
                found.as_ref().map_err(|error| error.line),
                Err(line),
                "{text:?}: {found:?}"
            );
        }
        let deep = "[".repeat(200);
        assert!(parse(&deep).is_err());
        let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (one, next) in "abcdefg".chars().zip("bcdefgh".chars()) {
            laughs.push_str(&format!(
                "{next}: &{next} [{}]\n",
                vec![format!("*{one}"); 10].join(",")
            ));
        }
        assert!(parse(&laughs).unwrap_err().reason.contains("aliases"));
    }
}
