//! YAML that folders of manifests contain too, and that is neither Istio's nor Sluice's.

use sluice_policy::document::field_name::is_field;
use sluice_policy::document::fields::Fields as _;
use sluice_policy::document::report;
use sluice_policy::spec::document::Document;

use crate::kinds::{LISTS, is_envoy, kind_of_spec};
use crate::tree::{Tree, Value};

/// What a document is, if it is not configuration of Istio or Sluice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A kustomization, from which objects are built
    Kustomization,
    /// A template, from which objects are rendered
    Template,
    /// Something else, such as the values of a Helm chart or a compose file
    Other,
}

/// Fields that prove that a document is a plugin document.
const LEADING: [&str; 6] = [
    "destinationRules",
    "grpcRoutes",
    "httpRoutes",
    "outboundTrafficPolicy",
    "serviceEntries",
    "virtualServices",
];

/// Fields of a plugin document that other files often have too.
const COMMON: [&str; 5] = ["clusterName", "egress", "namespace", "proxy", "services"];

/// The start of an expression in a template.
pub const BRACES: &str = "{{";

/// The starts of expressions in the templates of Helm.
const EXPRESSIONS: [&str; 10] =
    [".", "$", "/*", "define ", "end", "if ", "include ", "range ", "template ", "with "];

impl Foreign {
    /// What a document is instead of configuration; `None` if it is to be read. In a file that is
    /// named, a field of a plugin document is enough, so that the unknown ones are reported. In a
    /// file that was found in a folder, most fields must be those of a plugin document. Only a file
    /// with `{{` in its text `may_be_template`.
    pub fn of(document: &Tree, is_named: bool, may_be_template: bool) -> Option<Self> {
        let text = |name| document.field(name).and_then(Tree::as_str).unwrap_or_default();
        let resources = document.list("resources");
        if text("apiVersion").starts_with("kustomize.config.k8s.io/")
            || (!resources.is_empty() && resources.iter().all(|own| own.as_str().is_some()))
        {
            return Some(Self::Kustomization);
        }
        let is_object = ["kind", "apiVersion"].iter().any(|name| document.field(name).is_some());
        let is_read = !is_object || LISTS.iter().any(|(kind, _)| text("kind") == *kind);
        if may_be_template && is_read && has_expression(document) {
            return Some(Self::Template);
        }
        let is_read = is_object
            || kind_of_spec(document).is_some()
            || is_envoy(document)
            || is_plugin_document(document, is_named);
        (!is_read).then_some(Self::Other)
    }

    /// What is reported: an error about a file that is named, a note about one that was found in a
    /// folder.
    pub fn report(self, is_named: bool) -> (report::Kind, &'static str) {
        if is_named {
            (report::Kind::Error, self.way_out())
        } else {
            (report::Kind::NotApplicable, self.note())
        }
    }

    fn note(self) -> &'static str {
        match self {
            Self::Template => "is a template, skipped; render it first",
            Self::Kustomization | Self::Other => "is not Istio or Sluice configuration, skipped",
        }
    }

    fn way_out(self) -> &'static str {
        match self {
            Self::Template => {
                "is a template; render it first: helm template CHART | sluice check -"
            }
            Self::Kustomization => {
                "is a kustomization; build it first: kubectl kustomize FOLDER | sluice check -"
            }
            Self::Other => {
                "is not Istio or Sluice configuration; give an object with a kind, the spec of a \
                 VirtualService, HTTPRoute, DestinationRule or ServiceEntry, or a plugin document, whose \
                 fields sluice schema prints"
            }
        }
    }
}

/// Returns whether a document without `kind` is a plugin document.
fn is_plugin_document(document: &Tree, is_named: bool) -> bool {
    let Value::Object(fields) = &document.value else { return is_named };
    let has = |names: &[&str], key: &str| names.iter().any(|name| is_field(key, name));
    if fields.iter().any(|(key, _)| has(&LEADING, &key.text)) {
        return true;
    }
    // The services of a compose file have names.
    let is_compose =
        document.field("services").is_some_and(|own| matches!(own.value, Value::Object(_)));
    let own: Vec<_> =
        fields.iter().map(|(key, _)| &*key.text).filter(|key| is_own_or_similar(key)).collect();
    let is_proof = |key: &&str| !has(&COMMON, key);
    if is_named {
        own.iter().any(is_proof) || (own.len() == fields.len() && !is_compose)
    } else {
        !is_compose && !fields.is_empty() && own.len() * 2 > fields.len()
    }
}

/// Returns whether a key is a field of a plugin document, or a misspelled one.
fn is_own_or_similar(key: &str) -> bool {
    let names = Document::schema().fields.iter().map(|field| field.name);
    let is_similar = |name: &str| name.len() > 5 && strsim::osa_distance(key, name) <= 2;
    names.into_iter().any(|name| is_field(key, name) || is_similar(name))
}

/// Returns whether a string or key has an expression of a template, such as `{{ .Values.host }}`.
fn has_expression(tree: &Tree) -> bool {
    match &tree.value {
        Value::String(text) => is_expression(text),
        Value::Array(elements) => elements.iter().any(has_expression),
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| is_expression(&key.text) || has_expression(value))
        }
        _ => false,
    }
}

fn is_expression(text: &str) -> bool {
    let Some((_, rest)) = text.split_once(BRACES) else { return false };
    let start = rest.trim_start_matches('-').trim_start();
    rest.contains("}}") && EXPRESSIONS.iter().any(|own| start.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn of(text: &str) -> [Option<Foreign>; 2] {
        let document = parse(text).unwrap().remove(0);
        [true, false].map(|is_named| Foreign::of(&document, is_named, true))
    }

    #[test]
    fn configuration_is_read() {
        for text in [
            "virtualServices: []\nunknown: 1\nmore: 2\nothers: 3",
            "virtual_services: []",
            "sampling: {key: []}\nclusterName: x",
            "samplng: {key: []}",
            "hosts: [a]\nhttp: []",
            "host: a\nsubsets: []",
            "hosts: [a]\nresolution: DNS",
            "kind: Deployment\nspec: '{{ .Values.x }}'",
            "static_resources: {}",
            "{apiVersion: v1}",
        ] {
            assert_eq!(of(text), [None, None], "{text}");
        }
    }

    #[test]
    fn other_files_are_recognized() {
        let [kustomization, template, other] =
            [Foreign::Kustomization, Foreign::Template, Foreign::Other].map(Some);
        for (text, expected) in [
            ("services: {web: {image: nginx}}", other),
            ("version: '3'\nservices: {web: {image: nginx}}", other),
            ("namespace: a\nclusterName: b\nimage: c\nreplicas: 1", other),
            ("hosts: [a]", other),
            ("resources: [a.yaml, b.yaml]", kustomization),
            ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization", kustomization),
            ("kind: VirtualService\nspec: {hosts: ['{{ .Values.host }}']}", template),
            ("virtualServices: ['{{- include \"x\" . }}']", template),
        ] {
            assert_eq!(of(text), [expected; 2], "{text}");
        }
        // Of a named file, a field that only a plugin document has is enough.
        assert_eq!(of("faults: {}\nimage: a\nreplicas: 1"), [None, other]);
        assert_eq!(of("7"), [None, other]);
    }
}
