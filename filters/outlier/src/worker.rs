//! The plugin on one worker: the clusters that it has met, and its timer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use sluice_host::random::Random;
use sluice_host::shared_data::SharedData;
use sluice_policy::bytes;
use sluice_policy::outlier::Outliers;

use crate::metrics::Metrics;
use crate::monitor::{Means, Monitor};

/// How many clusters are kept. A client may name many that there are not.
const MAX_CLUSTERS: usize = 10_000;

/// By name; `None` where there is nothing to detect.
type Clusters = HashMap<Box<[u8]>, Option<Rc<Monitor>>>;

/// What all streams of a plugin share on a worker.
#[derive(Debug)]
pub struct Worker {
    outliers: Outliers,
    /// What is counted
    pub metrics: Metrics,
    /// For draws
    pub random: Random,
    configured: Duration,
    clusters: RefCell<Clusters>,
    /// Of the clusters the one that was asked for last. In a cluster it is always the same
    last: RefCell<Option<Rc<Monitor>>>,
    rotation: Cell<usize>,
    armed: Cell<Option<Duration>>,
    /// Whether it is in a cluster; unknown before the first stream
    pub(crate) is_in_cluster: Cell<Option<bool>>,
}

/// The `root_id` of the plugin in a cluster.
pub const IN_CLUSTER: &str = "upstream";

impl Worker {
    /// Of a plugin that is configured now.
    pub fn new(outliers: Outliers, metrics: Metrics, host: &impl SharedData) -> Self {
        Self {
            outliers,
            metrics,
            random: Random::default(),
            configured: host.uptime(),
            clusters: RefCell::default(),
            last: RefCell::default(),
            rotation: Cell::default(),
            armed: Cell::default(),
            is_in_cluster: Cell::default(),
        }
    }

    /// Whether this plugin is in a cluster: its `root_id` says so. Else its first stream tells, as in a
    /// cluster Envoy has chosen a host before. Asked by streams only.
    pub fn is_in_cluster(&self, host: &impl SharedData) -> bool {
        if let Some(known) = self.is_in_cluster.get() {
            return known;
        }
        let root_id = host.property(&["plugin_root_id"]);
        let is_said = root_id.as_deref() == Some(IN_CLUSTER.as_bytes());
        let is_seen = host.property(&["upstream", "address"]).is_some();
        if is_seen && !is_said {
            log::error!("outlier error=\"in a cluster the plugin needs root_id: {IN_CLUSTER}\"");
        }
        self.is_in_cluster.set(Some(is_said || is_seen));
        is_said || is_seen
    }

    /// What an update needs.
    pub fn means(&self) -> Means<'_> {
        Means { metrics: &self.metrics, random: &self.random }
    }

    /// A number that is one more each time, from a random one on.
    pub fn rotate(&self) -> usize {
        let rotation = self.rotation.get();
        self.rotation.set(rotation.wrapping_add(1));
        rotation
    }

    /// The monitor of a cluster; `None` where there is nothing to detect.
    pub fn monitor(&self, cluster: &[u8], host: &impl SharedData) -> Option<Rc<Monitor>> {
        let last = self.last.borrow().clone();
        if last.as_ref().is_some_and(|last| bytes::equal(last.cluster().as_bytes(), cluster)) {
            return last;
        }
        if let Some(known) = self.clusters.borrow().get(cluster) {
            self.last.borrow_mut().clone_from(known);
            return known.clone();
        }
        let name = std::str::from_utf8(cluster).ok()?;
        let target = self.outliers.target(name);
        let monitor = target.map(|target| Rc::new(Monitor::new(name, target, self.configured)));
        let mut clusters = self.clusters.borrow_mut();
        if clusters.len() >= MAX_CLUSTERS {
            // Those that are of use come back, with nothing lost that others have to know.
            clusters.clear();
        }
        clusters.insert(cluster.into(), monitor.clone());
        drop(clusters);
        // Never one that is not among the clusters any more.
        self.last.borrow_mut().clone_from(&monitor);
        if let Some(monitor) = &monitor {
            // It may have been left alone for long: what is due is due before the first request.
            drop(monitor.view(host));
            monitor.tick(self.means(), host);
        }
        monitor
    }

    /// Does what is due, and arms the timer again.
    pub fn on_tick(&self, host: &impl SharedData) {
        self.armed.set(None);
        let monitors: Vec<_> = self.clusters.borrow().values().flatten().cloned().collect();
        monitors.iter().for_each(|monitor| monitor.tick(self.means(), host));
        let next = monitors.iter().filter_map(|monitor| monitor.next_wake()).min();
        match next {
            Some(next) => self.arm(next, host),
            None => host.set_timer(None),
        }
    }

    /// Sees to it that there is a tick when something is to be done for a cluster.
    pub fn arm_for(&self, monitor: &Monitor, host: &impl SharedData) {
        if let Some(wake) = monitor.next_wake()
            && self.armed.get().is_none_or(|armed| wake < armed)
        {
            self.arm(wake, host);
        }
    }

    fn arm(&self, at: Duration, host: &impl SharedData) {
        self.armed.set(Some(at));
        // Envoy cuts off what is less than a millisecond, and would call too early.
        let wait = at.saturating_sub(host.uptime()).saturating_add(Duration::from_micros(999));
        host.set_timer(Some(wait));
    }
}
