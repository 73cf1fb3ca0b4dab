//! The pattern of cluster names, and the names that it results in.

use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::destination::cluster_name::{ClusterName, PORT_OF_REQUEST};
use crate::spec::destination::port::Port;

/// A pattern for cluster names.
///
/// The placeholders `{host}`, `{subset}` and `{port}` are replaced by the parts of a destination;
/// `{subset}` is empty if the destination has no subset. A part in `[...]` is omitted if a
/// placeholder in it is empty: `{host}[-{subset}]` results in `payment-v1` or `payment`. In
/// `[...]`, `{port}` is empty if only the client knows the port; elsewhere it is then the port that
/// the client called. The default is Istio's pattern, `outbound|{port}|{subset}|{host}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTemplate(pub(super) Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
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

    /// Returns whether every name has a port.
    pub fn needs_port(&self) -> bool {
        self.0.contains(&Part::Port)
    }

    /// Returns the name of the cluster of a destination.
    pub fn name(&self, host: &str, subset: Option<&str>, port: Option<u16>) -> String {
        self.cluster(host, subset, port.map_or(Port::Called(None), Port::Written)).into_text()
    }

    /// As [`ClusterTemplate::name`], for a destination that may have no port.
    pub(super) fn cluster(&self, host: &str, subset: Option<&str>, port: Port) -> ClusterName {
        let digits = match port {
            Port::Written(port) | Port::Only(port) | Port::Called(Some(port)) => port.to_string(),
            Port::Called(None) => String::new(),
        };
        let (port_of_service, called) = match port {
            Port::Written(_) | Port::Only(_) => (&*digits, ""),
            Port::Called(Some(_)) => ("", &*digits),
            Port::Called(None) => ("", PORT_OF_REQUEST),
        };
        let subset = subset.unwrap_or_default();
        let values = Values { host, subset, port: port_of_service, called };
        let (name, _) = values.fill(&self.0, true);
        ClusterName::new(name, port == Port::Called(None) && self.needs_port())
    }
}

struct Values<'a> {
    host: &'a str,
    subset: &'a str,
    /// Port of the service; empty if the document does not have it
    port: &'a str,
    /// Replacement for an empty `port` outside of `[...]`
    called: &'a str,
}

impl Values<'_> {
    /// Returns the text of `parts`, and whether every placeholder in them has a value. `is_outer`:
    /// whether the parts are outside of `[...]`.
    fn fill(&self, parts: &[Part], is_outer: bool) -> (String, bool) {
        let mut name = String::new();
        let mut complete = true;
        for part in parts {
            let value = match part {
                Part::Literal(text) => {
                    name.push_str(text);
                    continue;
                }
                Part::Optional(parts) => {
                    let (text, complete) = self.fill(parts, false);
                    name.push_str(if complete { &text } else { "" });
                    continue;
                }
                Part::Host => self.host,
                Part::Port if is_outer && self.port.is_empty() => self.called,
                Part::Port => self.port,
                Part::Subset => self.subset,
            };
            complete &= !value.is_empty();
            name.push_str(value);
        }
        (name, complete)
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Part>, &'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_invalid_templates() {
        for text in ["", "{", "{hosts}", "a}", "[[a]]", "a]", "[a", "a b", "ä"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("outbound|{port}|{subset}|{host}"), Ok(ClusterTemplate::default().0));
    }
}
