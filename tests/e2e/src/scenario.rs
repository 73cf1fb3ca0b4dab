//! The programs of a scenario, from the files that stand in the repository.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

use crate::files;
use crate::{Envoy, Nginx};

/// Runs configurations of the repository as they stand, only on a loopback address of its own in place of 127.0.0.1: the
/// ports in the files stay, and are free there.
pub struct Scenario {
    address: String,
}

impl Scenario {
    /// A scenario with an address that no other has.
    pub fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        Self { address: format!("127.{high}.{low}.{}", COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// Starts an Envoy and waits until it serves. Of its access log there is the text.
    ///
    /// # Panics
    /// When it does not start. The message has the end of its log.
    pub async fn envoy(&self, file: &str) -> Envoy {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("envoy.yaml"), self.text(file)).unwrap();
        Envoy::run_file("envoy.yaml", directory).await
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

    /// The file with this scenario's address, and with the built files where they are.
    fn text(&self, file: &str) -> String {
        let text = std::fs::read_to_string(files::workspace().join(file)).unwrap();
        text.replace("127.0.0.1", &self.address)
            .replace("../../../dist/", "dist/")
            .replace("dist/", &format!("{}/", files::modules().to_str().unwrap()))
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}
