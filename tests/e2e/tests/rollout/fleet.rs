//! Running a scenario: changes of all its clusters at once, and requests to all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_e2e::{Client, Endpoints, Envoy, until};
use tokio::task::JoinSet;

use crate::comparison::Findings;
use crate::detection::{CLUSTERS, Cluster};
use crate::hosts::{Addresses, Health};
use crate::scenario::Scenario;
use crate::tolerances::{self, Tolerance};

/// A scenario in its Envoy.
pub struct Fleet {
    envoy: Arc<Envoy>,
    scenario: Arc<Scenario>,
    batches: AtomicUsize,
    findings: Mutex<Findings>,
}

/// Results of a batch of requests in one cluster.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Number of responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Number of requests by host.
    pub hosts: Vec<u64>,
}

/// Results of the same batch of requests in each cluster.
pub type Batch = BTreeMap<Cluster, Share>;

/// The ejected hosts of a cluster at one time, and the number of ejections so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ejections {
    pub active: BTreeSet<usize>,
    pub total: u64,
}

/// Number of connections for each cluster in an Envoy with several workers. The kernel distributes
/// connections among the workers.
const CONNECTIONS: usize = 8;

impl Share {
    pub fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

impl Fleet {
    pub fn new(envoy: Arc<Envoy>, scenario: Arc<Scenario>) -> Self {
        let (batches, findings) = (AtomicUsize::new(0), Mutex::default());
        Self { envoy, scenario, batches, findings }
    }

    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    pub fn into_findings(self) -> Findings {
        self.findings.into_inner().unwrap()
    }

    pub fn addresses(&self) -> Addresses {
        self.scenario.addresses()
    }

    /// Records a difference from the reference.
    pub fn report(&self, cluster: Cluster, finding: String) {
        self.findings.lock().unwrap().add(cluster, finding);
    }

    pub fn tolerance(&self) -> Tolerance {
        tolerances::of(self.scenario.name)
    }

    pub fn set(&self, hosts: &[usize], health: Health) {
        hosts.iter().for_each(|host| self.scenario.hosts[*host].set_health(health));
    }

