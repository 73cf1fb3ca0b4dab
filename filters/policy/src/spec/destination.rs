//! Istio's `Destination`, and the name of the Envoy cluster that belongs to it.

mod read_name;

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::value::host_name::{self, is_label, qualify};

/// A `Destination`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Host in lower case; a short name is completed with the namespace
    pub host: String,
    /// Subset; `None` if the destination has none
    pub subset: Option<String>,
    /// Port; `None` if the destination has none
    pub port: Option<u16>,
    /// Name of the Envoy cluster
    pub cluster: String,
}

impl Destination {
    /// Returns the name of the destination in sticky draws. It does not depend on cluster names.
    pub fn sampling_name(&self) -> String {
        let port = self.port.map_or(String::new(), |port| port.to_string());
        format!("{}|{port}|{}", self.host, self.subset.as_deref().unwrap_or_default())
    }
}

/// How destinations are named: `namespace` and `clusterName` of the document.
#[derive(Clone, Debug)]
pub struct Naming {
    /// Namespace that completes short host names; without it they remain short
    pub namespace: Option<String>,
    /// Pattern of cluster names
    pub template: ClusterTemplate,
}

/// A pattern for cluster names.
///
/// The placeholders `{host}`, `{subset}` and `{port}` are replaced by the parts of a destination;
/// `{subset}` is empty if the destination has no subset. A part in `[...]` is omitted if a
/// placeholder in it is empty: `{host}[-{subset}]` results in `payment-v1` or `payment`. The
/// default is Istio's pattern, `outbound|{port}|{subset}|{host}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Host,
    Literal(String),
    Optional(Vec<Part>),
    Port,
    Subset,
}

impl Default for ClusterTemplate {
    fn default() -> Self {
        let bar = || Part::Literal("|".to_owned());
        let outbound = Part::Literal("outbound|".to_owned());
        Self(vec![outbound, Part::Port, bar(), Part::Subset, bar(), Part::Host])
    }
}

impl ClusterTemplate {
    /// Returns a pattern without placeholders. It replaces a pattern that has an error, so that
    /// this error causes no other errors.
    pub fn unknown() -> Self {
        Self(Vec::new())
    }

    /// Returns whether the pattern is [`ClusterTemplate::unknown`].
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a pattern.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        parse(node.string()?).map(Self).map_err(|reason| node.invalid(reason))
    }

    fn needs_port(&self) -> bool {
        self.0.contains(&Part::Port)
    }

    /// Returns the name of the cluster of a destination.
    pub fn name(&self, host: &str, subset: Option<&str>, port: Option<u16>) -> String {
        let port = port.map_or(String::new(), |port| port.to_string());
        let values = Values { host, subset: subset.unwrap_or_default(), port: &port };
        values.fill(&self.0).0
    }
}

struct Values<'a> {
    host: &'a str,
    subset: &'a str,
    port: &'a str,
}

impl Values<'_> {
    /// Returns the text of `parts`, and whether every placeholder in them has a value.
    fn fill(&self, parts: &[Part]) -> (String, bool) {
        let mut name = String::new();
        let mut complete = true;
        for part in parts {
            let value = match part {
                Part::Literal(text) => {
                    name.push_str(text);
                    continue;
                }
                Part::Optional(parts) => {
                    let (text, complete) = self.fill(parts);
                    name.push_str(if complete { &text } else { "" });
                    continue;
                }
                Part::Host => self.host,
                Part::Port => self.port,
                Part::Subset => self.subset,
            };
            complete &= !value.is_empty();
            name.push_str(value);
        }
        (name, complete)
    }
}

fn parse(text: &str) -> Result<Vec<Part>, &'static str> {
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("has a character that is not printable ASCII");
    }
    let mut outer: Option<Vec<Part>> = None;
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let tail = rest.get(1..).unwrap_or_default();
        rest = match first {
            '{' => {
                let (name, tail) = tail.split_once('}').ok_or("has a { without }")?;
                parts.push(match name {
                    "host" => Part::Host,
                    "port" => Part::Port,
                    "subset" => Part::Subset,
                    _ => return Err("has a placeholder other than {host}, {subset} and {port}"),
                });
                tail
            }
            '[' if outer.is_some() => return Err("has a [ inside of [...]"),
            '[' => {
                outer = Some(std::mem::take(&mut parts));
                tail
            }
            ']' => {
                let whole = outer.take().ok_or("has a ] without [")?;
                let inner = std::mem::replace(&mut parts, whole);
                parts.push(Part::Optional(inner));
                tail
            }
            '}' => return Err("has a } without {"),
            _ => {
                let end = rest.find(['{', '}', '[', ']']).unwrap_or(rest.len());
                let (literal, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
                parts.push(Part::Literal(literal.to_owned()));
                tail
            }
        };
    }
    match outer {
        Some(_) => Err("has a [ without ]"),
        None if parts.is_empty() => Err("is empty"),
        None => Ok(parts),
    }
}

