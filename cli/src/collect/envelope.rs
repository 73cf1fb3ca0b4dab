//! Checks of what is around the `spec` of an object.

use super::Collector;
use super::subject::Subject;
use crate::tree::{self, Tree, Value};

impl Collector {
    /// Reports what is wrong with an object outside of its `spec`.
    pub(super) fn check_envelope(&mut self, subject: Subject<'_>, document: &Tree, name: &str) {
        let mut seen: Vec<&str> = Vec::new();
        for (key, _) in document.fields() {
            if seen.contains(&&*key.text) {
                self.error(subject, key.position(), &key.text, "occurs twice");
            }
            seen.push(&key.text);
            if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&&*key.text) {
                let reason =
                    "unknown field, the fields here are apiVersion, kind, metadata, spec, status";
                self.error(subject, key.position(), &key.text, reason);
            }
        }
        let metadata = document.field("metadata");
        if let Some(metadata) = metadata.filter(|own| !matches!(own.value, Value::Object(_))) {
            self.value_error(subject, "metadata", metadata, "is not an object");
            return;
        }
        let is_text = |own: &&Tree| own.as_str().is_some();
        let field = |field| metadata.and_then(|metadata| metadata.field(field));
        if let Some(namespace) = field("namespace") {
            match namespace.as_str() {
                None => {
                    self.value_error(subject, "metadata.namespace", namespace, "is not a string");
                }
                Some(text) if !text.is_empty() && (text.len() > 63 || !is_name_part(text)) => {
                    let reason = "is not a namespace: lower-case letters, digits and -";
                    self.value_error(subject, "metadata.namespace", namespace, reason);
                }
                Some(_) => {}
            }
        }
        if let Some(name) = field("name").filter(|own| !is_text(own)) {
            self.value_error(subject, "metadata.name", name, "is not a string");
        } else if name.is_empty() {
            let at = tree::find(document, "metadata").position();
            self.error(subject, at, "metadata.name", "is required");
        } else if name.len() > 253 || !name.split('.').all(is_name_part) {
            let own = tree::find(document, "metadata.name").tree;
            let reason = "is not a name: lower-case letters, digits, - and .";
            self.value_error(subject, "metadata.name", own, reason);
        }
    }
}

/// Returns whether Kubernetes accepts a text as a part of a name between dots, of any length.
fn is_name_part(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.chars().all(|c| is_plain(c) || c == '-')
        && text.starts_with(is_plain)
        && text.ends_with(is_plain)
}
