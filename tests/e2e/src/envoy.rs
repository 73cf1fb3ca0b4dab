//! Running a real Envoy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::address::socket_address;
use crate::client::{Client, Response};
use crate::config::{Bootstrap, OUTLIER_EVENTS, write_listeners};
use crate::endpoints::Endpoints;
use crate::listener::Listener;
use crate::process::{CommandLine, Process, read};
use crate::wait::until;

/// A running Envoy. It ends when this is dropped, or at the latest when the test process ends.
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
}

/// An Envoy that ended before it served.
#[derive(Debug)]
pub struct StartFailure {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its complete log.
    pub log: String,
}

/// A host of a cluster, as Envoy's admin interface shows it.
#[derive(Clone, Debug)]
pub struct HostStatus {
    /// Its address.
    pub address: SocketAddr,
    /// Whether Envoy's own outlier detection has ejected it.
    pub is_ejected: bool,
    /// Whether it fails active health checks.
    pub fails_checks: bool,
}

impl Envoy {
    /// Starts an Envoy and waits until it serves.
    ///
    /// # Panics
    /// If it does not start. The message contains the end of its log.
    pub async fn start(bootstrap: &Bootstrap) -> Self {
        Self::try_start(bootstrap).await.unwrap_or_else(|failure| failure.panic())
    }

    /// Starts an Envoy and waits until it serves, or ends.
    pub async fn try_start(bootstrap: &Bootstrap) -> Result<Self, StartFailure> {
        let directory = TempDir::new().unwrap();
        bootstrap.write(directory.path());
        Self::run("envoy.json", directory, bootstrap.command_line()).await
    }

    /// Starts an Envoy with a configuration in Envoy's format. Waits until it serves, with the
    /// configuration of its control plane if it has one.
    ///
    /// # Panics
    /// If it does not start. The message contains the end of its log.
    pub async fn of_configuration(configuration: &Value) -> Self {
        let started = Self::try_of_configuration(configuration).await;
        started.unwrap_or_else(|failure| failure.panic())
    }