fields!(Destination, "A service, or a subset of it.", {
    "host" required: Kind::Text =>
        "Host name of the service; a short name is completed with namespace.";
    "subset": Kind::Text => "Name of the subset; no subset if absent.";
    "port": Kind::Object(PortSelector::schema) =>
        "Port of the service; required if clusterName requires {port}.";
});

/// `PortSelector`: a port, given by its number.
pub struct PortSelector;

fields!(PortSelector, "A port, given by its number.", {
    "number" required: Kind::PORT => "Port number, 1 to 65535.";
});

impl PortSelector {
    /// Reads the port number.
    pub fn read(node: &Node<'_>) -> Result<u16, Reported> {
        node.object::<Self>()?.required("number")?.port()
    }
}

/// Reads a `Destination` and determines the name of its cluster.
pub fn read(node: &Node<'_>, naming: &Naming) -> Result<Destination, Reported> {
    let object = node.object::<Destination>()?;
    let host = object.required("host").and_then(|node| read_host(&node, naming));
    let subset = object.optional("subset", read_subset);
    let port = object.optional("port", PortSelector::read);
    let (host, subset, port) = (host?, subset?.flatten(), port?);
    if port.is_none() && naming.template.needs_port() {
        let reason = "is required: clusterName has {port} and there is no service registry to ask";
        return Err(object.absent("port", reason));
    }
    let cluster = naming.template.name(&host, subset.as_deref(), port);
    Ok(Destination { host, subset, port, cluster })
}

fn read_host(node: &Node<'_>, naming: &Naming) -> Result<String, Reported> {
    let host = node.string()?;
    if host == "*" {
        return Err(node.invalid("is not a destination"));
    }
    host_name::check(host).map_err(|reason| node.invalid(reason))?;
    Ok(qualify(host, naming.namespace.as_deref()))
}

/// Reads the name of a subset; `None` for an empty one.
pub(crate) fn read_subset(node: &Node<'_>) -> Result<Option<String>, Reported> {
    let subset = node.string()?;
    if subset.is_empty() {
        return Ok(None);
    }
    if !is_label(subset) || subset.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(node.invalid("is not a lower-case DNS label"));
    }
    Ok(Some(subset.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn cluster(template: Option<&str>, namespace: Option<&str>, text: &str) -> String {
        let template = template
            .map_or(ClusterTemplate::default(), |text| ClusterTemplate(parse(text).unwrap()));
        let naming = Naming { namespace: namespace.map(str::to_owned), template };
        let read = testing::read(text, |node| read(node, &naming));
        read.map_or_else(|errors| errors, |destination| destination.cluster)
    }

    #[test]
    fn the_default_pattern_is_that_of_istio() {
        let text = r#"{"host": "Reviews", "subset": "v2", "port": {"number": 9080}}"#;
        assert_eq!(
            cluster(None, Some("prod"), text),
            "outbound|9080|v2|reviews.prod.svc.cluster.local"
        );
        let text = r#"{"host": "example.com", "port": {"number": 80}}"#;
        assert_eq!(cluster(None, Some("prod"), text), "outbound|80||example.com");
    }

    #[test]
    fn optional_parts_are_omitted_if_a_placeholder_is_empty() {
        let template = Some("{host}[-{subset}][:{port}]");
        assert_eq!(cluster(template, None, r#"{"host": "payment"}"#), "payment");
        let text = r#"{"host": "payment", "subset": "v1"}"#;
        assert_eq!(cluster(template, None, text), "payment-v1");
        let text = r#"{"host": "payment", "port": {"number": 80}}"#;
        assert_eq!(cluster(template, None, text), "payment:80");
        assert_eq!(cluster(Some("{host}-{subset}"), None, r#"{"host": "x"}"#), "x-");
    }

    #[test]
    fn rejects_invalid_fields() {
        assert_eq!(
            cluster(None, None, r#"{"host": "*", "subset": "V 1", "port": {"number": 0}}"#),
            "host: \"*\" is not a destination\n\
             subset: \"V 1\" is not a lower-case DNS label\n\
             port.number: 0 is not in the range 1 to 65535"
        );
        assert_eq!(cluster(None, None, "{}"), "host: is required");
        assert_eq!(
            cluster(None, None, r#"{"host": "x"}"#),
            "port: is required: clusterName has {port} and there is no service registry to ask"
        );
    }

    #[test]
    fn rejects_invalid_templates() {
        for text in ["", "{", "{hosts}", "a}", "[[a]]", "a]", "[a", "a b", "ä"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("outbound|{port}|{subset}|{host}"), Ok(ClusterTemplate::default().0));
    }
}
