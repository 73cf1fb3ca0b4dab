//! What the policy has to know about the proxy that it runs in: conditions on it are decided once,
//! when the configuration is read.

use crate::document::node::Node;
use crate::value::host_name;

/// The gateway name that stands for all sidecars.
pub const MESH: &str = "mesh";

/// What Envoy knows about itself.
pub trait NodeMetadata {
    /// The namespace of the proxy's workload (`NAMESPACE` of the node metadata).
    fn namespace(&self) -> Option<String>;

    /// The value of a label of the proxy's workload (`LABELS` of the node metadata).
    fn label(&self, name: &str) -> Option<String>;
}

/// A proxy without metadata, as a plain Envoy is.
pub struct NoMetadata;

impl NodeMetadata for NoMetadata {
    fn namespace(&self) -> Option<String> {
        None
    }

    fn label(&self, _: &str) -> Option<String> {
        None
    }
}

/// The proxy, from Envoy's node metadata and the `proxy` object of the document, which wins.
pub struct Proxy<'a> {
    metadata: &'a dyn NodeMetadata,
    namespace: Option<String>,
    labels: Option<Vec<(String, String)>>,
    gateways: Option<Vec<String>>,
}

impl<'a> Proxy<'a> {
    /// Reads `proxy: { namespace, labels, gateways }`; all are optional.
    pub fn read(node: Option<&Node<'_>>, metadata: &'a dyn NodeMetadata) -> Self {
        let mut proxy = Self { metadata, namespace: None, labels: None, gateways: None };
        let Some(mut object) = node.and_then(Node::object) else {
            return proxy;
        };
        proxy.namespace = object.string("namespace").map(str::to_owned);
        proxy.labels = object.field("labels").map(|node| read_labels(&node));
        proxy.gateways = object.field("gateways").map(|node| read_gateways(&node, None));
        proxy
    }

    /// Whether the proxy's workload is in `namespace`; never without one.
    pub fn is_in_namespace(&self, namespace: &str) -> bool {
        let own = self.namespace.clone().or_else(|| self.metadata.namespace());
        own.as_deref() == Some(namespace)
    }

    /// Whether the proxy's workload has all of `labels`.
    pub fn has_labels(&self, labels: &[(String, String)]) -> bool {
        labels.iter().all(|(name, value)| match &self.labels {
            Some(own) => own.iter().any(|(n, v)| n == name && v == value),
            None => self.metadata.label(name).as_ref() == Some(value),
        })
    }

    /// Whether the proxy serves one of `gateways`; `None` when the document does not say which it
    /// serves.
    pub fn serves(&self, gateways: &[String]) -> Option<bool> {
        let own = self.gateways.as_ref()?;
        Some(gateways.iter().any(|gateway| own.contains(gateway)))
    }
}

/// Reads names of gateways. A name without a namespace is one of `namespace`, if there is one.
pub fn read_gateways(node: &Node<'_>, namespace: Option<&str>) -> Vec<String> {
    let mut gateways = Vec::new();
    for node in node.elements() {
        let Some(name) = node.string() else { continue };
        let parts: Vec<&str> = name.split('/').collect();
        let valid = match parts.as_slice() {
            [name] => host_name::check(name).is_ok() && !name.starts_with('*'),
            [namespace, name] => host_name::is_label(namespace) && host_name::is_label(name),
            _ => false,
        };
        if !valid {
            node.invalid("is not a gateway name, write NAME or NAMESPACE/NAME");
            continue;
        }
        gateways.push(match (namespace, parts.len()) {
            (Some(namespace), 1) if name != MESH => format!("{namespace}/{name}"),
            _ => name.to_owned(),
        });
    }
    gateways
}

/// Reads labels: Kubernetes' names and values.
pub fn read_labels(node: &Node<'_>) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    for (name, node) in node.entries() {
        let Some(value) = node.string() else { continue };
        let unprefixed = match name.split_once('/') {
            Some((prefix, rest)) if prefix.split('.').all(host_name::is_label) => rest,
            _ => name,
        };
        if unprefixed.is_empty() || !is_label_text(unprefixed) {
            node.error(format_args!("{name:?} is not a label name"));
        } else if !is_label_text(value) {
            node.invalid("is not a label value");
        } else {
            labels.push((name.to_owned(), value.to_owned()));
        }
    }
    labels
}

/// Whether `text` has at most 63 letters, digits, `-`, `_` and `.`, the first and last a letter or
/// digit.
fn is_label_text(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 63
        && text.bytes().all(inner)
        && text.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().last().is_none_or(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    struct Istio;

    impl NodeMetadata for Istio {
        fn namespace(&self) -> Option<String> {
            Some("prod".to_owned())
        }

        fn label(&self, name: &str) -> Option<String> {
            (name == "app").then(|| "web".to_owned())
        }
    }

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_document_wins_over_the_metadata() {
        let plain = Proxy::read(None, &Istio);
        assert!(plain.is_in_namespace("prod") && !plain.is_in_namespace("test"));
        assert!(plain.has_labels(&labels(&[("app", "web")])) && plain.has_labels(&[]));
        assert!(!plain.has_labels(&labels(&[("app", "web"), ("version", "v1")])));
        assert_eq!(plain.serves(&[MESH.to_owned()]), None);
        let text = r#"{"namespace": "test", "labels": {"version": "v1"}, "gateways": ["ns/gw"]}"#;
        let checks = testing::read(text, |node| {
            let proxy = Proxy::read(Some(node), &Istio);
            Some([
                proxy.is_in_namespace("test") && !proxy.is_in_namespace("prod"),
                proxy.has_labels(&labels(&[("version", "v1")])),
                !proxy.has_labels(&labels(&[("app", "web")])),
                proxy.serves(&["ns/gw".to_owned()]) == Some(true),
                proxy.serves(&[MESH.to_owned()]) == Some(false),
            ])
        });
        assert_eq!(checks, Ok([true; 5]));
        let nowhere = Proxy::read(None, &NoMetadata);
        assert!(!nowhere.is_in_namespace("") && !nowhere.has_labels(&labels(&[("app", "web")])));
    }

    #[test]
    fn names_of_gateways_are_completed() {
        let read = |text: &str| testing::read(text, |node| Some(read_gateways(node, Some("ns"))));
        assert_eq!(
            read(r#"["gw", "other/gw", "mesh", "gw.istio.svc"]"#).unwrap(),
            ["ns/gw", "other/gw", "mesh", "ns/gw.istio.svc"]
        );
        assert_eq!(
            read(r#"["a/b/c", "", "a/", "*"]"#).unwrap_err(),
            "[0]: \"a/b/c\" is not a gateway name, write NAME or NAMESPACE/NAME\n\
             [1]: \"\" is not a gateway name, write NAME or NAMESPACE/NAME\n\
             [2]: \"a/\" is not a gateway name, write NAME or NAMESPACE/NAME\n\
             [3]: \"*\" is not a gateway name, write NAME or NAMESPACE/NAME"
        );
    }

    #[test]
    fn labels_are_kubernetes_labels() {
        let text = r#"{"app.kubernetes.io/name": "x", "a": "", "-b": "x", "c": "x y", "": "x"}"#;
        assert_eq!(
            testing::read(text, |node| Some(read_labels(node))).unwrap_err(),
            "-b: \"-b\" is not a label name\nc: \"x y\" is not a label value\n\
             [\"\"]: \"\" is not a label name"
        );
    }
}
