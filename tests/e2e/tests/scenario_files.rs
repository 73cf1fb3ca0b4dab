//! The scenarios under `envoy/scenarios`, each as it stands there, with the results that its README shows.

use std::time::Duration;

use sluice_e2e::{Client, Envoy, Nginx, Response, Scenario, tls, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATH: &str = "/payment/balance/query";

async fn scenario(name: &str) -> (Envoy, Client) {
    let envoy = Envoy::of_file(&format!("envoy/scenarios/{name}/envoy.yaml")).await;
    let edge = envoy.listener("edge");
    (envoy, edge)
}

async fn ask(edge: &Client, user: &str) -> Response {
    edge.get(PATH).header("end-user", user).send().await
}

fn assert_payment(response: &Response, user: &str) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["data"], format!("Hello v1, {user}!, id: 1"));
}

/// Delays, aborts and active faults.
async fn counts(envoy: &Envoy) -> [u64; 3] {
    let mut counts = [0; 3];
    let names = ["delays_injected", "aborts_injected", "active_faults"];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = envoy.stat(&format!("wasmcustom.sluice.fault.{name}")).await;
    }
    counts
}

#[tokio::test]
async fn f1_fault_delay() {
    let (envoy, edge) = scenario("fault-delay").await;
    let (delayed, other) = tokio::join!(ask(&edge, "cheng"), ask(&edge, "jim"));
    assert_payment(&delayed, "cheng");
    delayed.assert_took(Duration::from_secs(7)..Duration::from_secs(12));
    assert_payment(&other, "jim");
    assert!(other.elapsed < Duration::from_secs(5), "{:?}", other.elapsed);
    assert_eq!(counts(&envoy).await, [1, 0, 0]);
}

#[tokio::test]
async fn f2_fault_delay_timeout() {
    let (envoy, edge) = scenario("fault-delay-timeout").await;
    let limit = Duration::from_secs(1);
    let answer = tokio::time::timeout(limit, ask(&edge, "cheng")).await;
    assert!(answer.is_err(), "an answer before the delay was over: {answer:?}");
    until("the stream is cleaned up", async || (counts(&envoy).await[2] == 0).then_some(())).await;
    assert_eq!(counts(&envoy).await, [1, 0, 0]);
    assert_payment(&ask(&edge, "jim").await, "jim");
}

#[tokio::test]
async fn f3_fault_abort() {
    let (envoy, edge) = scenario("fault-abort").await;
    let aborted = ask(&edge, "cheng").await;
    assert_eq!((aborted.status, aborted.text().as_str()), (500, "fault filter abort"));
    assert_payment(&ask(&edge, "jim").await, "jim");
    assert_eq!(counts(&envoy).await, [0, 1, 0]);
}

#[tokio::test]
async fn m1_mirror() {
    let (envoy, edge) = scenario("mirror").await;
    let request =
        edge.get(PATH).header("end-user", "cheng").header("authorization", "Bearer secret");
    assert_payment(&request.send().await, "cheng");
    let envoy = &envoy;
    let logged = |version: &'static str| async move {
        until(&format!("{version} logs the request"), async || {
            let log = envoy.access_log_text();
            log.lines().find(|line| line.starts_with(version)).map(str::to_owned)
        })
        .await
    };
    let original =
        "v1: GET /payment/balance/query host example.com user cheng authorization Bearer secret";
    assert_eq!(logged("v1").await, original);
    let copy = "v2: GET /payment/balance/query host example.com user cheng authorization -";
    assert_eq!(logged("v2").await, copy);
    assert_eq!(envoy.access_log_text().lines().filter(|line| line.starts_with('v')).count(), 2);
    assert_eq!(envoy.stat("wasmcustom.sluice.mirror.mirrored").await, 1);
}

#[tokio::test]
async fn c2_outlier() {
    let (envoy, edge) = scenario("outlier").await;
    assert_payment(&ask(&edge, "cheng").await, "cheng");
    let sick = edge.get(PATH).header("fail", "yes").send().await;
    assert_eq!((sick.status, sick.text().as_str()), (503, "v1 is sick\n"));
    for _ in 0..4 {
        let out = ask(&edge, "cheng").await;
        assert_eq!((out.status, out.text().as_str()), (503, "no healthy upstream"));
    }
    let stats = envoy.admin("/stats?filter=outlier.ejections_active").await.text();
    assert!(stats.trim_end().ends_with("wasmcustom.sluice.outlier.ejections_active: 1"), "{stats}");
    let log = envoy.log();
    let event = log.lines().find(|line| line.contains("outlier event=")).expect("an event");
    assert!(event.contains("reason=consecutive_gateway_failure ejections=1 for=180s"), "{event}");
    let notice =
        "outlierDetection.consecutiveErrors: has been replaced by consecutiveGatewayErrors";
    assert!(log.contains(notice), "{log}");
}

/// What the server says that is reached by this name on a port of a scenario.
async fn ask_by_tls(scenario: &Scenario, port: u16, name: &str) -> std::io::Result<String> {
    let stream = TcpStream::connect(scenario.address(port)).await?;
    let stream = tls::Tls::default().connect(stream, name).await?;
    Ok(tls::get(stream, name).await?.1)
}

