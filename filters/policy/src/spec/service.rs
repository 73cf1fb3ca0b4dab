//! `services` of a document: the ports of services, which Istio knows from Kubernetes.

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::value::host_name::{self, qualify};

/// A service with its ports.
#[derive(Debug)]
pub struct Service {
    /// Host in lower case; a short name is completed with the namespace
    pub host: String,
    /// Port numbers, at least one
    pub ports: Vec<u16>,
}

fields!(Service, "The ports of a service, for destinations without a port.", {
    "host" required: Kind::HOST =>
        "Host name of the service; a short name is completed with namespace.";
    "ports" required: Kind::RequiredList(&Kind::PORT) => "Port numbers of the service.";
});

impl Service {
    /// Reads an entry of `services`. A host may occur several times, as in `serviceEntries`.
    pub fn read(node: &Node<'_>, namespace: Option<&str>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let host = object.required("host").and_then(|node| {
            let host = node.string()?;
            host_name::check(host).map_err(|reason| node.invalid(reason))?;
            if host.starts_with('*') {
                return Err(node.invalid("is a wildcard, not a service"));
            }
            Ok(qualify(host, namespace))
        });
        let ports = object.required_elements("ports");
        let ports = ports.and_then(|nodes| all(nodes.iter().map(Node::port)));
        Ok(Self { host: host?, ports: ports? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read(text: &str) -> Result<Vec<Service>, String> {
        testing::read(text, |node| node.each_with(|node| Service::read(node, Some("ns"))))
    }

    #[test]
    fn hosts_are_completed() {
        let services = read(r#"[{"host": "One", "ports": [80, 81]}]"#).unwrap();
        assert_eq!(services[0].host, "one.ns.svc.cluster.local");
        assert_eq!(services[0].ports, [80, 81]);
    }

    #[test]
    fn rejects_invalid_services() {
        let text = r#"[{"host": "a", "ports": [0, 70000]}, {"host": "a", "ports": []},
                       {"ports": [80]}, {"host": "*.com", "ports": [80]}, {"host": "b"}]"#;
        assert_eq!(
            read(text).unwrap_err(),
            "[0].ports[0]: 0 is not in the range 1 to 65535\n\
             [0].ports[1]: 70000 is not in the range 1 to 65535\n\
             [1].ports: must not be empty\n\
             [2].host: is required\n\
             [3].host: \"*.com\" is a wildcard, not a service\n\
             [4].ports: is required"
        );
    }
}