    /// The same, or how Envoy ended.
    pub async fn try_of_configuration(configuration: &Value) -> Result<Self, StartFailure> {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("envoy.json"), configuration.to_string()).unwrap();
        Self::run("envoy.json", directory, CommandLine::default()).await
    }

    /// Starts an Envoy with a file in a directory.
    pub(crate) async fn run_file(file: &str, directory: TempDir, workers: u32) -> Self {
        let settings = CommandLine { workers, ..CommandLine::default() };
        Self::run(file, directory, settings).await.unwrap_or_else(|failure| failure.panic())
    }

    async fn run(
        file: &str,
        directory: TempDir,
        settings: CommandLine,
    ) -> Result<Self, StartFailure> {
        let mut process = Process::spawn(file, directory, settings);
        let admin = until("Envoy opens its admin port", async || {
            if let Some(status) = process.ended() {
                return Some(Err(status));
            }
            let address = std::fs::read_to_string(process.directory.path().join("admin")).ok()?;
            address.parse().ok().map(Ok)
        });
        let admin = match admin.await {
            Ok(admin) => admin,
            Err(status) => {
                return Err(StartFailure { status, log: process.log() });
            }
        };
        let ready = until("Envoy is ready", async || {
            if let Some(status) = process.ended() {
                return Some(Err(status));
            }
            (get(admin, "/ready").await.ok()?.status == 200).then_some(Ok(()))
        });
        if let Err(status) = ready.await {
            return Err(StartFailure { status, log: process.log() });
        }
        let listeners = listeners(&get(admin, "/listeners?format=json").await.unwrap().json());
        Ok(Self { process, admin, listeners })
    }

    /// Returns a client of the listener `name`.
    ///
    /// # Panics
    /// If there is none.
    pub fn listener(&self, name: &str) -> Client {
        let mut listeners = self.listeners.iter();
        match listeners.find(|(known, _)| known == name) {
            Some((_, address)) => Client::new(*address),
            None => panic!("no listener {name} in {:?}", self.listeners),
        }
    }

    /// Returns whether Envoy has a listener `name`: it may have refused the configuration.
    pub fn has_listener(&self, name: &str) -> bool {
        self.listeners.iter().any(|(known, _)| known == name)
    }

    /// Replaces the [dynamic](Bootstrap::dynamic_listeners) listeners and waits until Envoy accepts
    /// or refuses the new ones. Returns whether it accepted them.
    pub async fn update(&self, listeners: &[Listener]) -> bool {
        const TAKEN: &str = "listener_manager.lds.update_success";
        const REFUSED: &str = "listener_manager.lds.update_rejected";
        let before = (self.stat(TAKEN).await, self.stat(REFUSED).await);
        write_listeners(self.process.directory.path(), listeners);
        until("Envoy accepts or refuses the listeners", async || {
            let after = (self.stat(TAKEN).await, self.stat(REFUSED).await);
            (after != before).then_some(after.0 > before.0)
        })
        .await
    }

    /// Replaces the endpoints of [dynamic clusters](Bootstrap::dynamic_cluster), all at once, and
    /// waits until Envoy has read them.
    pub async fn update_endpoints(&self, clusters: &[(&str, &Endpoints)]) {
        let updates = async || {
            let stats = self.admin("/stats?format=json&filter=update_success$").await.json();
            let stats = stats["stats"].as_array().cloned().unwrap_or_default();
            let update = |cluster: &str| {
                let name = format!("cluster.{cluster}.update_success");
                let stat = stats.iter().find(|stat| stat["name"] == *name);
                stat.and_then(|stat| stat["value"].as_u64())
            };
            clusters.iter().map(|(cluster, _)| update(cluster)).collect::<Vec<_>>()
        };
        let before = updates().await;
        for (cluster, endpoints) in clusters {
            endpoints.write(self.process.directory.path(), cluster);
        }
        until("Envoy reads the endpoints", async || {
            let after = updates().await;
            before.iter().zip(&after).all(|(before, after)| before < after).then_some(())
        })
        .await;
    }

    /// Returns the hosts of a cluster, with their health.
    pub async fn hosts(&self, cluster: &str) -> Vec<HostStatus> {
        let target = format!("/clusters?format=json&filter=^{cluster}$");
        let clusters = self.admin(&target).await.json();
        let clusters = clusters["cluster_statuses"].as_array().into_iter().flatten();
        let mut clusters = clusters.filter(|status| status["name"] == cluster);
        let hosts = clusters.next().expect("the cluster")["host_statuses"].as_array().cloned();
        let hosts = hosts.into_iter().flatten().map(|host| {
            let health = &host["health_status"];
            HostStatus {
                address: socket_address(&host["address"]).expect("an address"),
                is_ejected: health["failed_outlier_check"] == true,
                fails_checks: health["failed_active_health_check"] == true,
            }
        });
        hosts.collect()
    }

    /// Sends a GET request to the admin interface.
    pub async fn admin(&self, target: &str) -> Response {
        get(self.admin, target).await.unwrap()
    }

    /// Returns a client of the administration interface.
    pub fn admin_client(&self) -> Client {
        Client::new(self.admin)
    }

    /// Returns whether its version begins with `series`, such as `1.36.`.
    pub async fn is_of(&self, series: &str) -> bool {
        let info = self.admin("/server_info").await.json();
        // COMMIT/VERSION/...
        let version = info["version"].as_str().and_then(|version| version.split('/').nth(1));
        version.expect("a version").starts_with(series)
    }

    /// Returns the value of a counter or gauge; 0 if there is none with this name.
    pub async fn stat(&self, name: &str) -> u64 {
        // A regular expression that matches a few names at most. All of them would take long to
        // read if there are many clusters.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let pattern: String = name.chars().map(|c| if is_plain(c) { c } else { '.' }).collect();
        let stats = self.admin(&format!("/stats?format=json&filter=^{pattern}$")).await.json();
        let stats = stats["stats"].as_array().expect("a list of stats");
        let stat = stats.iter().find(|stat| stat["name"] == name);
        stat.and_then(|stat| stat["value"].as_u64()).unwrap_or(0)
    }

    /// Returns the resident memory of the process, in bytes.
    pub fn resident_memory(&self) -> u64 {
        self.process.resident_memory()
    }

    /// Returns the processor time of all threads of the process so far.
    pub fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// Sends SIGTERM, waits until the process has ended, and returns its status and its log.
    pub async fn terminate(self) -> (ExitStatus, String) {
        self.process.terminate();
        self.ended().await
    }

    /// Waits until the process has ended by itself, and returns its status and its log.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let status = until("Envoy ends", async || self.process.ended()).await;
        (status, self.process.log())
    }

    /// Returns the number by which a new process replaces this one in a
    /// [hot restart](crate::HotRestart).
    ///
    /// # Panics
    /// If it is not the first process of one.
    pub fn base_id(&self) -> u32 {
        self.process.base_id().expect("HotRestart::First")
    }

    /// Binds all its threads to one processor.
    ///
    /// # Panics
    /// If this process may not use the processor.
    pub fn run_on(&self, processor: usize) {
        self.process.run_on(processor);
    }

    /// Returns its output files: the log, and the standard output with the access log.
    pub fn files(&self) -> (PathBuf, PathBuf) {
        let directory = self.process.directory.path();
        (directory.join("log"), directory.join("stdout"))
    }

    /// Returns the log of Envoy and the modules so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns the log lines about panics and traps of modules.
    pub fn traps(&self) -> Vec<String> {
        traps(&self.log())
    }

    /// Waits for the access log entry of the request with this path, and returns it.
    pub async fn access_log(&self, path: &str) -> Value {
        until(&format!("the access log shows {path}"), async || {
            let log = self.access_log_text();
            let mut lines = log.lines().map(|line| serde_json::from_str(line).unwrap_or_default());
            lines.find(|line: &Value| line["path"] == path)
        })
        .await
    }

    /// Returns the events of Envoy's own outlier detection, one JSON object per line.
    pub fn outlier_events(&self) -> String {
        read(&self.process.directory.path().join(OUTLIER_EVENTS))
    }

    /// Returns the access log so far.
    pub fn access_log_text(&self) -> String {
        read(&self.process.directory.path().join("stdout"))
    }
}

impl StartFailure {
    /// Returns the log lines about panics and traps of modules.
    pub fn traps(&self) -> Vec<String> {
        traps(&self.log)
    }

    fn panic(&self) -> ! {
        let lines: Vec<_> = self.log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        panic!("Envoy ended ({}). The end of its log:\n{tail}", self.status);
    }
}

async fn get(admin: SocketAddr, target: &str) -> Result<Response, String> {
    let client = Client::new(admin);
    // Envoy may write the address before it accepts connections, and end after it did.
    let mut connection = client.try_connect().await.map_err(|error| error.to_string())?;
    connection.try_send(client.get(target)).await
}

fn traps(log: &str) -> Vec<String> {
    const SIGNS: [&str; 2] = ["panicked at", "Uncaught RuntimeError"];
    let trap = |line: &&str| SIGNS.iter().any(|sign| line.contains(sign));
    log.lines().filter(trap).map(str::to_owned).collect()
}

fn listeners(status: &Value) -> Vec<(String, SocketAddr)> {
    let listener = |status: &Value| {
        Some((status["name"].as_str()?.to_owned(), socket_address(&status["local_address"])?))
    };
    let listeners = status["listener_statuses"].as_array().into_iter().flatten();
    listeners.filter_map(listener).collect()
}
