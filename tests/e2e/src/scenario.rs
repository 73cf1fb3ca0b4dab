//! The programs of a scenario, started with the files of the repository.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

use crate::envoy::Envoy;
use crate::files;
use crate::nginx::Nginx;

/// Runs configurations of the repository on a separate loopback address instead of 127.0.0.1, so
/// that the ports in the files are free. Nothing else in the files changes.
pub struct Scenario {
    address: String,
    folder: Option<(String, String)>,
}

impl Scenario {
    /// Creates a scenario with a unique address.
    pub fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        Self::at(&format!("127.{high}.{low}.{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Creates a scenario with this address.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), folder: None }
    }

    /// Replaces the folder `name` in the files by another one.
    pub fn with_folder(self, name: &str, folder: &Path) -> Self {
        Self { folder: Some((name.to_owned(), folder.display().to_string())), ..self }
    }

    /// Starts an Envoy and waits until it serves. Its access log is only available as text.
    ///
    /// # Panics
    /// If it does not start. The message contains the end of its log.
    pub async fn envoy(&self, file: &str) -> Envoy {
        self.envoy_of(&self.text(file), 2).await
    }

    /// Starts an Envoy with this configuration and waits until it serves.
    ///
    /// # Panics
    /// If it does not start. The message contains the end of its log.
    pub async fn envoy_of(&self, configuration: &str, workers: u32) -> Envoy {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("envoy.yaml"), configuration).unwrap();
        Envoy::run_file("envoy.yaml", directory, workers).await
    }

    /// Starts an NGINX and waits until it serves on `port`.
    ///
    /// # Panics
    /// If it does not start. The message contains the reason.
    pub async fn nginx(&self, file: &str, port: u16) -> Nginx {
        // NGINX writes its files to its own folder.
        let text =
            self.text(file).replace(&format!("{}/nginx", files::modules().display()), "nginx");
        Nginx::start(&text, self.address(port)).await
    }

    /// Returns the address of a port of the scenario.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.parse().unwrap(), port)
    }

    /// Returns the text of a file with this scenario's address and folder, and with the real path
    /// of the built files.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn text(&self, file: &str) -> String {
        let text = std::fs::read_to_string(files::workspace().join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let modules = format!("{}/", files::modules().display());
        // The path of the folder itself may contain dist/.
        let text = text.replace("../../../dist/", "dist/");
        let (name, folder) = self.folder.clone().unwrap_or_else(|| ("\0".into(), String::new()));
        let parts = text.split(&name).map(|part| part.replace("dist/", &modules));
        parts.collect::<Vec<_>>().join(&folder).replace("127.0.0.1", &self.address)
    }

    /// Returns the text with this scenario's address and folder.
    pub fn own(&self, text: &str) -> String {
        let text = text.replace("127.0.0.1", &self.address);
        match &self.folder {
            Some((name, folder)) => text.replace(name, folder),
            None => text,
        }
    }

    /// Returns the text with 127.0.0.1 and the original folder: the inverse of [`own`](Self::own).
    pub fn disown(&self, text: &str) -> String {
        let text = text.replace(&self.address, "127.0.0.1");
        match &self.folder {
            Some((name, folder)) => text.replace(folder, name),
            None => text,
        }
    }
}

impl Envoy {
    /// Starts an Envoy with a configuration of the repository, such as `envoy/sandbox.yaml`, in a
    /// new [`Scenario`].
    ///
    /// # Panics
    /// If it does not start. The message contains the end of its log.
    pub async fn of_file(file: &str) -> Self {
        Scenario::new().envoy(file).await
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}
