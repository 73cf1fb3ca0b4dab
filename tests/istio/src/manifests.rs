//! Tests of each manifest of `envoy/istio`, unchanged except for the folder of the modules: istiod
//! accepts it, Envoy accepts the result, and requests show its effect.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sluice_conformance::Client as TlsClient;
use sluice_e2e::{Answer, Client, Upstream, exchange, module, until, workspace};
use tokio::io::AsyncWriteExt;

use crate::istiod::Istiod;
use crate::mesh;
use crate::native;
use crate::proxy::{INGRESS_GATEWAY, Proxy, sidecar};

/// The two versions of the service in the manifests, and another service.
pub(crate) struct Services {
    pub(crate) payment: [Upstream; 2],
    other: Upstream,
}

impl Services {
    pub(crate) fn new() -> Self {
        let payment = ["v1", "v2"].map(Upstream::echo);
        Self { payment, other: Upstream::echo("other") }
    }

    pub(crate) fn configuration(&self) -> Vec<String> {
        let [one, two] = &self.payment;
        let payment = [("v1", one.address()), ("v2", two.address())];
        let other = [("v1", self.other.address())];
        [mesh::service("kim-payment-service", &payment), mesh::service("kim-uc-service", &other)]
            .concat()
    }
}

/// Runs all of them.
pub async fn run() {
    for filter in ["router", "sluice"] {
        gateway_routes(filter).await;
        let file = format!("{filter}/sidecar-outbound.yaml");
        sidecar_routes(&file, manifest(&file)).await;
    }
    for file in ["sluice/sidecar-outbound.yaml", "router/sidecar-outbound.yaml"] {
        sidecar_routes(&format!("{file} with libsluice.so"), native::manifest(file)).await;
    }
    clients_choose_no_cluster_without_the_filter().await;
    mirrors(&["router/sidecar-outbound.yaml", "mirror/sidecar-outbound.yaml"]).await;
    mirrors(&["sluice/sidecar-outbound.yaml"]).await;
    aborts_what_it_routes().await;
    ejects_hosts().await;
    guards_egress().await;
    injects_faults().await;
    goes_by_server_names().await;
}

/// Reads a manifest and replaces the folder of the modules.
pub(crate) fn manifest(file: &str) -> String {
    let path = workspace().join("envoy/istio").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
    let router = module("router");
    let folder = router.parent().unwrap().to_str().unwrap();
    text.replace("/var/lib/sluice", folder)
}

/// Starts a proxy and asserts that neither istiod nor Envoy refused any configuration.
pub(crate) async fn start(istiod: &Istiod, workload: crate::proxy::Workload<'_>) -> Proxy {
    let proxy = Proxy::start(istiod, workload).await;
    let refusals = proxy.refusals().await;
    assert!(refusals.is_empty(), "{refusals:#?}");
    let complaints = istiod.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    proxy
}

/// The sidecar of kim-gateway-service, whose listeners are bound to `address`.
pub(crate) fn outbound(address: SocketAddr) -> String {
    let port = |number: u16, protocol: &str| {
        json!({
            "port": { "number": number, "name": protocol.to_lowercase(), "protocol": protocol },
            "bind": address.ip(),
            "captureMode": "NONE",
            "hosts": ["default/*"],
        })
    };
    let spec = json!({
        "workloadSelector": { "labels": { "app": "kim-gateway-service" } },
        "egress": [port(8080, "HTTP"), port(8443, "TLS")],
    });
    mesh::networking("Sidecar", "kim-gateway-service", "default", &spec)
}

/// Returns the upstream that answers a request, or the status if it is not 200. Asserts that no
/// upstream receives headers of the filters.
pub(crate) async fn gets(client: &Client, host: &str, path: &str, user: &str) -> String {
    answerer(client.get(path).host(host).header("end-user", user)).await
}

/// Like the function above, with a client that sends a cluster name itself.
async fn forges(client: &Client, host: &str) -> String {
    let cluster = "outbound|8080||kim-uc-service.default.svc.cluster.local";
    answerer(client.get("/").host(host).header("x-sluice-cluster", cluster)).await
}

async fn answerer(request: sluice_e2e::Request) -> String {
    let response = request.send().await;
    match response.status {
        200 => {
            let echo = response.json();
            let headers = echo["headers"].to_string();
            assert!(!headers.contains("x-sluice"), "{headers}");
            echo["upstream"].as_str().expect("an echo").to_owned()
        }
        status => status.to_string(),
    }
}

