//! The filter on one worker: the clusters of its streams, and the timer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sluice_host::host::PluginHost;
use sluice_host::random::Random;
use sluice_host::shared_data::SharedData;
use sluice_policy::bytes;
use sluice_policy::outlier::Outliers;
use sluice_policy::spec::outlier::Enforcement;
use sluice_policy::spec::outlier_detection::Settings;

use crate::metrics::Metrics;
use crate::monitor::Monitor;
use crate::state::{FRESH, UpdateContext};
use crate::warnings;

/// How many clusters are kept. Clients may name many clusters that do not exist.
const MAX_CLUSTERS: usize = 10_000;

/// The outlier detection of a cluster.
#[derive(Clone, Debug)]
pub enum Detection {
    /// Envoy counts and ejects. The filter marks failures for it.
    Marks(Arc<Settings>),
    /// The filter counts and ejects.
    Counts(Rc<Monitor>),
}

impl Detection {
    /// The monitor of the cluster, if the filter ejects its hosts.
    pub fn monitor(&self) -> Option<Rc<Monitor>> {
        match self {
            Self::Counts(monitor) => Some(Rc::clone(monitor)),
            Self::Marks(_) => None,
        }
    }
}

/// A cluster, and its outlier detection if it has one.
#[derive(Debug)]
struct Cluster {
    name: Box<[u8]>,
    detection: Option<Detection>,
}

/// The detections by cluster; `None` for a cluster without outlier detection.
type Clusters = HashMap<Box<[u8]>, Option<Detection>>;

/// What all streams of a plugin share on a worker.
#[derive(Debug)]
pub struct Worker {
    outliers: Arc<Outliers>,
    /// The metrics
    pub metrics: Metrics,
    /// Draws for ejections and for the hosts of requests
    pub random: Random,
    /// When the plugin was configured
    configured: Duration,
    clusters: RefCell<Clusters>,
    /// The cluster that was used last. A plugin in a cluster always uses the same one
    last: RefCell<Option<Cluster>>,
    rotation: Cell<usize>,
    /// Whether this worker has found out that it is not needed in the listener
    pub(crate) is_needless: Cell<bool>,
    armed: Cell<Option<Duration>>,
    /// Whether the plugin is in a cluster; unknown before the first stream
    pub(crate) is_in_cluster: Cell<Option<bool>>,
    /// The cluster that the plugin's `root_id` names, while no attempt contradicts it
    named: RefCell<Option<Box<[u8]>>>,
    /// Until when attempts are in the named cluster without a question to Envoy
    named_until: Cell<Duration>,
}

/// The `root_id` of the plugin in a cluster. The name of the cluster may follow, after a slash.
const IN_CLUSTER: &str = "upstream";

impl Worker {
    /// The filter of a worker, whose plugin is configured now.
    pub fn with_policy(outliers: Arc<Outliers>, host: &impl PluginHost) -> Self {
        Self {
            outliers,
            metrics: Metrics::define(host),
            random: Random::default(),
            configured: host.uptime(),
            clusters: RefCell::default(),
            last: RefCell::default(),
            rotation: Cell::default(),
            is_needless: Cell::default(),
            armed: Cell::default(),
            is_in_cluster: Cell::default(),
            named: RefCell::default(),
            named_until: Cell::default(),
        }
    }

    /// Whether the plugin is in a cluster: its `root_id` says so. Otherwise the first stream shows
    /// it, as Envoy has chosen a host before the filters of a cluster run. A dynamic module has no
    /// `root_id`. Only streams may call this.
    pub fn is_in_cluster<H: SharedData>(&self, host: &H) -> bool {
        if let Some(known) = self.is_in_cluster.get() {
            return known;
        }
        let root = if H::IS_NATIVE { None } else { host.property(&["plugin_root_id"]) };
        let after = root.as_deref().and_then(|root| root.strip_prefix(IN_CLUSTER.as_bytes()));
        let named = after.and_then(|rest| rest.strip_prefix(b"/"));
        let is_declared = named.is_some() || after.is_some_and(<[u8]>::is_empty);
        *self.named.borrow_mut() = named.map(Box::from);
        let has_host = host.property(&["upstream", "address"]).is_some();
        if has_host && !is_declared && !H::IS_NATIVE {
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

    /// Returns the outlier detection of the cluster of an attempt that begins `now`.
    ///
    /// Envoy's answer to the question for the cluster costs as much as all else that the filter
    /// does at this time. If the `root_id` names the cluster, it is asked once a millisecond, since
    /// plugins with equal configurations in several clusters are one.
    pub fn detection_of_attempt(&self, now: Duration, host: &impl SharedData) -> Option<Detection> {
        if now < self.named_until.get() {
            return self.last.borrow().as_ref().and_then(|last| last.detection.clone());
        }
        let cluster = host.property(&["xds", "cluster_name"])?;
        let mut named = self.named.borrow_mut();
        if let Some(name) = named.take() {
            if bytes::equal(&name, &cluster) {
                self.named_until.set(now.saturating_add(FRESH));
                *named = Some(name);
            } else {
                warnings::is_elsewhere(&name, &cluster, host);
            }
        }
        drop(named);
        self.detection(&cluster, host)
    }

    /// Returns the outlier detection of a cluster, or `None` if it has none.
    pub fn detection(&self, cluster: &[u8], host: &impl SharedData) -> Option<Detection> {
        if let Some(last) = &*self.last.borrow()
            && bytes::equal(&last.name, cluster)
        {
            return last.detection.clone();
        }
        let known = self.clusters.borrow().get(cluster).cloned();
        let detection = known.unwrap_or_else(|| self.add(cluster, host));
        // So that it is never one that has been dropped.
        let last = Cluster { name: cluster.into(), detection: detection.clone() };
        *self.last.borrow_mut() = Some(last);
        detection
    }

    /// Adds a cluster, and returns its outlier detection.
    fn add(&self, cluster: &[u8], host: &impl SharedData) -> Option<Detection> {
        let name = std::str::from_utf8(cluster).ok()?;
        let detection =
            self.outliers.target(name).map(|target| match target.settings.enforcement {
                Enforcement::Envoy => Detection::Marks(target.settings),
                Enforcement::Filter => {
                    Detection::Counts(Rc::new(Monitor::new(name, target, self.configured)))
                }
            });
        let mut clusters = self.clusters.borrow_mut();
        if clusters.len() >= MAX_CLUSTERS {
            // The ones in use come back, and lose nothing that other workers need.
            clusters.clear();
        }
        clusters.insert(cluster.into(), detection.clone());
        drop(clusters);
        if let Some(Detection::Counts(monitor)) = &detection {
            // Its interval may have ended long ago, and hosts may have to return before the first
            // request.
            drop(monitor.view(host));
            monitor.tick(self.update_context(), host);
        }
        detection
    }

    /// Ends the intervals of all clusters where it is time for that, and arms the timer again.
    pub fn tick(&self, host: &impl SharedData) {
        self.armed.set(None);
        let monitors: Vec<_> = {
            let clusters = self.clusters.borrow();
            clusters.values().flatten().filter_map(Detection::monitor).collect()
        };
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
