//! The hosts of Services and ServiceEntries, with their ports.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use sluice_policy::value::host_name::qualify;

use super::host_index::HostIndex;
use super::mesh::{Exports, Mesh, Spec};
use crate::finding::Place;
use crate::tree::Value;

/// The domain of Kubernetes Services.
const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

/// The hosts that Istio knows.
pub struct Registry<'a> {
    hosts: HostIndex<Entry<'a>>,
    /// The Services of each namespace, by their names
    services: HashMap<Option<&'a str>, Vec<&'a str>>,
    /// The namespace of the first Service with a name
    namespaces: HashMap<&'a str, &'a str>,
    /// The hosts in `services` of the documents
    listed: HashSet<String>,
}

/// A Service or ServiceEntry that has a host.
pub struct Entry<'a> {
    /// The object
    pub source: Source<'a>,
    exports: Exports<'a>,
    /// The ports; `None` if they are not known
    pub ports: Option<Vec<i64>>,
}

/// The object that a host is from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A Service, by the place of its ports
    Service(&'a Place),
    /// A ServiceEntry
    ServiceEntry(&'a Spec<'a>),
}

impl<'a> Registry<'a> {
    /// The hosts of all objects.
    pub fn new(mesh: &'a Mesh<'a>) -> Self {
        let (mut hosts, mut namespaces) = (HostIndex::default(), HashMap::new());
        let mut services = HashMap::<_, Vec<_>>::new();
        for service in &mesh.inventory.services {
            let namespace = service.namespace.as_deref().or(mesh.namespace);
            let own = |name: &'a String| match &**name {
                "." => namespace.map(Cow::Borrowed),
                name => Some(name.into()),
            };
            let exports = service.exports.iter().flatten().map(own).collect();
            let (source, exports) = (Source::Service(&service.place), Exports::new(exports));
            let entry = Entry { source, exports, ports: service.ports.clone() };
            hosts.insert(&qualify(&service.name, namespace), entry);
            services.entry(namespace).or_default().push(&*service.name);
            if let Some(namespace) = namespace {
                namespaces.entry(&*service.name).or_insert(namespace);
            }
        }
        for entry in &mesh.service_entries {
            let ports = entry.tree.list("ports").iter();
            let ports: Vec<_> = ports
                .filter_map(|port| match port.field("number")?.value {
                    Value::Integer(number) => Some(number),
                    _ => None,
                })
                .collect();
            for host in entry.texts("hosts") {
                let ports = Some(ports.clone()).filter(|ports| !ports.is_empty());
                let (source, exports) = (Source::ServiceEntry(entry), entry.exports());
                let host = qualify(host, entry.namespace);
                hosts.insert(&host, Entry { source, exports, ports });
            }
        }
        Self { hosts, services, namespaces, listed: mesh.listed_hosts().collect() }
    }

    /// Returns whether the files have no Services and no ServiceEntries.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The objects that have a complete host.
    pub fn entries(&self, host: &'a str) -> impl Iterator<Item = &Entry<'a>> {
        self.hosts.get(host)
    }

    /// Returns whether the files have the objects of which one would have the host: Services of its
    /// namespace, or for a host outside of Kubernetes any Service.
    pub fn is_complete_for(&self, host: &str) -> bool {
        if self.listed.contains(host) {
            return false;
        }
        match namespace_of(host) {
            Some(namespace) => self.services.contains_key(&Some(namespace)),
            None if !host.contains('.') => self.services.contains_key(&None),
            // A Service in a cluster with another domain, or of several clusters.
            None if host.contains(".svc.") => false,
            None => !self.services.is_empty(),
        }
    }

    /// What to write in place of an unknown host, as the end of a sentence.
    pub fn hint(&self, host: &str) -> String {
        let name = host.split('.').next().unwrap_or_default();
        if namespace_of(host).is_none() {
            // Only names without a dot are completed.
            let full = [CLUSTER_DOMAIN, ".cluster.local"].map(|end| format!("{host}{end}"));
            let known = full.iter().find(|full| self.hosts.get(full).next().is_some());
            return known.map_or_else(String::new, |full| format!("; write {full}"));
        }
        if let Some(namespace) = self.namespaces.get(name) {
            return format!("; write {name}.{namespace}{CLUSTER_DOMAIN}");
        }
        let own = self.services.get(&namespace_of(host)).map_or(&[][..], Vec::as_slice);
        match own {
            [_, ..] if own.len() <= MOST => {
                format!("; the Services of its namespace are {}", own.join(", "))
            }
            _ => String::new(),
        }
    }
}

/// The greatest number of names that are listed in a reason.
const MOST: usize = 8;

/// The namespace of the host of a Service.
fn namespace_of(host: &str) -> Option<&str> {
    let (_, namespace) = host.strip_suffix(CLUSTER_DOMAIN)?.split_once('.')?;
    Some(namespace).filter(|namespace| !namespace.contains('.'))
}

impl Entry<'_> {
    /// Returns whether one of the namespaces may use the object.
    pub fn is_visible(&self, to: &[Option<&str>]) -> bool {
        to.iter().any(|namespace| self.exports.include(*namespace))
    }
}