    /// Sets whether hosts pass active health checks, and waits until all clusters know it.
    pub async fn set_checks(&self, hosts: &[usize], pass: bool) {
        hosts.iter().for_each(|host| self.scenario.hosts[*host].set_checks(pass));
        let addresses = self.addresses().0;
        let changed: Vec<_> = hosts.iter().map(|host| addresses[*host]).collect();
        until("the result of health checks changes", async || {
            for cluster in CLUSTERS {
                let known = self.envoy.hosts(&self.scenario.cluster(cluster)).await;
                let mut known = known.iter().filter(|host| changed.contains(&host.address));
                if !known.all(|host| host.fails_checks != pass) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Replaces the endpoints of all clusters by these hosts.
    pub async fn deploy(&self, hosts: &[usize]) {
        let endpoints = self.addresses().equal(hosts);
        let names = CLUSTERS.map(|cluster| self.scenario.cluster(cluster));
        let updates: Vec<(&str, &Endpoints)> =
            names.iter().map(|name| (name.as_str(), &endpoints)).collect();
        self.envoy.update_endpoints(&updates).await;
    }

    /// Sends `count` requests to each cluster: to all clusters at once, to each in sequence. With
    /// several workers, each cluster gets them over several connections.
    pub async fn send(&self, count: usize) -> Batch {
        let batch = self.batches.fetch_add(1, Ordering::Relaxed);
        let connections = if self.scenario.detection.workers == 1 { 1 } else { CONNECTIONS };
        let path = |cluster| format!("{}{batch}/", self.scenario.path(cluster));
        let mut sending = JoinSet::new();
        for cluster in CLUSTERS {
            for _ in 0..connections {
                let (client, path) = (self.envoy.listener("edge"), path(cluster));
                let count = count.div_ceil(connections);
                sending.spawn(async move { (cluster, send(client, &path, count).await) });
            }
        }
        let mut result = Batch::new();
        for (cluster, statuses) in sending.join_all().await {
            let share = result.entry(cluster).or_default();
            for status in statuses {
                *share.statuses.entry(status).or_default() += 1;
            }
        }
        for (cluster, share) in &mut result {
            let path = path(*cluster);
            let hosts = self.scenario.hosts.iter();
            share.hosts = hosts.map(|host| host.received(&path)).collect();
        }
        result
    }

    /// Makes hosts fail, and sends requests until exactly they are ejected in each cluster.
    pub async fn eject(&self, hosts: &[usize], health: Health) {
        self.set(hosts, health);
        self.send_until_ejected(hosts).await;
    }

    /// Makes hosts refuse connections, and sends requests until exactly they are ejected in each
    /// cluster.
    pub async fn stop(&self, hosts: &[usize]) {
        for host in hosts {
            self.scenario.hosts[*host].stop().await;
        }
        self.send_until_ejected(hosts).await;
    }

    /// Panics if Envoy does not eject exactly these hosts. Reports it if the filter does not.
    async fn send_until_ejected(&self, hosts: &[usize]) {
        let expected: BTreeSet<_> = hosts.iter().copied().collect();
        let mut observed = BTreeMap::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        // The filter may need more requests than Envoy, for hosts that it does not know yet.
        for round in 0.. {
            self.send(2 * self.scenario.hosts.len()).await;
            for cluster in CLUSTERS {
                observed.insert(cluster, self.ejections(cluster).await.active);
            }
            let is_done = |cluster| observed.get(&cluster) == Some(&expected);
            let [native, envoy, filter] = CLUSTERS.map(is_done);
            if native && envoy && (filter || round >= 10) {
                break;
            }
            assert!(Instant::now() < deadline, "{expected:?} are not ejected: {observed:?}");
        }
        let active = &observed[&Cluster::Filter];
        if *active != expected {
            self.report(Cluster::Filter, format!("{active:?} are ejected, not {expected:?}"));
        }
    }

    /// Returns the members of a cluster that are ejected.
    pub async fn ejections(&self, cluster: Cluster) -> Ejections {
        if cluster == Cluster::Filter {
            return self.logged_ejections().await;
        }
        let name = self.scenario.cluster(cluster);
        let addresses = self.addresses().0;
        let hosts = self.envoy.hosts(&name).await;
        let active = addresses.iter().enumerate().filter(|(_, address)| {
            hosts.iter().any(|host| host.address == **address && host.is_ejected)
        });
        let active = active.map(|(number, _)| number).collect();
        let stat = format!("cluster.{name}.outlier_detection.ejections_enforced_total");
        Ejections { active, total: self.envoy.stat(&stat).await }
    }

    /// Returns the ejections according to the log of the filter, which also contains hosts that
    /// have left the cluster.
    async fn logged_ejections(&self) -> Ejections {
        let name = self.scenario.cluster(Cluster::Filter);
        let members = self.envoy.hosts(&name).await;
        let addresses = self.addresses().0;
        let mut ejections = Ejections::default();
        for line in self.envoy.log().lines() {
            let Some((_, event)) = line.split_once("outlier event=") else { continue };
            if !event.contains(&format!("cluster=\"{name}\"")) {
                continue;
            }
            let host = addresses
                .iter()
                .position(|address| event.contains(&format!("host=\"{address}\"")))
                .expect("a host of the scenario");
            if event.starts_with("ejected") {
                ejections.total += 1;
                ejections.active.insert(host);
            } else {
                ejections.active.remove(&host);
            }
        }
        let is_member = |host: &usize| members.iter().any(|m| m.address == addresses[*host]);
        ejections.active.retain(is_member);
        ejections
    }
}

async fn send(client: Client, path: &str, count: usize) -> Vec<u16> {
    let mut connection = client.connect().await;
    let mut statuses = Vec::new();
    for number in 0..count {
        let response = connection.send(client.get(&format!("{path}{number}"))).await;
        assert_eq!(response.header("x-sluice-failure"), None, "the mark is not for clients");
        statuses.push(response.status);
    }
    statuses
}
