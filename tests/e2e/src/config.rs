//! Envoy's configuration for a test.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::address::socket;
use crate::attach::{bootstrap_extensions, is_native};
use crate::cluster::Cluster;
use crate::endpoints::Endpoints;
use crate::listener::{Listener, loopback};
use crate::process::{CommandLine, HotRestart};

/// The configuration of an Envoy: listeners, each with its own plugin configuration, and shared
/// clusters.
///
/// A listener costs little, so each case of a table can have its own in one Envoy.
#[derive(Clone)]
pub struct Bootstrap {
    clusters: Vec<Cluster>,
    dynamic_listeners: bool,
    listeners: Vec<Listener>,
    raw_listeners: Vec<Value>,
    node_metadata: Value,
    runtime: Value,
    workers: u32,
    drain_time: Duration,
    hot_restart: HotRestart,
    settings: Vec<(String, Value)>,
}

/// The event log of Envoy's own outlier detection.
pub(crate) const OUTLIER_EVENTS: &str = "outliers";

/// Returns a configuration of the router: one VirtualService for all hosts with these rules
/// (`http`). Cluster names are `HOST-SUBSET`, or `HOST` if the destination has no subset.
pub fn any_host(http: Value) -> Value {
    json!({
        "clusterName": "{host}[-{subset}]",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": http }],
    })
}

impl Bootstrap {
    /// Creates a configuration without listeners and clusters, with one worker.
    pub fn new() -> Self {
        Self {
            clusters: Vec::new(),
            dynamic_listeners: false,
            listeners: Vec::new(),
            raw_listeners: Vec::new(),
            node_metadata: json!({}),
            runtime: json!({}),
            workers: CommandLine::default().workers,
            drain_time: CommandLine::default().drain_time,
            hot_restart: HotRestart::Disabled,
            settings: Vec::new(),
        }
    }

    /// Sets a field of the bootstrap configuration, in Envoy's format.
    pub fn setting(mut self, field: &str, value: Value) -> Self {
        self.settings.push((field.to_owned(), value));
        self
    }

    /// Lets filters send requests of their own. Those of wasm modules can anyway.
    pub fn calling(self) -> Self {
        match is_native() {
            true => self.setting("bootstrap_extensions", bootstrap_extensions()),
            false => self,
        }
    }

    /// Adds a listener.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Adds a listener in Envoy's format, without an address: it gets a free port. [Dynamic
    /// listeners](Self::dynamic_listeners) do not include it.
    pub fn raw_listener(mut self, mut listener: Value) -> Self {
        listener["address"] = loopback();
        self.raw_listeners.push(listener);
        self
    }

    /// Adds a listener in Envoy's format that is bound to all addresses of this machine, including
    /// all of 127.0.0.0/8.
    pub fn wildcard_listener(mut self, mut listener: Value) -> Self {
        listener["address"] = socket(SocketAddr::from(([0, 0, 0, 0], 0)));
        self.raw_listeners.push(listener);
        self
    }

    /// Adds a cluster. The name may have Istio's form, with bars.
    pub fn cluster(mut self, name: &str, endpoints: &[SocketAddr]) -> Self {
        let endpoints = Endpoints::of(endpoints.iter().copied());
        let name = name.to_owned();
        self.clusters.push(Cluster { name, endpoints, ..Cluster::default() });
        self
    }

    /// Adds a cluster of one endpoint that speaks HTTP/2, as gRPC servers do.
    pub fn http2_cluster(mut self, name: &str, endpoint: SocketAddr) -> Self {
        self.clusters.push(Cluster {
            name: name.to_owned(),
            endpoints: Endpoints::of([endpoint]),
            http2: true,
            ..Cluster::default()
        });
        self
    }

    /// Adds a cluster whose endpoints can change, with
    /// [`Envoy::update_endpoints`](crate::Envoy::update_endpoints).
    pub fn dynamic_cluster(mut self, name: &str, endpoints: Endpoints) -> Self {
        let name = name.to_owned();
        self.clusters.push(Cluster { name, endpoints, is_dynamic: true, ..Cluster::default() });
        self
    }

    /// Sets a field of the last cluster, in Envoy's format.
    pub fn cluster_setting(mut self, field: &str, value: Value) -> Self {
        self.last_cluster().settings.push((field.to_owned(), value));
        self
    }

    /// Sets the load balancing policy of the last cluster, in Envoy's format (`RoundRobin`). If it
    /// [takes hosts](Self::takes_hosts), this policy chooses among all hosts.
    pub fn round_robin(mut self, settings: Value) -> Self {
        self.last_cluster().round_robin = Some(settings);
        self
    }

    /// Adds a filter to the last cluster, as an upstream filter, from its wasm module.
    pub fn upstream_plugin(mut self, filter: &str, configuration: &Value) -> Self {
        self.last_cluster().plugin = Some((filter.to_owned(), configuration.to_string()));
        self
    }

