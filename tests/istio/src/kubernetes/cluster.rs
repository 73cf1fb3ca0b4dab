//! A Kubernetes API: etcd and kube-apiserver, and kubectl as its client.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sluice_e2e::{until, workspace};
use tempfile::TempDir;

use crate::background::Background;

/// The certificate that kube-apiserver makes for itself.
const CERTIFICATE: &str = "certificates/apiserver.crt";
const PORT: u16 = 6443;
const ETCD: &str = "http://127.0.0.1:2379";
/// The token of the administrator.
const TOKEN: &str = "administrator";

/// Path of a program that `tools/setup.sh kubernetes` has installed.
pub fn program(name: &str) -> PathBuf {
    workspace().join(".tools/kubernetes/bin").join(name)
}

/// A running API.
pub struct Cluster {
    _server: Background,
    _etcd: Background,
    directory: TempDir,
}

impl Cluster {
    /// Starts etcd and the API server, and waits until it is ready.
    pub async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        let etcd = Background::start(
            Command::new(program("etcd"))
                .args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD])
                .args(["--listen-peer-urls", "http://127.0.0.1:2380"])
                // What is lost in a crash is not needed.
                .args(["--unsafe-no-fsync", "--data-dir"])
                .arg(path("etcd")),
            path("etcd.log"),
        );
        fs::write(path("tokens"), format!("{TOKEN},admin,1,system:masters\n")).unwrap();
        let key = path("accounts.key");
        run(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"));
        let mut server = Background::start(
            Command::new(program("kube-apiserver"))
                .arg(format!("--etcd-servers={ETCD}"))
                .args(["--bind-address=127.0.0.1", "--advertise-address=10.244.0.1"])
                .arg(format!("--secure-port={PORT}"))
                .arg(format!("--cert-dir={}", path("certificates").display()))
                .arg(format!("--token-auth-file={}", path("tokens").display()))
                .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"])
                .args(["--service-account-issuer=https://kubernetes.default.svc"])
                .arg(format!("--service-account-key-file={}", key.display()))
                .arg(format!("--service-account-signing-key-file={}", key.display()))
                // Nothing creates the tokens that this plugin would mount.
                .args(["--disable-admission-plugins=ServiceAccount"])
                // Webhooks are called at the endpoints of their services, as nothing translates the
                // addresses of services for this process.
                .args(["--enable-aggregator-routing=true", "--endpoint-reconciler-type=none"]),
            path("kube-apiserver.log"),
        );
        let configuration = client_configuration(&path(CERTIFICATE), TOKEN);
        fs::write(path("kubeconfig"), configuration.to_string()).unwrap();
        let cluster = until("the API server is ready", async || {
            server.assert_runs();
            let ready = kubectl(&path("kubeconfig")).args(["get", "--raw", "/readyz"]).output();
            ready.unwrap().status.success().then_some(())
        });
        cluster.await;
        Self { _server: server, _etcd: etcd, directory }
    }

    /// A file in the folder of the cluster, which is removed at its end.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A configuration for a client with another token.
    pub fn client_configuration(&self, token: &str) -> Value {
        client_configuration(&self.path(CERTIFICATE), token)
    }

    /// Runs kubectl, and returns what it prints.
    ///
    /// # Panics
    /// If it fails. The message contains what it prints.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        run(kubectl(&self.path("kubeconfig")).args(arguments))
    }

    /// Runs kubectl with a document on its standard input, and returns whether it succeeds, and
    /// what it prints.
    pub fn try_kubectl_with(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut child = kubectl(&self.path("kubeconfig"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), text(&output))
    }

    /// Gives kubectl a document with `-f -`.
    ///
    /// # Panics
    /// If it fails.
    pub fn give(&self, arguments: &[&str], document: &str) -> String {
        let arguments = [arguments, &["-f", "-"]].concat();
        let (is_done, printed) = self.try_kubectl_with(&arguments, document);
        assert!(is_done, "kubectl {arguments:?}: {printed}\n{document}");
        printed
    }

    /// Returns objects as JSON.
    pub fn get(&self, arguments: &[&str]) -> Value {
        let printed = self.kubectl([&["get", "-o", "json"], arguments].concat());
        serde_json::from_str(&printed).expect("JSON of kubectl")
    }

    /// Runs a command line of a README in the folder of the repository, with this cluster as
    /// kubectl's.
    ///
    /// # Panics
    /// If it fails.
    pub fn command_line(&self, line: &str) -> String {
        let path = program("kubectl").parent().unwrap().display().to_string();
        let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
        run(Command::new("sh")
            .args(["-c", line])
            .env("PATH", path)
            .env("KUBECONFIG", self.path("kubeconfig"))
            .current_dir(workspace()))
    }
}

fn client_configuration(certificate: &Path, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{PORT}"),
            "certificate-authority": certificate,
        } }],
        "users": [{ "name": "user", "user": { "token": token } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "user" } }],
        "current-context": "test",
    })
}

fn kubectl(configuration: &Path) -> Command {
    let mut command = Command::new(program("kubectl"));
    command.arg("--kubeconfig").arg(configuration);
    command
}

/// Runs a command, and returns what it prints.
///
/// # Panics
/// If it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn text(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}