/// `gateway.yaml`, together with a VirtualService that istiod translates on the same port.
async fn gateway_routes(filter: &str) {
    let file = format!("{filter}/gateway.yaml");
    let services = Services::new();
    let address = mesh::address(1, 8080);
    for has_native in [false, true] {
        let mut configuration = services.configuration();
        configuration.push(mesh::gateway("kim-gateway", address));
        configuration.push(manifest(&file));
        let native = json!({
            "hosts": ["native.example.com"],
            "gateways": ["kim-gateway"],
            "http": [{ "route": [{ "destination": { "host": "kim-uc-service" } }] }],
        });
        if has_native {
            configuration.push(mesh::networking("VirtualService", "native", "default", &native));
        }
        let istiod = Istiod::start(&configuration).await;
        let proxy = start(&istiod, INGRESS_GATEWAY).await;
        let client = proxy.listener(&mesh::listener_name(address));
        assert_eq!(gets(&client, "kim.example.com", "/payment/query", "cheng").await, "v2");
        assert_eq!(gets(&client, "kim.example.com:8080", "/payment/query", "jim").await, "v1");
        assert_eq!(gets(&client, "kim.example.com", "/other", "jim").await, "404");
        // The client's header has no effect.
        assert_eq!(forges(&client, "unknown.example.com").await, "404");
        let expected = if has_native { "other" } else { "404" };
        assert_eq!(gets(&client, "native.example.com", "/", "jim").await, expected);
        assert_eq!(proxy.envoy().stat("wasmcustom.sluice.router.forwarded").await, 2);
    }
    println!("{file}: ok");
}

/// Envoy itself removes a client's cluster name, so a filter that is skipped, as after a trap with
/// `FAIL_OPEN`, lets nobody choose a cluster.
async fn clients_choose_no_cluster_without_the_filter() {
    const FILTER: &str = "        name: sluice.router\n";
    let services = Services::new();
    let address = mesh::address(2, 8080);
    let skipped = manifest("router/sidecar-outbound.yaml");
    assert!(skipped.contains(FILTER), "{skipped}");
    let skipped = skipped.replace(FILTER, &[FILTER, "        disabled: true\n"].concat());
    let mut configuration = services.configuration();
    configuration.extend([outbound(address), skipped]);
    let istiod = Istiod::start(&configuration).await;
    let proxy = start(&istiod, sidecar("kim-gateway-service")).await;
    let client = proxy.listener(&mesh::listener_name(address));
    let upstream = forges(&client, "kim-payment-service").await;
    assert!(["v1", "v2"].contains(&upstream.as_str()), "{upstream} is not Istio's own route");
    println!("router/sidecar-outbound.yaml without the filter: ok");
}

async fn sidecar_routes(file: &str, manifest: String) {
    let services = Services::new();
    let address = mesh::address(2, 8080);
    let mut configuration = services.configuration();
    configuration.extend([outbound(address), manifest]);
    let istiod = Istiod::start(&configuration).await;
    let proxy = start(&istiod, sidecar("kim-gateway-service")).await;
    let client = proxy.listener(&mesh::listener_name(address));
    for host in ["kim-payment-service", "kim-payment-service.default.svc.cluster.local:8080"] {
        assert_eq!(gets(&client, host, "/payment/query", "cheng").await, "v2");
        assert_eq!(gets(&client, host, "/payment/query", "jim").await, "v1");
    }
    // The client's header has no effect.
    assert_eq!(forges(&client, "kim-payment-service").await, "v1");
    // The route from istiod.
    assert_eq!(gets(&client, "kim-uc-service", "/", "cheng").await, "other");
    assert_eq!(proxy.envoy().stat("wasmcustom.sluice.router.passed").await, 1);
    println!("{file}: ok");
}

/// Manifests that mirror together.
async fn mirrors(files: &[&str]) {
    let services = Services::new();
    let address = mesh::address(3, 8080);
    let mut configuration = services.configuration();
    configuration.push(outbound(address));
    configuration.extend(files.iter().map(|file| manifest(file)));
    let istiod = Istiod::start(&configuration).await;
    let proxy = start(&istiod, sidecar("kim-gateway-service")).await;
    let client = proxy.listener(&mesh::listener_name(address));
    assert_eq!(gets(&client, "kim-payment-service", "/original", "jim").await, "v1");
    let [one, two] = &services.payment;
    until("the copy arrives", async || (two.received("/original").len() == 1).then_some(())).await;
    let copy = &two.received("/original")[0];
    assert_eq!(copy.host, "kim-payment-service");
    assert!(copy.headers.keys().all(|name| !name.as_str().starts_with("x-sluice")), "{copy:?}");
    assert_eq!(one.received("/original").len(), 1);
    assert_eq!(gets(&client, "kim-uc-service", "/native", "jim").await, "other");
    assert!(two.received("/native").is_empty());
    println!("{}: ok", files.join(" and "));
}

