//! curl as the client, with its exit codes, and certificates from the openssl command.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Result of curl.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; 0 is a complete response, 35 a handshake that failed
    pub code: i32,
    /// The status of the response, 0 without one
    pub status: u16,
    /// The body
    pub body: String,
}

/// Runs curl with these arguments.
async fn curl(arguments: &[&str]) -> Outcome {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--noproxy", "*", "--max-time", "10", "--write-out", "\n%{http_code}"])
        .args(arguments);
    let output = run(command, "curl").await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status on a line of its own");
    let status = status.parse().expect("a status");
    Outcome { code: output.status.code().unwrap_or(-1), status, body: body.to_owned() }
}

/// A certificate for some names with its key, and the file of it for curl.
pub struct Certificate {
    directory: TempDir,
    /// The certificate, in PEM
    pub chain: String,
    /// Its key, in PEM
    pub key: String,
}

impl Certificate {
    /// Creates a self-signed certificate.
    pub async fn new(names: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "1", "-subj", "/CN=test", "-keyout", "key", "-out", "chain"])
            .args(["-addext", &format!("subjectAltName={}", names.join(","))])
            .current_dir(directory.path());
        let output = run(command, "openssl").await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let (chain, key) = (read("chain"), read("key"));
        Self { directory, chain, key }
    }

    /// Requests `https://NAME/` at an address and port, with further arguments for curl.
    pub async fn get(&self, name: &str, address: Ipv4Addr, port: u16, more: &[&str]) -> Outcome {
        let chain = self.directory.path().join("chain");
        let connect = format!("::{address}:{port}");
        let url = format!("https://{name}/");
        let arguments = ["--cacert", chain.to_str().unwrap(), "--connect-to", &connect, &url];
        curl(&[&arguments, more].concat()).await
    }
}

async fn run(mut command: Command, package: &str) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    output.unwrap_or_else(|error| panic!("{error}; install the package {package}"))
}
