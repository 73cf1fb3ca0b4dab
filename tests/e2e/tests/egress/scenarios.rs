//! The scenarios of egress under `envoy/scenarios`, each as it stands there, with the results that its README shows.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};

use sluice_e2e::{Client, Envoy, until};

use crate::assert_counts;
use crate::curl::Certificate;

/// The Envoy of a scenario, and the server for TLS that its README starts.
struct Scenario {
    envoy: Envoy,
    certificate: Certificate,
    address: Ipv4Addr,
    _server: Server,
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scenario {
    async fn start(name: &str) -> Self {
        let names = ["www.google.com", "edition.cnn.com", "*.example.org", "example.org"];
        let certificate = Certificate::new(&names).await;
        let envoy = Envoy::of_file(&format!("envoy/scenarios/{name}/envoy.yaml")).await;
        let IpAddr::V4(address) = envoy.listener("http").address().ip() else {
            panic!("an IPv4 address");
        };
        let accept = format!("{address}:10444");
        let server = Command::new("openssl")
            .args([
                "s_server", "-quiet", "-www", "-cert", "chain", "-key", "key", "-accept", &accept,
            ])
            .current_dir(certificate.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl can be run; install the package openssl");
        let server = Server(server);
        until("the server accepts", async || tokio::net::TcpStream::connect(&accept).await.ok())
            .await;
        Self { envoy, certificate, address, _server: server }
    }

    /// The status and the body of the answer to a request for `http://HOST/`.
    async fn http(&self, host: &str) -> (u16, String) {
        let http: Client = self.envoy.listener("http");
        let response = http.get("/").host(host).send().await;
        (response.status, response.text())
    }

    /// curl's exit code and the status of the answer for `https://NAME/`.
    async fn https(&self, name: &str) -> (i32, u16) {
        let outcome = self.certificate.get(name, self.address, 10443, &[]).await;
        (outcome.code, outcome.status)
    }
}

fn answered() -> (u16, String) {
    (200, "a server outside\n".to_owned())
}

fn blocked() -> (u16, String) {
    (502, String::new())
}

/// curl's answers.
const OK: (i32, u16) = (0, 200);
const RESET: (i32, u16) = (35, 0);

#[tokio::test]
async fn e1_egress_allow_any() {
    let scenario = Scenario::start("egress-allow-any").await;
    assert_eq!(scenario.http("httpbin.org").await, answered());
    assert_eq!(scenario.https("www.google.com").await, OK);
    assert_eq!(scenario.https("edition.cnn.com").await, OK);
    assert_counts(&scenario.envoy, &[("passthrough", 3)]).await;
}

#[tokio::test]
async fn e2_egress_registry_only() {
    let scenario = Scenario::start("egress-registry-only").await;
    assert_eq!(scenario.http("httpbin.org").await, blocked());
    assert_eq!(scenario.https("www.google.com").await, RESET);
    assert_eq!(scenario.https("edition.cnn.com").await, RESET);
    assert_counts(&scenario.envoy, &[("unknown_name", 3)]).await;
}

#[tokio::test]
async fn e3_egress_service_entry() {
    let scenario = Scenario::start("egress-service-entry").await;
    assert_eq!(scenario.http("httpbin.org").await, answered());
    assert_eq!(scenario.https("www.google.com").await, OK);
    assert_counts(&scenario.envoy, &[("known", 2)]).await;
    assert_eq!(scenario.http("edition.cnn.com").await, blocked());
    assert_eq!(scenario.https("edition.cnn.com").await, RESET);
    assert_eq!(scenario.http("www.google.com").await, blocked());
    assert_counts(&scenario.envoy, &[("known", 2), ("unknown_name", 2), ("unknown_port", 1)]).await;
}

#[tokio::test]
async fn e13_egress_wildcard() {
    let scenario = Scenario::start("egress-wildcard").await;
    assert_eq!(scenario.https("www.example.org").await, OK);
    assert_eq!(scenario.https("api.example.org").await, OK);
    assert_eq!(scenario.http("www.example.org").await, answered());
    assert_eq!(scenario.https("example.org").await, RESET);
    assert_eq!(scenario.http("example.org").await, blocked());
    assert_counts(&scenario.envoy, &[("known", 3), ("unknown_name", 2)]).await;
}