/// `sluice/*.yaml` have a fault for one user, whose requests no version gets.
async fn aborts_what_it_routes() {
    let services = Services::new();
    let address = mesh::address(9, 8080);
    let mut configuration = services.configuration();
    configuration.push(mesh::gateway("kim-gateway", address));
    configuration.push(manifest("sluice/gateway.yaml"));
    let istiod = Istiod::start(&configuration).await;
    let proxy = start(&istiod, INGRESS_GATEWAY).await;
    let client = proxy.listener(&mesh::listener_name(address));
    let request = client.get("/payment/query").host("kim.example.com").header("end-user", "tester");
    let aborted = request.send().await;
    assert_eq!((aborted.status, aborted.text().as_str()), (503, "fault filter abort"));
    assert_eq!(gets(&client, "kim.example.com", "/payment/copied", "jim").await, "v1");
    let [one, two] = &services.payment;
    until("the copy arrives", async || (two.received("/payment/copied").len() == 1).then_some(()))
        .await;
    for version in [one, two] {
        assert!(version.received("/payment/query").is_empty(), "the aborted request");
    }
    println!("sluice/gateway.yaml with a fault and a copy: ok");
}

/// `outlier/*.yaml`, each with a host that fails in the way that it is for.
async fn ejects_hosts() {
    let failing = Upstream::answering("failing", |_| Answer { status: 500, ..Answer::default() });
    ejects("outlier/sidecar-outbound-filter.yaml", mesh::address(4, 8080), &failing).await;
    let failing = Upstream::answering("failing", |_| Answer {
        headers: vec![("x-health", "bad")],
        ..Answer::default()
    });
    let proxy = ejects("outlier/sidecar-outbound.yaml", mesh::address(8, 8080), &failing).await;
    // istiod ends the names of clusters in statistics with a semicolon.
    let cluster = "cluster.outbound|8080||kim-payment-service.default.svc.cluster.local;";
    let stat = format!("{cluster}.outlier_detection.ejections_active");
    assert_eq!(proxy.envoy().stat(&stat).await, 1, "Envoy itself ejects the host");
}

/// A failing host gets three requests, and perhaps some more before Envoy's main thread ejects it.
async fn ejects(file: &str, address: SocketAddr, failing: &Upstream) -> Proxy {
    let working = Upstream::echo("working");
    let endpoints = [("v1", failing.address()), ("v1", working.address())];
    let mut configuration: Vec<_> = mesh::service("kim-payment-service", &endpoints).into();
    configuration.extend([outbound(address), manifest(file)]);
    let istiod = Istiod::start(&configuration).await;
    let proxy = start(&istiod, sidecar("kim-gateway-service")).await;
    let client = proxy.listener(&mesh::listener_name(address));
    for count in [20, 40] {
        for _ in 0..20 {
            let response = client.get("/").host("kim-payment-service").send().await;
            assert_eq!(response.header("x-sluice-failure"), None);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (failed, worked) = (failing.received("/").len(), working.received("/").len());
        assert!((3..7).contains(&failed), "{file}: {failed} of {count} requests failed");
        assert_eq!(failed + worked, count, "{file}");
    }
    println!("{file}: ok");
    proxy
}

/// A TCP server that sends its name and closes.
async fn tcp_service(name: &'static str) -> SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut hello = [0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await;
            let _ = stream.write_all(name.as_bytes()).await;
        }
    });
    address
}

/// Returns the answer of the service behind a TLS connection for `name`; empty if the connection is
/// closed without one.
pub(crate) async fn says(address: SocketAddr, name: &str) -> String {
    let hello = TlsClient { sni: Some(name.to_owned()), ..TlsClient::default() };
    exchange(address, &hello.bytes()).await
}

async fn guards_egress() {
    let services = Services::new();
    let address = mesh::address(5, 8080);
    let mut configuration = services.configuration();
    configuration.extend(outside().await);
    configuration.extend([outbound(address), manifest("egress/sidecar-outbound.yaml")]);
    configuration.push(manifest("egress/tls-inspector.yaml"));
    let istiod = Istiod::start(&configuration).await;
    assert_guarded(&istiod, address).await;
    println!("egress/sidecar-outbound.yaml: ok");
}

