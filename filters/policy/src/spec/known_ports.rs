//! The ports of the services that a document has, for destinations without a port.

use crate::lookup::name_table::NameTable;

/// The ports of services, by the complete names of their hosts.
#[derive(Debug, Default)]
pub struct KnownPorts(NameTable<Ports>);

/// Where the port of a service comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `services`
    Service,
    /// `serviceEntries`
    ServiceEntry,
}

/// The ports of a service.
#[derive(Clone, Copy, Debug)]
struct Ports {
    /// The only port; `None` if there are several
    only: Option<u16>,
    source: Source,
}

impl KnownPorts {
    /// Adds a port of a service. `host` is complete.
    pub fn add(&mut self, host: &str, port: u16, source: Source) {
        let ports = self.0.entry(host.as_bytes(), || Ports { only: Some(port), source });
        ports.only = ports.only.filter(|only| *only == port);
    }

    /// Returns whether no ports are known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the only port of a service; `None` if it has several, or if the document does not
    /// have the service. `host` is complete.
    pub fn only(&self, host: &str) -> Option<u16> {
        self.0.get(host.as_bytes())?.only
    }

    /// Returns where the first port of a service comes from.
    pub fn source(&self, host: &str) -> Option<Source> {
        Some(self.0.get(host.as_bytes())?.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_with_one_port_has_an_only_port() {
        let mut known = KnownPorts::default();
        for (host, port) in [("one.com", 80), ("same.com", 81), ("two.com", 80), ("two.com", 82)] {
            known.add(host, port, Source::Service);
        }
        known.add("same.com", 81, Source::ServiceEntry);
        known.add("entry.com", 443, Source::ServiceEntry);
        assert_eq!(known.only("one.com"), Some(80));
        assert_eq!(known.only("same.com"), Some(81));
        assert_eq!(known.only("two.com"), None);
        assert_eq!(known.only("other.com"), None);
        assert_eq!(known.source("same.com"), Some(Source::Service));
        assert_eq!(known.source("entry.com"), Some(Source::ServiceEntry));
    }
}
