//! The filter on one worker: the clusters of its streams, and the timer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use sluice_host::host::PluginHost;
use sluice_host::random::Random;
use sluice_host::shared_data::SharedData;
use sluice_policy::bytes;
use sluice_policy::outlier::Outliers;

use crate::metrics::Metrics;
use crate::monitor::Monitor;
use crate::state::UpdateContext;

/// How many clusters are kept. Clients may name many clusters that do not exist.
const MAX_CLUSTERS: usize = 10_000;

/// The monitors by cluster; `None` for a cluster without outlier detection.
type Clusters = HashMap<Box<[u8]>, Option<Rc<Monitor>>>;

/// What all streams of a plugin share on a worker.
#[derive(Debug)]
pub struct Worker {
    outliers: Outliers,
    /// The metrics
    pub metrics: Metrics,
    /// Draws for ejections and for the hosts of requests
    pub random: Random,
    /// When the plugin was configured
    configured: Duration,
    clusters: RefCell<Clusters>,
    /// The monitor that was used last. A plugin in a cluster always uses the same one
    last: RefCell<Option<Rc<Monitor>>>,
    rotation: Cell<usize>,
    armed: Cell<Option<Duration>>,
    /// Whether the plugin is in a cluster; unknown before the first stream
    pub(crate) is_in_cluster: Cell<Option<bool>>,
}

/// The `root_id` of the plugin in a cluster.
pub const IN_CLUSTER: &str = "upstream";

impl Worker {
    /// The filter of a worker, whose plugin is configured now.
    pub fn with_policy(outliers: Outliers, host: &impl PluginHost) -> Self {
        Self {
            outliers,
            metrics: Metrics::define(host),
            random: Random::default(),
            configured: host.uptime(),
            clusters: RefCell::default(),
            last: RefCell::default(),
            rotation: Cell::default(),
            armed: Cell::default(),
            is_in_cluster: Cell::default(),
        }
    }

    /// Whether the plugin is in a cluster: its `root_id` says so. Otherwise the first stream shows
    /// it, as Envoy has chosen a host before the filters of a cluster run. Only streams may call
    /// this.
    pub fn is_in_cluster(&self, host: &impl SharedData) -> bool {
        if let Some(known) = self.is_in_cluster.get() {
            return known;
        }
        let root_id = host.property(&["plugin_root_id"]);
        let is_declared = root_id.as_deref() == Some(IN_CLUSTER.as_bytes());
        let has_host = host.property(&["upstream", "address"]).is_some();
        if has_host && !is_declared {
            log::error!("outlier error=\"in a cluster the plugin needs root_id: {IN_CLUSTER}\"");
        }
        self.is_in_cluster.set(Some(is_declared || has_host));
        is_declared || has_host
    }

    /// What an update of a cluster's state needs.
    pub fn update_context(&self) -> UpdateContext<'_> {
        UpdateContext { metrics: &self.metrics, random: &self.random }
    }

    /// Returns a number that is higher by one with each call.
    pub fn rotate(&self) -> usize {
        let rotation = self.rotation.get();
        self.rotation.set(rotation.wrapping_add(1));
        rotation
    }

    /// Returns the monitor of a cluster, or `None` if the cluster has no outlier detection.
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
            // The ones in use come back, and lose nothing that other workers need.
            clusters.clear();
        }
        clusters.insert(cluster.into(), monitor.clone());
        drop(clusters);
        // So that it is never one that has been dropped.
        self.last.borrow_mut().clone_from(&monitor);
        if let Some(monitor) = &monitor {
            // Its interval may have ended long ago, and hosts may have to return before the first
            // request.
            drop(monitor.view(host));
            monitor.tick(self.update_context(), host);
        }
        monitor
    }

    /// Ends the intervals of all clusters where it is time for that, and arms the timer again.
    pub fn tick(&self, host: &impl SharedData) {
        self.armed.set(None);
        let monitors: Vec<_> = self.clusters.borrow().values().flatten().cloned().collect();
        monitors.iter().for_each(|monitor| monitor.tick(self.update_context(), host));
        let next = monitors.iter().filter_map(|monitor| monitor.next_wake()).min();
        match next {
            Some(next) => self.arm(next, host),
            None => host.set_timer(None),
        }
    }

    /// Arms the timer for the next tick of a cluster, unless it expires before that.
    pub fn arm_for(&self, monitor: &Monitor, host: &impl SharedData) {
        if let Some(wake) = monitor.next_wake()
            && self.armed.get().is_none_or(|armed| wake < armed)
        {
            self.arm(wake, host);
        }
    }

    fn arm(&self, at: Duration, host: &impl SharedData) {
        self.armed.set(Some(at));
        // Envoy truncates to whole milliseconds, and would call too early.
        let wait = at.saturating_sub(host.uptime()).saturating_add(Duration::from_micros(999));
        host.set_timer(Some(wait));
    }
}