/// Two external services; the manifests contain one of them.
pub(crate) async fn outside() -> Vec<String> {
    let outside = tcp_service("outside").await;
    let mut configuration = Vec::new();
    for (name, host) in [("known", "a.example.org"), ("unknown", "evil.example.net")] {
        let entry = json!({
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            "resolution": "STATIC",
            "ports": [{ "number": 8443, "name": "tls", "protocol": "TLS" }],
            "endpoints": [{ "address": outside.ip(), "ports": { "tls": outside.port() } }],
        });
        configuration.push(mesh::networking("ServiceEntry", name, "default", &entry));
    }
    configuration
}

/// Known services can be called, unknown ones cannot.
pub(crate) async fn assert_guarded(istiod: &Istiod, address: SocketAddr) {
    let proxy = start(istiod, sidecar("kim-gateway-service")).await;
    let client = proxy.listener(&mesh::listener_name(address));
    let answer = client.get("/").host("kim-payment-service").send().await;
    assert!(["v1", "v2"].contains(&&*answer.upstream()));
    assert_eq!(client.get("/").host("kim-uc-service").send().await.status, 502);
    let tls = SocketAddr::new(address.ip(), 8443);
    assert_eq!(says(tls, "a.example.org").await, "outside");
    assert_eq!(says(tls, "evil.example.net").await, "");
}

async fn injects_faults() {
    let services = Services::new();
    let address = mesh::address(6, 8080);
    let mut configuration = services.configuration();
    configuration.extend(inbound(address, services.payment[0].address()));
    configuration.push(manifest("fault/sidecar-inbound.yaml"));
    let istiod = Istiod::start(&configuration).await;
    assert_faults(&istiod, address).await;
    println!("fault/sidecar-inbound.yaml: ok");
}

/// The sidecar of a workload of kim-payment-service, which is at `workload`.
pub(crate) fn inbound(address: SocketAddr, workload: SocketAddr) -> [String; 2] {
    let spec = json!({
        "workloadSelector": { "labels": { "app": "kim-payment-service" } },
        "ingress": [{
            "port": { "number": 8080, "name": "http", "protocol": "HTTP" },
            "bind": address.ip(),
            "captureMode": "NONE",
            "defaultEndpoint": workload.to_string(),
        }],
    });
    // This mesh has no certificates, so it has no TLS.
    let plaintext = json!({ "mtls": { "mode": "DISABLE" } });
    let api = "security.istio.io/v1";
    [
        mesh::networking("Sidecar", "kim-payment-service", "default", &spec),
        mesh::document(api, "PeerAuthentication", "default", "istio-system", &plaintext),
    ]
}

/// Only one user gets an error.
pub(crate) async fn assert_faults(istiod: &Istiod, address: SocketAddr) {
    let proxy = start(istiod, sidecar("kim-payment-service")).await;
    let client = proxy.listener(&mesh::listener_name(address));
    assert_eq!(gets(&client, "kim-payment-service", "/", "jim").await, "v1");
    let request = client.get("/").host("kim-payment-service").header("end-user", "cheng");
    let aborted = request.send().await;
    assert_eq!((aborted.status, aborted.text().as_str()), (500, "fault filter abort"));
}

async fn goes_by_server_names() {
    let (one, two) = (tcp_service("v1").await, tcp_service("v2").await);
    let address = mesh::address(7, 8443);
    let text = manifest("sni/gateway-tls.yaml");
    let bound = text.replacen(
        "    hosts: [\"*\"]\n    tls:",
        &format!("    bind: {}\n    hosts: [\"*\"]\n    tls:", address.ip()),
        1,
    );
    assert_ne!(bound, text);
    let mut configuration: Vec<_> =
        mesh::tls_service("kim-tls-service", &[("v1", one), ("v2", two)]).into();
    configuration.extend([bound, manifest("sni/gateway.yaml")]);
    let istiod = Istiod::start(&configuration).await;
    let proxy = start(&istiod, INGRESS_GATEWAY).await;
    let listener = proxy.listener(&mesh::listener_name(address)).address();
    assert_eq!(says(listener, "a.example.com").await, "v1");
    assert_eq!(says(listener, "b.example.com").await, "v2");
    assert_eq!(says(listener, "c.example.com").await, "");
    println!("sni/gateway.yaml: ok");
}
