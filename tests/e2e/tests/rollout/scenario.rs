//! Declaration of a scenario.

use std::pin::Pin;

use sluice_e2e::{Bootstrap, Endpoints};

use crate::detection::{Cluster, Detection};
use crate::fleet::Fleet;
use crate::hosts::{Addresses, Host};

/// The steps of a scenario.
pub type Run = for<'a> fn(&'a Fleet) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A cluster with changes, and the steps of a test.
pub struct Scenario {
    pub name: &'static str,
    pub detection: Detection,
    pub hosts: Vec<Host>,
    pub run: Run,
    /// Whether it takes minutes, and is only run on request.
    pub is_long: bool,
    endpoints: fn(&Addresses) -> Endpoints,
    settings: fn(Bootstrap) -> Bootstrap,
}

impl Scenario {
    /// A scenario with `hosts` hosts, of which `endpoints` are in the cluster at first.
    pub fn new(
        name: &'static str,
        hosts: usize,
        endpoints: fn(&Addresses) -> Endpoints,
        run: Run,
    ) -> Self {
        let hosts = (0..hosts).map(|_| Host::new()).collect();
        let (detection, settings) = (Detection::default(), |bootstrap| bootstrap);
        Self { name, detection, hosts, run, is_long: false, endpoints, settings }
    }

    pub fn detection(self, detection: Detection) -> Self {
        Self { detection, ..self }
    }

    /// Changes the settings of each cluster, the last one of the bootstrap.
    pub fn settings(self, settings: fn(Bootstrap) -> Bootstrap) -> Self {
        Self { settings, ..self }
    }

    /// Runs only on request.
    pub fn long(self) -> Self {
        Self { is_long: true, ..self }
    }

    pub fn addresses(&self) -> Addresses {
        Addresses(self.hosts.iter().map(Host::address).collect())
    }

    /// Returns the name of a cluster in Envoy.
    pub fn cluster(&self, cluster: Cluster) -> String {
        // The filter requires host names, which have no underscores.
        format!("{}-{}", cluster.name(), self.name.replace('_', "-"))
    }

    /// Returns the path prefix of requests to a cluster.
    pub fn path(&self, cluster: Cluster) -> String {
        format!("/{}/{}/", cluster.name(), self.name)
    }

    /// Adds a cluster to the bootstrap.
    pub fn add_to(&self, bootstrap: Bootstrap, cluster: Cluster) -> Bootstrap {
        let name = self.cluster(cluster);
        let bootstrap = bootstrap.dynamic_cluster(&name, (self.endpoints)(&self.addresses()));
        (self.settings)(self.detection.add_to(bootstrap, cluster, &name))
    }
}
