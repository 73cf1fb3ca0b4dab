//! A real istiod without Kubernetes: it reads its configuration from a folder and serves xDS in
//! plaintext on the loopback device.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use sluice_e2e::{Client, until, workspace};
use tempfile::TempDir;

use crate::background::Background;

/// Disables features that Envoy's releases do not have. The README lists the reasons.
pub const FEATURES: [(&str, &str); 2] =
    [("PILOT_ENABLE_ALPN_FILTER", "false"), ("PILOT_ENABLE_METADATA_EXCHANGE", "false")];

/// Disables features that require Kubernetes or certificates.
const ALONE: [(&str, &str); 3] =
    [("ENABLE_CA_SERVER", "false"), ("PILOT_CERT_PROVIDER", "none"), ("XDS_AUTH", "false")];

/// A running istiod. It ends as a [`Background`] does.
pub struct Istiod {
    process: Background,
    _directory: TempDir,
    xds: u16,
}

/// Path of the program, installed by `tools/setup.sh istio`.
pub fn program() -> PathBuf {
    workspace().join(".tools/istio/bin/istiod")
}

impl Istiod {
    /// Starts an istiod and waits until it serves. Each string of the configuration is a file with
    /// one or more YAML documents.
    ///
    /// # Panics
    /// If it does not start. The message contains its log.
    pub async fn start(configuration: &[String]) -> Self {
        for _ in 0..5 {
            match Self::try_start(configuration).await {
                Ok(istiod) => return istiod,
                // Another program took one of its ports in the meantime.
                Err(log) if log.contains("address already in use") => {}
                Err(log) => panic!("istiod ended:\n{log}"),
            }
        }
        panic!("no free ports for istiod");
    }

    /// Starts it, or returns its log if it ends.
    async fn try_start(configuration: &[String]) -> Result<Self, String> {
        let directory = TempDir::new().unwrap();
        let folder = directory.path().join("configuration");
        std::fs::create_dir(&folder).unwrap();
        for (index, text) in configuration.iter().enumerate() {
            std::fs::write(folder.join(format!("{index:03}.yaml")), text).unwrap();
        }
        let mesh = directory.path().join("mesh");
        std::fs::write(&mesh, mesh_configuration().to_string()).unwrap();
        let [xds, http, monitoring] = free_ports();
        let local = |port: u16| format!("127.0.0.1:{port}");
        let process = Background::start(
            Command::new(program())
                .args(["--grpcAddr", &local(xds), "--httpAddr", &local(http)])
                .args(["--monitoringAddr", &local(monitoring)])
                .arg("--configDir")
                .arg(&folder)
                .arg("--meshConfig")
                .arg(&mesh)
                .envs(FEATURES)
                .envs(ALONE)
                .current_dir(directory.path()),
            directory.path().join("log"),
        );
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
        let mut istiod = Self { process, _directory: directory, xds };
        let ready = until("istiod is ready", async || {
            if istiod.process.has_ended() {
                return Some(Err(istiod.log()));
            }
            tokio::net::TcpStream::connect(http).await.ok()?;
            let client = Client::new(http);
            let response = client.connect().await.try_send(client.get("/ready")).await;
            (response.ok()?.status == 200).then_some(Ok(()))
        });
        ready.await.map(|()| istiod)
    }

    /// Returns the port of its xDS service on the loopback device.
    pub fn xds_port(&self) -> u16 {
        self.xds
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns the log lines about configuration that istiod or a proxy refused.
    pub fn complaints(&self) -> Vec<String> {
        const SIGNS: [&str; 5] = ["ACK ERROR", "NACK", "skipping", "panic", "invalid"];
        let sign = |line: &&str| SIGNS.iter().any(|sign| line.contains(sign));
        self.log().lines().filter(sign).map(str::to_owned).collect()
    }
}

/// The defaults of an installation, without telemetry.
fn mesh_configuration() -> Value {
    json!({
        "rootNamespace": "istio-system",
        "trustDomain": "cluster.local",
        "enableAutoMtls": false,
        "enableTracing": false,
        "enablePrometheusMerge": false,
        "defaultProviders": {},
        "defaultConfig": { "discoveryAddress": "127.0.0.1:15010" },
    })
}

fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let sockets = [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}
