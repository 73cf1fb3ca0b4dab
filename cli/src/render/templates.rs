//! The templates of rendered YAML, which are in `cli/templates`.
//!
//! Every value is escaped as YAML: a string is quoted if necessary, a list is one line in brackets.
//! Templates cannot avoid this, because the environment has no filters except those below.

use minijinja::value::{Serde, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
};
use serde::Serialize;

use super::block::{block, indented, scalar_text};
use super::object::Object;
use crate::tree::Tree;

/// Files of `cli/templates` with their names there, which templates use to include each other.
macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../templates/", $name)))),*]
    };
}

const TEMPLATES: [(&str, &str); 26] = embed![
    "cluster.yaml",
    "envoy.yaml",
    "envoyextensionpolicy.yaml",
    "envoyfilter.yaml",
    "filter.yaml",
    "http-options.yaml",
    "labels.yaml",
    "mirrored-route.yaml",
    "native-filter.yaml",
    "outlier-detection.yaml",
    "patches/early-removal.yaml",
    "patches/http-filter.yaml",
    "patches/mirrored-route.yaml",
    "patches/network-filter.yaml",
    "patches/removed-headers.yaml",
    "patches/removed-mark.yaml",
    "patches/steered-route.yaml",
    "patches/tls-inspector.yaml",
    "patches/virtual-host.yaml",
    "patches/watched-cluster.yaml",
    "steered-route.yaml",
    "tcp-listener.yaml",
    "wasm-extension.yaml",
    "wasm-filter.yaml",
    "wasmplugin.yaml",
    "watched-cluster.yaml",
];

/// Renders a template, with a line break at the end.
///
/// # Errors
/// A template that does not fit its context, for example with an unknown variable.
pub fn render(name: &str, context: &impl Serialize) -> Result<String, Error> {
    let text = environment()?.get_template(name)?.render(Serde(context))?;
    Ok(text + "\n")
}

/// Fields in block style, to be indented by a template; `false` without any.
pub fn fields(fields: Object) -> Value {
    if fields.is_empty() {
        return Value::from(false);
    }
    document(&Tree::from(serde_json::Value::from(fields)))
}

/// A list in block style, to be indented by a template.
pub fn list(elements: Vec<serde_json::Value>) -> Value {
    document(&Tree::from(serde_json::Value::from(elements)))
}

/// A plugin document in block style, to be indented by a template.
pub fn document(tree: &Tree) -> Value {
    Value::from_safe_string(block(tree, 0))
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // With escaping, the captured output of a template is marked as YAML and not escaped again.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("yaml".into()));
    environment.set_formatter(|out: &mut Output, _: &mut State, value: &Value| {
        Ok(out.write_str(&to_yaml(value, scalar_text)?)?)
    });
    environment.add_filter("indent", indent);
    environment.add_filter("quoted", quoted);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

/// A value as YAML on one line. Text that is YAML already is not changed. `scalar` writes strings.
fn to_yaml(value: &Value, scalar: fn(&str) -> String) -> Result<String, Error> {
    match (value.kind(), value.as_str()) {
        (ValueKind::String, Some(text)) if value.is_safe() => Ok(text.to_owned()),
        (ValueKind::String, Some(text)) => Ok(scalar(text)),
        (ValueKind::Number, _) => Ok(value.to_string()),
        // minijinja itself writes True and False.
        (ValueKind::Bool, _) => Ok(value.is_true().to_string()),
        (ValueKind::Seq, _) => {
            let elements = value.try_iter()?.map(|element| to_yaml(&element, scalar));
            Ok(format!("[{}]", elements.collect::<Result<Vec<_>, _>>()?.join(", ")))
        }
        (kind, _) => {
            let reason = format!("a template writes a value of the kind {kind}");
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        }
    }
}

/// Filter: a string in double quotes, even if it does not need them.
fn quoted(value: Value) -> Result<Value, Error> {
    let quote = |text: &str| Tree::text(text).to_json();
    Ok(Value::from_safe_string(to_yaml(&value, quote)?))
}

/// Filter: YAML with all lines indented except the first.
fn indent(value: Value, width: usize) -> Result<Value, Error> {
    match value.as_str().filter(|_| value.is_safe()) {
        Some(text) => Ok(Value::from_safe_string(indented(text, width))),
        None => {
            let reason =
                "`indent` needs YAML, such as a document or the content of a `filter` block";
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::yaml;

    /// The output of a template for `value`.
    fn rendered(template: &str, value: impl Into<Value>) -> Result<String, ErrorKind> {
        let context = Value::from_pairs([("value", value.into())]);
        let text = environment().unwrap().render_named_str("test.yaml", template, context);
        text.map_err(|error| error.kind())
    }

    #[test]
    fn all_files_are_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let names = |folder: &str| {
            let files = std::fs::read_dir(root.join(folder)).unwrap();
            let paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            let files = paths.into_iter().filter(|path| path.is_file());
            let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.map(|path| name(&path)).collect::<Vec<_>>()
        };
        let files: BTreeSet<_> = names("").into_iter().chain(names("patches")).collect();
        let embedded: BTreeSet<_> = TEMPLATES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(embedded, files);
        environment().unwrap();
    }

    #[test]
    fn unknown_names_are_errors() {
        for (template, kind) in [
            ("{{ nobody }}", ErrorKind::UndefinedError),
            ("{{ value.nobody }}", ErrorKind::UndefinedError),
            ("{% if nobody %}{% endif %}", ErrorKind::UndefinedError),
            ("{% if value.nobody %}{% endif %}", ErrorKind::UndefinedError),
            ("{% for own in nobody %}{% endfor %}", ErrorKind::UndefinedError),
            ("{% if value.nobody == 1 %}{% endif %}", ErrorKind::UndefinedError),
            // An inline `if` without `else` gives no value.
            ("{{ 'a' if value.a == 2 }}", ErrorKind::InvalidOperation),
            ("{% include 'nobody.yaml' %}", ErrorKind::TemplateNotFound),
            // Templates cannot switch off the escaping.
            ("{{ 'a' | safe }}", ErrorKind::UnknownFilter),
        ] {
            let found = rendered(template, Value::from_pairs([("a", 1)]));
            assert_eq!(found, Err(kind), "{template}");
        }
    }

    #[test]
    fn values_are_escaped() {
        for text in ["a", "a b", "", "yes", "1", "x: y", "x # y", "\"'\n", "- a", "{{ a }}", "{a}"]
        {
            for template in ["{{ value }}", "{{ value | quoted }}"] {
                let line = rendered(template, text).unwrap();
                let tree = yaml::parse(&line).unwrap().remove(0);
                assert_eq!(tree.as_str(), Some(text), "{template} {line}");
            }
        }
        assert_eq!(rendered("{{ value }}", 8).unwrap(), "8");
        assert_eq!(rendered("{{ value }}", true).unwrap(), "true");
        assert_eq!(rendered("{{ value }}", vec!["a", "b c", "1"]).unwrap(), r#"[a, "b c", "1"]"#);
        assert_eq!(rendered("{{ value | quoted }}", vec!["a"]).unwrap(), r#"["a"]"#);
        for value in [Value::from(()), Value::from_pairs([("a", 1)])] {
            assert_eq!(rendered("{{ value }}", value), Err(ErrorKind::InvalidOperation));
        }
    }

    #[test]
    fn yaml_alone_is_indented() {
        assert_eq!(rendered("{% filter indent(2) %}a\n\nb{% endfilter %}", 0).unwrap(), "a\n\n  b");
        assert_eq!(rendered("{{ value | indent(2) }}", "a"), Err(ErrorKind::InvalidOperation));
    }
}
