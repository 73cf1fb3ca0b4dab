//! The programs of a scenario, from the files that stand in the repository.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

use crate::envoy::Envoy;
use crate::files;
use crate::nginx::Nginx;

/// Runs configurations of the repository as they stand, only on a loopback address of its own in
/// place of 127.0.0.1: the ports in the files stay, and are free there.
pub struct Scenario {
    address: String,
    folder: Option<(String, String)>,
}

impl Scenario {
    /// A scenario with an address that no other has.
    pub fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        Self::at(&format!("127.{high}.{low}.{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A scenario with this address.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), folder: None }
    }

    /// Puts another folder in the place of the one that the files call `name`.
    pub fn with_folder(self, name: &str, folder: &Path) -> Self {
        Self { folder: Some((name.to_owned(), folder.display().to_string())), ..self }
    }

    /// Starts an Envoy and waits until it serves. Of its access log there is the text.
    ///
    /// # Panics
    /// When it does not start. The message has the end of its log.
    pub async fn envoy(&self, file: &str) -> Envoy {
        self.envoy_of(&self.text(file), 2).await
    }

    /// Starts an Envoy with this configuration and waits until it serves.
    ///
    /// # Panics
    /// When it does not start. The message has the end of its log.
    pub async fn envoy_of(&self, configuration: &str, workers: u32) -> Envoy {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("envoy.yaml"), configuration).unwrap();
        Envoy::run_file("envoy.yaml", directory, workers).await
    }

    /// Starts an NGINX and waits until it serves on `port`.
    ///
    /// # Panics
    /// When it does not start. The message says why.
    pub async fn nginx(&self, file: &str, port: u16) -> Nginx {
        // Its own files are for its own folder.
        let text =
            self.text(file).replace(&format!("{}/nginx", files::modules().display()), "nginx");
        Nginx::start(&text, self.address(port)).await
    }

    /// Where a program of the scenario listens.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.parse().unwrap(), port)
    }

    /// The file with this scenario's address and folder, and with the built files where they are.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn text(&self, file: &str) -> String {
        let text = std::fs::read_to_string(files::workspace().join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let modules = format!("{}/", files::modules().display());
        // The folder's own path may have a dist/ in it.
        let text = text.replace("../../../dist/", "dist/");
        let (name, folder) = self.folder.clone().unwrap_or_else(|| ("\0".into(), String::new()));
        let parts = text.split(&name).map(|part| part.replace("dist/", &modules));
        parts.collect::<Vec<_>>().join(&folder).replace("127.0.0.1", &self.address)
    }

    /// The text with this scenario's address and folder.
    pub fn own(&self, text: &str) -> String {
        let text = text.replace("127.0.0.1", &self.address);
        match &self.folder {
            Some((name, folder)) => text.replace(name, folder),
            None => text,
        }
    }

    /// The text as it would be at 127.0.0.1: undoes [`own`](Self::own).
    pub fn disown(&self, text: &str) -> String {
        let text = text.replace(&self.address, "127.0.0.1");
        match &self.folder {
            Some((name, folder)) => text.replace(folder, name),
            None => text,
        }
    }
}

impl Envoy {
    /// Starts a configuration of the repository, such as `envoy/sandbox.yaml`, as it stands, only
    /// on a loopback address of its own in place of 127.0.0.1: the ports in the file stay, and are
    /// free there. Of the access log there is the text.
    ///
    /// # Panics
    /// When it does not start. The message has the end of its log.
    pub async fn of_file(file: &str) -> Self {
        Scenario::new().envoy(file).await
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}