async fn sni_counts<const N: usize>(envoy: &Envoy, names: [&str; N]) -> [u64; N] {
    let mut counts = [0; N];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = envoy.stat(&format!("wasmcustom.sluice.sni.{name}")).await;
    }
    counts
}

#[tokio::test]
async fn g6_sni_passthrough() {
    let scenario = Scenario::new();
    let folder = "envoy/scenarios/sni-passthrough";
    let envoy = scenario.envoy(&format!("{folder}/envoy.yaml")).await;
    let _nginx: Nginx = scenario.nginx(&format!("{folder}/nginx.conf"), 10443).await;
    for (version, shown) in [(&rustls::version::TLS12, "1.2"), (&rustls::version::TLS13, "1.3")] {
        let stream = TcpStream::connect(scenario.address(10000)).await.unwrap();
        let stream = tls::Tls::default().only(version).connect(stream, "nginx.example.com").await;
        let (status, body) = tls::get(stream.unwrap(), "nginx.example.com").await.unwrap();
        let expected = format!("NGINX, asked for nginx.example.com by TLSv{shown}\n");
        assert_eq!((status, body), (200, expected));
    }
    assert!(ask_by_tls(&scenario, 10000, "other.example.com").await.is_err());
    let mut plain = TcpStream::connect(scenario.address(10000)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: nginx.example.com\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    let names = ["routed", "snis_match", "no_route", "no_sni", "refused"];
    assert_eq!(sni_counts(&envoy, names).await, [2, 2, 1, 1, 2]);
}

/// The two Envoys of an egress scenario.
async fn egress(name: &str) -> (Scenario, Envoy, Envoy) {
    let scenario = Scenario::new();
    let gateway = scenario.envoy(&format!("envoy/scenarios/{name}/gateway.yaml")).await;
    let sidecar = scenario.envoy(&format!("envoy/scenarios/{name}/sidecar.yaml")).await;
    (scenario, sidecar, gateway)
}

const CHECKED: [&str; 5] = ["routed", "snis_match", "snis_do_not_match", "no_route", "refused"];

#[tokio::test]
async fn e7_egress_gateway_sni() {
    let (scenario, sidecar, gateway) = egress("egress-gateway-sni").await;
    assert_eq!(ask_by_tls(&scenario, 10000, "www.example.com").await.unwrap(), "server\n");
    assert!(ask_by_tls(&scenario, 10000, "wiki.example.org").await.is_err());
    assert_eq!(sni_counts(&sidecar, CHECKED).await, [1, 1, 0, 1, 1]);
    assert_eq!(sni_counts(&gateway, CHECKED).await, [1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn e14_egress_wildcard_one_server() {
    let (scenario, sidecar, gateway) = egress("egress-wildcard-one-server").await;
    for name in ["en.wiki.example.org", "de.wiki.example.org"] {
        assert_eq!(ask_by_tls(&scenario, 10000, name).await.unwrap(), "server\n", "{name}");
    }
    assert!(ask_by_tls(&scenario, 10000, "wiki.example.org").await.is_err());
    assert_eq!(sni_counts(&sidecar, CHECKED).await, [2, 2, 0, 1, 1]);
    assert_eq!(sni_counts(&gateway, CHECKED).await, [2, 2, 0, 0, 0]);
}

#[tokio::test]
async fn e15_egress_sni_check() {
    let (scenario, sidecar, gateway) = egress("egress-sni-check").await;
    for (name, server) in
        [("en.wiki.example.org", "server\n"), ("x.any.example.org", "other server\n")]
    {
        assert_eq!(ask_by_tls(&scenario, 10000, name).await.unwrap(), server, "{name}");
    }
    assert!(ask_by_tls(&scenario, 10000, "other.example.com").await.is_err());
    // The proxy behind the gateway would go there.
    assert_eq!(ask_by_tls(&scenario, 10100, "other.example.com").await.unwrap(), "other server\n");
    // A workload that goes around its sidecar, with the sidecar's certificate.
    let forged = async |outer: &str, inner: &str| {
        let mesh = tls::Tls::default().identity("sidecar").server("egress-gateway.example.net");
        let stream = TcpStream::connect(scenario.address(10001)).await?;
        let stream = mesh.connect(stream, outer).await?;
        let stream = tls::Tls::default().connect(stream, inner).await?;
        Ok(tls::get(stream, inner).await?.1)
    };
    let result: std::io::Result<String> = forged("en.wiki.example.org", "other.example.com").await;
    assert!(result.is_err(), "{result:?}");
    let result = forged("en.wiki.example.org", "en.wiki.example.org").await;
    assert_eq!(result.unwrap(), "server\n");
    assert_eq!(sni_counts(&sidecar, CHECKED).await, [2, 2, 0, 1, 1]);
    assert_eq!(sni_counts(&gateway, CHECKED).await, [4, 3, 1, 0, 1]);
}
