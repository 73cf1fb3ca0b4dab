//! Properties of the proxy that runs the policy. Conditions on the proxy are evaluated once, when
//! the configuration is read.

use crate::document::fields::fields;
use crate::document::json::Quoted;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::lookup::name_table::NameTable;
use crate::name_set::NameSet;
use crate::value::host_name;

/// Istio's gateway name for all sidecars.
pub const MESH: &str = "mesh";

/// Envoy's node metadata.
pub trait NodeMetadata {
    /// Returns the namespace of the proxy's workload (`NAMESPACE` of the node metadata).
    fn namespace(&self) -> Option<String>;

    /// Returns the value of a label of the proxy's workload (`LABELS` of the node metadata).
    fn label(&self, name: &str) -> Option<String>;

    /// Whether the filters are in a dynamic module, which does not know the node metadata.
    fn is_native(&self) -> bool {
        false
    }

    /// Whether filters can send requests of their own. Those of a dynamic module can if Envoy's
    /// bootstrap has its extension.
    fn can_call(&self) -> bool {
        true
    }
}

/// Empty metadata, as in an Envoy without Istio.
pub struct NoMetadata;

impl NodeMetadata for NoMetadata {
    fn namespace(&self) -> Option<String> {
        None
    }

    fn label(&self, _: &str) -> Option<String> {
        None
    }
}

/// The proxy, described by the `proxy` object of the document and by Envoy's node metadata. `proxy`
/// has priority.
pub struct Proxy<'a> {
    metadata: &'a dyn NodeMetadata,
    namespace: Option<String>,
    labels: Option<NameTable<String>>,
    gateways: Option<NameSet>,
    /// Port that clients call, if it is not the one that they connect to
    pub port: Option<u16>,
    serves_all: bool,
}

/// `proxy` of a document.
pub struct ProxySettings;

fields!(ProxySettings as "Proxy", "Properties of this proxy.", {
    "namespace": Kind::Text =>
        "Namespace of the proxy's workload; from Envoy's node metadata if absent.";
    "labels": Kind::LABELS =>
        "Labels of the proxy's workload; from Envoy's node metadata if absent.";
    "gateways": Kind::GATEWAYS =>
        "Gateways that the proxy serves, as NAME or NAMESPACE/NAME; mesh for a sidecar.";
    "port": Kind::PORT =>
        "Port that clients call, if Envoy listens on another one: in a gateway, \
         server.port.number of the Gateway. If absent, the port that they connect to.";
});

impl<'a> Proxy<'a> {
    /// Creates a proxy that only the node metadata describes.
    pub fn new(metadata: &'a dyn NodeMetadata) -> Self {
        let (namespace, labels, gateways, port) = (None, None, None, None);
        Self { metadata, namespace, labels, gateways, port, serves_all: false }
    }

    /// Creates a proxy for a document whose `proxy` has an error. It serves all gateways, so that
    /// this error causes no other errors.
    pub fn unknown(metadata: &'a dyn NodeMetadata) -> Self {
        Self { serves_all: true, ..Self::new(metadata) }
    }

    /// Reads `proxy: { namespace, labels, gateways, port }`; all are optional.
    pub fn read(node: &Node<'_>, metadata: &'a dyn NodeMetadata) -> Result<Self, Reported> {
        let object = node.object::<ProxySettings>()?;
        let namespace = object.string("namespace");
        let labels = object.optional("labels", read_labels);
        let gateways = object.optional("gateways", |node| read_gateways(node, None));
        let port = object.optional("port", Node::port);
        Ok(Self {
            namespace: namespace?.map(str::to_owned),
            labels: labels?.map(|labels| {
                let mut table = NameTable::default();
                for (name, value) in labels {
                    table.entry(name.as_bytes(), || value);
                }
                table
            }),
            gateways: gateways?.map(|gateways| {
                let mut names = NameSet::default();
                gateways.iter().for_each(|name| _ = names.insert(name.as_bytes()));
                names
            }),
            port: port?,
            ..Self::new(metadata)
        })
    }

    /// Whether the document says in which namespace the proxy's workload is.
    pub fn has_namespace(&self) -> bool {
        self.namespace.is_some()
    }

    /// Whether the document says which labels the proxy's workload has.
    pub fn says_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// Returns whether the proxy's workload is in `namespace`; false if its namespace is unknown.
    pub fn is_in_namespace(&self, namespace: &str) -> bool {
        let own = self.namespace.clone().or_else(|| self.metadata.namespace());
        own.as_deref() == Some(namespace)
    }

    /// Returns whether the proxy's workload has all of `labels`.
    pub fn has_labels(&self, labels: &[(String, String)]) -> bool {
        labels.iter().all(|(name, value)| match &self.labels {
            Some(own) => own.get(name.as_bytes()) == Some(value),
            None => self.metadata.label(name).as_ref() == Some(value),
        })
    }

    /// Returns whether the proxy serves one of `gateways`; `None` if the document has no
    /// `proxy.gateways`.
    pub fn serves(&self, gateways: &[String]) -> Option<bool> {
        if self.serves_all {
            return Some(true);
        }
        let own = self.gateways.as_ref()?;
        Some(gateways.iter().any(|gateway| own.contains(gateway.as_bytes())))
    }
}