    /// Adds a filter to the last cluster, as an upstream filter, from the dynamic module.
    pub fn native_upstream_plugin(self, filter: &str, configuration: &Value) -> Self {
        let mut with = self.upstream_plugin(filter, configuration);
        with.last_cluster().is_native = true;
        with
    }

    /// Makes the load balancer of the last cluster use the hosts in `x-sluice-host`; without the
    /// header, hosts are used in turn.
    pub fn takes_hosts(mut self) -> Self {
        self.last_cluster().takes_hosts = true;
        self
    }

    /// Adds the outlier filter to the last cluster, and [`takes_hosts`](Self::takes_hosts).
    pub fn outlier_plugin(self, configuration: &Value) -> Self {
        self.takes_hosts().upstream_plugin("outlier", configuration)
    }

    /// Enables Envoy's own outlier detection for the last cluster. Its events are in
    /// [`Envoy::outlier_events`](crate::Envoy::outlier_events).
    pub fn outlier_detection(mut self, settings: Value) -> Self {
        self.last_cluster().outlier_detection = Some(settings);
        self
    }

    /// Adds the outlier filter to the last cluster, where it marks failures, and Envoy's own
    /// outlier detection, which counts the marks and 5xx.
    pub fn marked_outlier_detection(self, configuration: &Value, settings: Value) -> Self {
        let mut with = self.upstream_plugin("outlier", configuration).outlier_detection(settings);
        with.last_cluster().counts_marks = true;
        with.last_cluster().is_native = is_native();
        with
    }

    fn last_cluster(&mut self) -> &mut Cluster {
        self.clusters.last_mut().expect("a cluster")
    }

    /// Writes the listeners to a file that Envoy watches, for
    /// [`Envoy::update`](crate::Envoy::update).
    pub fn dynamic_listeners(self) -> Self {
        Self { dynamic_listeners: true, ..self }
    }

    /// Sets the metadata of the node, in which Istio stores the labels and the namespace of a
    /// workload.
    pub fn node_metadata(self, node_metadata: Value) -> Self {
        Self { node_metadata, ..self }
    }

    /// Sets values of Envoy's runtime.
    pub fn runtime(self, runtime: Value) -> Self {
        Self { runtime, ..self }
    }

    /// Sets the number of worker threads.
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// Sets how long Envoy keeps a listener that was replaced, instead of ten minutes.
    pub fn drain_time(self, drain_time: Duration) -> Self {
        Self { drain_time, ..self }
    }

    /// Lets the Envoy take part in a hot restart. Its listeners need [ports](Listener::port).
    pub fn hot_restart(self, hot_restart: HotRestart) -> Self {
        Self { hot_restart, ..self }
    }

    /// Returns the settings of Envoy's command line.
    pub(crate) fn command_line(&self) -> CommandLine {
        let Self { workers, drain_time, hot_restart, .. } = *self;
        CommandLine { workers, drain_time, hot_restart }
    }

    /// Writes `envoy.json`, and files for dynamic listeners and clusters, into `directory`.
    pub(crate) fn write(&self, directory: &Path) {
        for cluster in self.clusters.iter().filter(|cluster| cluster.is_dynamic) {
            cluster.endpoints.write(directory, &cluster.name);
        }
        let clusters: Vec<_> = self.clusters.iter().map(Cluster::to_json).collect();
        let mut bootstrap = json!({
            "node": { "id": "e2e", "cluster": "e2e", "metadata": self.node_metadata },
            "admin": { "address": loopback() },
            "layered_runtime": { "layers": [{ "name": "test", "static_layer": self.runtime }] },
            "static_resources": { "clusters": clusters },
            "cluster_manager": { "outlier_detection": { "event_log_path": OUTLIER_EVENTS } },
        });
        for (field, value) in &self.settings {
            bootstrap[field] = value.clone();
        }
        if self.dynamic_listeners {
            let file = write_listeners(directory, &self.listeners);
            bootstrap["dynamic_resources"] = json!({ "lds_config": {
                "resource_api_version": "V3",
                "path_config_source": { "path": file },
            } });
        } else {
            let listeners = self.listeners.iter().map(Listener::to_json);
            let listeners: Vec<_> = listeners.chain(self.raw_listeners.iter().cloned()).collect();
            bootstrap["static_resources"]["listeners"] = listeners.into();
        }
        std::fs::write(directory.join("envoy.json"), bootstrap.to_string()).unwrap();
    }
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes `lds.json`. Envoy reads it when a file is moved there, so it never reads a partial file.
pub(crate) fn write_listeners(directory: &Path, listeners: &[Listener]) -> std::path::PathBuf {
    let resources: Vec<_> = listeners
        .iter()
        .map(|listener| {
            let mut resource = listener.to_json();
            resource["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
            resource
        })
        .collect();
    let (new, file) = (directory.join("lds.json.new"), directory.join("lds.json"));
    std::fs::write(&new, json!({ "resources": resources }).to_string()).unwrap();
    std::fs::rename(&new, &file).unwrap();
    file
}
