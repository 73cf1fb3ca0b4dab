//! Istio's `Destination`, and the name of the Envoy cluster that belongs to it.

mod cluster_name;
mod cluster_template;
mod port;
mod read_name;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::document::fields::fields;
use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::known_ports::KnownPorts;
use crate::value::host_name::{self, is_label, qualify};

pub use cluster_name::ClusterName;
pub use cluster_template::ClusterTemplate;
pub use port::Port;

/// A `Destination`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Host in lower case; a short name is completed with the namespace
    pub host: String,
    /// Subset; `None` if the destination has none
    pub subset: Option<String>,
    /// Port, and where it comes from
    pub port: Port,
    /// Name of the Envoy cluster
    pub cluster: ClusterName,
}

impl Destination {
    /// Creates the destination of a service with its port. `host` is complete.
    pub(crate) fn of_service(host: String, port: u16, naming: &Naming) -> Self {
        let port = Port::Written(port);
        let cluster = naming.template.cluster(&host, None, port);
        Self { host, subset: None, port, cluster }
    }

    /// Returns the name of the destination in sticky draws. It does not depend on cluster names,
    /// nor on whether the document has the ports of the service.
    pub fn sampling_name(&self) -> String {
        let port = match self.port {
            Port::Written(port) => port.to_string(),
            Port::Only(_) | Port::Called(_) => String::new(),
        };
        format!("{}|{port}|{}", self.host, self.subset.as_deref().unwrap_or_default())
    }
}

/// How destinations are named: `namespace`, `clusterName`, `services`, `serviceEntries` and
/// `proxy.port` of the document.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// Namespace that completes short host names; without it they remain short
    pub namespace: Option<String>,
    /// Pattern of cluster names
    pub template: ClusterTemplate,
    /// Ports of the services that the document has; `None` if no name has a port
    pub ports: Option<Arc<KnownPorts>>,
    /// Port that clients call, if all requests have the same
    pub called: Option<u16>,
    /// Number of the destinations read so far whose cluster depends on the port of the request.
    /// Clones count together
    pub by_port: Arc<AtomicUsize>,
}

impl Naming {
    /// Returns the naming in a virtual service: a delegate can have a namespace of its own.
    #[inline(never)]
    pub fn within(&self, service: &Json) -> Cow<'_, Self> {
        let own = service.field("namespace").and_then(Json::as_str).filter(|own| {
            let is_delegate = service.elements("hosts").is_empty();
            is_delegate && !own.is_empty() && self.namespace.as_deref() != Some(own)
        });
        own.map_or(Cow::Borrowed(self), |own| Cow::Owned(self.with_namespace(Some(own))))
    }

    /// Returns the naming with another namespace.
    #[inline(never)]
    pub fn with_namespace(&self, namespace: Option<&str>) -> Self {
        Self { namespace: namespace.map(str::to_owned), ..self.clone() }
    }

    /// Returns the naming for destinations that are not counted together with those of this one.
    #[inline(never)]
    pub fn counting_anew(&self) -> Self {
        Self { by_port: Arc::default(), ..self.clone() }
    }

    /// Returns the port of a destination without one. `host` is complete.
    fn port(&self, host: &str) -> Port {
        let only = self.ports.as_ref().and_then(|ports| ports.only(host));
        only.map_or(Port::Called(self.called), Port::Only)
    }
}

fields!(Destination, "A service, or a subset of it.", {
    "host" required: Kind::DESTINATION_HOST =>
        "Host name of the service; a short name is completed with namespace.";
    "subset": Kind::OPTIONAL_LABEL => "Name of the subset; no subset if absent.";
    "port": Kind::Object(PortSelector::schema) =>
        "Port of the service; if absent, the only port of the service in services or \
         serviceEntries, else the port that the client called.";
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
    let port = port.map_or_else(|| naming.port(&host), Port::Written);
    let cluster = naming.template.cluster(&host, subset.as_deref(), port);
    if cluster.is_by_port() {
        naming.by_port.fetch_add(1, Relaxed);
    }
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
    if !is_label(subset) {
        return Err(node.invalid("is not a DNS label"));
    }
    Ok(Some(subset.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::cluster_template::parse;
    use super::*;
    use crate::spec::known_ports::Source;
    use crate::testing;

    fn cluster(template: Option<&str>, namespace: Option<&str>, text: &str) -> String {
        let template = template
            .map_or(ClusterTemplate::default(), |text| ClusterTemplate(parse(text).unwrap()));
        let mut ports = KnownPorts::default();
        ports.add("one.com", 9080, Source::Service);
        ports.add("two.com", 80, Source::Service);
        ports.add("two.com", 81, Source::Service);
        let namespace = namespace.map(str::to_owned);
        let naming = Naming { namespace, template, ports: Some(ports.into()), ..Naming::default() };
        let read = testing::read(text, |node| read(node, &naming));
        read.map_or_else(|errors| errors, |destination| destination.cluster.to_string())
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
             subset: \"V 1\" is not a DNS label\n\
             port.number: 0 is not in the range 1 to 65535"
        );
        assert_eq!(cluster(None, None, "{}"), "host: is required");
    }

    #[test]
    fn an_absent_port_is_the_only_one_of_the_service_or_that_of_the_request() {
        assert_eq!(cluster(None, None, r#"{"host": "one.com"}"#), "outbound|9080||one.com");
        assert_eq!(
            cluster(None, None, r#"{"host": "one.com", "port": {"number": 1}}"#),
            "outbound|1||one.com"
        );
        for host in ["two.com", "x"] {
            let text = format!(r#"{{"host": "{host}", "subset": "v1"}}"#);
            assert_eq!(cluster(None, None, &text), format!("outbound|{{port}}|v1|{host}"));
        }
    }

    #[test]
    fn an_optional_part_has_only_a_port_of_the_service() {
        let template = Some("{host}[:{port}]");
        assert_eq!(cluster(template, None, r#"{"host": "one.com"}"#), "one.com:9080");
        assert_eq!(cluster(template, None, r#"{"host": "two.com"}"#), "two.com");
        let both = Some("{port}/{host}[:{port}]");
        assert_eq!(cluster(both, None, r#"{"host": "two.com"}"#), "{port}/two.com");
        let called = |host: &str| {
            let naming = Naming { called: Some(80), ..Naming::default() };
            let text = format!(r#"{{"host": "{host}"}}"#);
            testing::read(&text, |node| read(node, &naming)).unwrap()
        };
        let Destination { port, cluster, .. } = called("a");
        assert_eq!((port, cluster.text()), (Port::Called(Some(80)), "outbound|80||a"));
        assert!(!cluster.is_by_port());
    }

    #[test]
    fn sticky_draws_do_not_depend_on_known_ports() {
        let mut ports = KnownPorts::default();
        ports.add("a", 9080, Source::Service);
        let with = Naming { ports: Some(ports.into()), ..Naming::default() };
        let name = |naming: &Naming, text: &str| {
            testing::read(text, |node| read(node, naming)).unwrap().sampling_name()
        };
        assert_eq!(name(&with, r#"{"host": "a"}"#), name(&Naming::default(), r#"{"host": "a"}"#));
        assert_eq!(name(&with, r#"{"host": "a", "port": {"number": 9080}}"#), "a|9080|");
    }
}