/// Reads names of gateways. A name without a namespace is completed with `namespace`, if present.
pub fn read_gateways(node: &Node<'_>, namespace: Option<&str>) -> Result<Vec<String>, Reported> {
    node.each_with(|node| {
        let name = node.string()?;
        let parts: Vec<&str> = name.split('/').collect();
        let is_valid = match parts.as_slice() {
            [name] => host_name::check(name).is_ok() && !name.starts_with('*'),
            [namespace, name] => host_name::is_label(namespace) && host_name::is_label(name),
            _ => false,
        };
        if !is_valid {
            return Err(node.invalid("is not a gateway name; write NAME or NAMESPACE/NAME"));
        }
        Ok(complete_gateway(name, namespace))
    })
}

/// Completes the name of a gateway with a namespace, if the name has none. As in istiod
/// (`resolveGatewayName`), the old form `NAME.NAMESPACE.svc.cluster.local` has one.
pub fn complete_gateway(name: &str, namespace: Option<&str>) -> String {
    if name == MESH || name.contains('/') {
        return name.to_owned();
    }
    match (name.split_once('.'), namespace) {
        (Some((name, rest)), _) => {
            let (namespace, _) = rest.split_once('.').unwrap_or((rest, ""));
            format!("{namespace}/{name}")
        }
        (None, Some(namespace)) => format!("{namespace}/{name}"),
        (None, None) => name.to_owned(),
    }
}

/// Reads labels, with the syntax of Kubernetes for names and values.
pub fn read_labels(node: &Node<'_>) -> Result<Vec<(String, String)>, Reported> {
    let entries = node.entries()?;
    all(entries.into_iter().map(|(name, node)| {
        let value = node.string()?;
        let unprefixed = match name.split_once('/') {
            Some((prefix, rest)) if prefix.split('.').all(host_name::is_label) => rest,
            _ => name,
        };
        if unprefixed.is_empty() || !is_label_text(unprefixed) {
            return Err(node.error(format_args!("{} is not a label name", Quoted(name))));
        }
        if !is_label_text(value) {
            return Err(node.invalid("is not a label value"));
        }
        Ok((name.to_owned(), value.to_owned()))
    }))
}

/// Reads the name of a namespace.
pub fn read_namespace(node: &Node<'_>) -> Result<String, Reported> {
    let namespace = node.string()?;
    if !host_name::is_label(namespace) {
        return Err(node.invalid("is not a namespace"));
    }
    Ok(namespace.to_owned())
}

/// Returns whether `text` consists of at most 63 letters, digits, `-`, `_` and `.`, and starts and
/// ends with a letter or digit.
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
    fn the_document_has_priority_over_the_metadata() {
        let plain = Proxy::new(&Istio);
        assert!(plain.is_in_namespace("prod") && !plain.is_in_namespace("test"));
        assert!(plain.has_labels(&labels(&[("app", "web")])) && plain.has_labels(&[]));
        assert!(!plain.has_labels(&labels(&[("app", "web"), ("version", "v1")])));
        assert_eq!(plain.serves(&[MESH.to_owned()]), None);
        let text = r#"{"namespace": "test", "labels": {"version": "v1"}, "gateways": ["ns/gw"]}"#;
        let checks = testing::read(text, |node| {
            let proxy = Proxy::read(node, &Istio)?;
            Ok([
                proxy.is_in_namespace("test") && !proxy.is_in_namespace("prod"),
                proxy.has_labels(&labels(&[("version", "v1")])),
                !proxy.has_labels(&labels(&[("app", "web")])),
                proxy.serves(&["ns/gw".to_owned()]) == Some(true),
                proxy.serves(&[MESH.to_owned()]) == Some(false),
            ])
        });
        assert_eq!(checks, Ok([true; 5]));
        let nowhere = Proxy::new(&NoMetadata);
        assert!(!nowhere.is_in_namespace("") && !nowhere.has_labels(&labels(&[("app", "web")])));
    }

    #[test]
    fn gateway_names_are_completed_with_the_namespace() {
        let read = |text: &str| testing::read(text, |node| read_gateways(node, Some("ns")));
        assert_eq!(
            read(r#"["gw", "other/gw", "mesh", "gw.istio.svc", "gw.istio"]"#).unwrap(),
            ["ns/gw", "other/gw", "mesh", "istio/gw", "istio/gw"]
        );
        assert_eq!(
            read(r#"["a/b/c", "", "a/", "*"]"#).unwrap_err(),
            "[0]: \"a/b/c\" is not a gateway name; write NAME or NAMESPACE/NAME\n\
             [1]: \"\" is not a gateway name; write NAME or NAMESPACE/NAME\n\
             [2]: \"a/\" is not a gateway name; write NAME or NAMESPACE/NAME\n\
             [3]: \"*\" is not a gateway name; write NAME or NAMESPACE/NAME"
        );
    }

    #[test]
    fn labels_have_kubernetes_syntax() {
        let text = r#"{"app.kubernetes.io/name": "x", "a": "", "-b": "x", "c": "x y", "": "x"}"#;
        assert_eq!(
            testing::read(text, read_labels).unwrap_err(),
            "-b: \"-b\" is not a label name\nc: \"x y\" is not a label value\n\
             [\"\"]: \"\" is not a label name"
        );
    }
}
