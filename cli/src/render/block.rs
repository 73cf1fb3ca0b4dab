//! Writes YAML in block style, always the same for the same tree.

use crate::tree::{Tree, Value};
use crate::yaml;

/// Writes a tree as lines of YAML that are indented by `indent` spaces, without a final line break.
pub fn block(tree: &Tree, indent: usize) -> String {
    let mut lines = Vec::new();
    write(tree, "", &mut lines);
    let lines: Vec<_> = lines.iter().map(|line| format!("{:indent$}{line}", "")).collect();
    lines.join("\n")
}

/// Indents all lines except the first and empty ones.
pub fn indented(text: &str, indent: usize) -> String {
    let mut lines = text.lines();
    let mut result = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        result.push('\n');
        if !line.is_empty() {
            result.push_str(&format!("{:indent$}{line}", ""));
        }
    }
    result
}

/// Adds the lines of a value. `lead` is the text before it on its first line.
fn write(tree: &Tree, lead: &str, lines: &mut Vec<String>) {
    match &tree.value {
        Value::Array(elements) if !elements.is_empty() => {
            push_lead(lead, lines);
            for element in elements {
                let start = lines.len();
                write(element, "", lines);
                nest(lines, start, "- ");
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            push_lead(lead, lines);
            for (key, value) in fields {
                let lead = format!("{}:", scalar_text(&key.text));
                let start = lines.len();
                write(value, &lead, lines);
                // The fields of a field; lists stand below their key.
                let is_object = matches!(value.value, Value::Object(_));
                if is_object {
                    nest_rest(lines, start);
                }
            }
        }
        _ => {
            let text = match &tree.value {
                Value::String(text) => scalar_text(text),
                _ => tree.to_json(),
            };
            let space = if lead.is_empty() { "" } else { " " };
            lines.push(format!("{lead}{space}{text}"));
        }
    }
}

fn push_lead(lead: &str, lines: &mut Vec<String>) {
    if !lead.is_empty() {
        lines.push(lead.to_owned());
    }
}

/// Puts `mark` before the line `start`, and spaces before the lines after it.
fn nest(lines: &mut [String], start: usize, mark: &str) {
    for (index, line) in lines.iter_mut().enumerate().skip(start) {
        let front = if index == start { mark } else { "  " };
        line.insert_str(0, front);
    }
}

fn nest_rest(lines: &mut [String], start: usize) {
    lines.iter_mut().skip(start + 1).for_each(|line| line.insert_str(0, "  "));
}

/// A string as a scalar: plain if every YAML parser reads it as this string, else quoted.
pub fn scalar_text(text: &str) -> String {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte))
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/');
    // YAML 1.1, which Envoy and Kubernetes read, has more words for true and false.
    let words = ["y", "n", "yes", "no", "on", "off"];
    let is_string = matches!(yaml::read_plain(text), Value::String(_))
        && !words.contains(&&*text.to_ascii_lowercase());
    if is_word && is_string { text.to_owned() } else { Tree::text(text).to_json() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_text_reads_back_as_the_same_tree() {
        let text = "a: 1\nb:\n- c: \"yes\"\n  d: {}\n- - []\n  - \"1\"\n- null\ne:\n  \"f g\": \"x: y\"\n  \
                    h: /p-1.5\n  i:\n  - true\n\"\": 1.5";
        let tree = yaml::parse(text).unwrap().remove(0);
        let written = block(&tree, 0);
        assert_eq!(yaml::parse(&written).unwrap().remove(0).to_json(), tree.to_json());
        assert_eq!(written, text);
        assert_eq!(block(&yaml::parse("{a: {b: 1}}").unwrap().remove(0), 2), "  a:\n    b: 1");
    }

    #[test]
    fn further_lines_are_indented() {
        assert_eq!(indented("a\n\nb", 2), "a\n\n  b");
    }
}
