//! The output of `sluice render` contains the plugin document of its input. A real Envoy runs it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test")]

mod proxy;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sluice_conformance::Client;

use proxy::{body, free_port, get, raw_upstream, root, run, run_with, sluice, upstream};

#[test]
fn every_form_holds_the_same_document() {
    let name = ["--cluster-name", "{host}[-{subset}]"];
    for folder in ["render-envoy", "explain-taken", "check-accepted"] {
        let input = fs::read_to_string(root().join("tests/golden").join(folder).join("input.yaml"))
            .unwrap();
        let document = sluice(&[&["render", "-"][..], &name].concat(), &input);
        for form in [
            &["--to", "plugin-json"][..],
            &["--to", "envoy", "--allow-partial"],
            &["--to", "envoy", "--allow-partial", "--attach", "native"],
            &["--to", "envoyfilter", "--selector", "app=a"],
            &["--to", "envoyfilter", "--attach", "native"],
            &["--to", "envoyfilter", "--context", "GATEWAY"],
            &[
                "--to",
                "wasmplugin",
                "--filter",
                "fault",
                "--module-url",
                "oci://registry.example.com/fault",
            ],
        ] {
            let mut arguments = [&["render", "-"][..], &name, form].concat();
            if folder == "render-envoy" && form.contains(&"envoy") {
                // Nothing else says the port of this host.
                arguments.extend(["--endpoint", "b.example.com=127.0.0.1:18083"]);
            }
            let rendered = sluice(&arguments, &input);
            assert_eq!(rendered, sluice(&arguments, &input), "the output is reproducible");
            sluice(&["check", "-"], &rendered);
            // In a mesh, Istio routes hosts without rules.
            let found = sluice(&["render", "-"], &rendered);
            let found = found.replace(",\n  \"unmatchedHosts\": \"pass\"", "");
            assert_eq!(found, document, "{folder} {form:?}");
        }
    }
}

#[test]
fn envoy_runs_rendered_configuration() {
    let folder = root().join("tests/golden/explain-taken");
    let input = fs::read_to_string(folder.join("input.yaml")).unwrap();
    let (calls, _) = mpsc::channel();
    let places = [
        ("kim-payment-service/v1", "v1"),
        ("kim-payment-service/v2", "v2"),
        ("kim-payment-service/v3", "v3"),
    ];
    let endpoints = places.map(|(place, name)| (place, upstream(name, 200, calls.clone())));
    let (_envoy, [http, _]) = run("taken", &input, &endpoints);
    let host = "kim-payment-service";
    assert_eq!(body(http, host, "/api/x", ""), "v1");
    let start = Instant::now();
    assert_eq!(body(http, host, "/", "end-user: cheng\r\n"), "v2");
    // Envoy's timers have a coarse clock and may fire some milliseconds early.
    assert!(start.elapsed() >= Duration::from_millis(1900), "the delay of two seconds");
    let host = format!("host: {host}\r\n");
    assert!(get(http, "/old", &host).contains("location: http://kim-payment-service/new\r\n"));
    assert!(get(http, "/other", &host).starts_with("HTTP/1.1 404"));
}

/// Sends requests to two hosts until the bad one is ejected. Envoy does this in its main thread, so
/// the bad host may get further requests after the first one.
fn ejects(send: impl Fn() -> String) {
    let mut answers = Vec::new();
    while !answers.ends_with(&[true; 20]) {
        let answer = send();
        assert!(answer.ends_with("good") || answer.ends_with("bad"), "{answer}");
        answers.push(answer.ends_with("good"));
        assert!(answers.len() < 100, "no host is ejected: {answers:?}");
    }
    assert!(answers.contains(&false), "the bad host got no request");
}

/// Rules that use every filter.
const FOR_ALL_FILTERS: &str = "\
clusterName: '{host}[-{subset}]'
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
egress: {port: 443}
serviceEntries:
- hosts: [shop.example.com]
  ports: [{number: 443, name: any}]
  resolution: DNS
virtualServices:
- hosts: [shop.example.com, hidden.example.com]
  http:
  - match: [{uri: {prefix: /broken}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: shop.example.com, subset: v1}}]
  - mirror: {host: copies.example.com}
    route: [{destination: {host: shop.example.com, subset: v1}}]
  tls:
  - match: [{sniHosts: [shop.example.com]}]
    route: [{destination: {host: passthrough.example.com}}]
  - match: [{sniHosts: [hidden.example.com]}]
    route: [{destination: {host: passthrough.example.com}}]
destinationRules:
- host: shop.example.com
  subsets: [{name: v1, labels: {version: v1}}]
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 1h, maxEjectionPercent: 100}
";

/// The answer to a ClientHello with this server name.
fn connect(tls: SocketAddr, name: &str) -> String {
    let hello = Client { sni: Some(name.to_owned()), ..Client::default() };
    let mut stream = TcpStream::connect(tls).unwrap();
    stream.write_all(&hello.bytes()).unwrap();
    let mut answer = String::new();
    // Reading fails if the connection is reset, as for names that are refused.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn envoy_runs_all_filters() {
    runs_all_filters("wasm");
}

#[test]
fn envoy_runs_the_dynamic_module() {
    runs_all_filters("native");
}

/// Runs the rules with the filters as `attach` says.
fn runs_all_filters(attach: &str) {
    let (calls, received) = mpsc::channel();
    let endpoints = [
        ("shop.example.com/v1", upstream("good", 200, calls.clone())),
        ("shop.example.com/v1", upstream("bad", 500, calls.clone())),
        ("copies.example.com", upstream("copy", 200, calls)),
        ("passthrough.example.com", raw_upstream("passed")),
    ];
    let (_envoy, [http, tls]) =
        run_with(attach, FOR_ALL_FILTERS, &endpoints, &["--attach", attach]);
    let host = "shop.example.com";
    let status = |target: &str, host: &str| {
        let response = get(http, target, &format!("host: {host}\r\n"));
        response.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("/broken", host), "418", "the fault filter");
    assert_eq!(status("/", "hidden.example.com"), "502", "the egress filter");
    // The router filter sends requests to both hosts until Envoy ejects one.
    ejects(|| body(http, host, "/", ""));
    let copies = std::iter::from_fn(|| received.recv_timeout(Duration::from_secs(10)).ok());
    assert_eq!(copies.filter(|name| *name == "copy").take(20).count(), 20, "the mirror filter");

    let connect = |name| connect(tls, name);
    assert_eq!(connect("shop.example.com"), "passed", "the sni filter");
    assert_eq!(connect("hidden.example.com"), "", "the egress filter");
    assert_eq!(connect("nobody.example.com"), "");
}

/// Destinations without a port, in clusters with the port that the client called.
const BY_PORT: &str = "\
clusterName: 'outbound|{port}|{subset}|{host}'
services:
- {host: only.example.com, ports: [8443]}
virtualServices:
- hosts: [a.example.com]
  http:
  - match: [{uri: {prefix: /only}}]
    route: [{destination: {host: only.example.com}}]
  - mirror: {host: copies.example.com, subset: v1}
    route: [{destination: {host: called.example.com}}]
  tls:
  - match: [{sniHosts: [a.example.com]}]
    route: [{destination: {host: passthrough.example.com}}]
";

#[test]
fn envoy_has_clusters_with_the_ports_of_its_listeners() {
    let (calls, received) = mpsc::channel();
    let endpoints = [
        ("only.example.com", upstream("only", 200, calls.clone())),
        ("called.example.com", upstream("called", 200, calls.clone())),
        ("copies.example.com/v1", upstream("copy", 200, calls)),
        ("passthrough.example.com", raw_upstream("passed")),
    ];
    let (envoy, [http, tls]) = run("by-port", BY_PORT, &endpoints);
    let configuration = fs::read_to_string(&envoy.file).unwrap();
    for cluster in [
        format!("outbound|{}||called.example.com", http.port()),
        format!("outbound|{}||passthrough.example.com", tls.port()),
        format!("outbound|{}|v1|copies.example.com", http.port()),
        "outbound|8443||only.example.com".to_owned(),
    ] {
        assert!(configuration.contains(&format!("- name: \"{cluster}\"")), "{cluster}");
    }
    assert_eq!(body(http, "a.example.com", "/only", ""), "only");
    assert_eq!(body(http, "a.example.com", "/", ""), "called");
    let mut calls = std::iter::from_fn(|| received.recv_timeout(Duration::from_secs(10)).ok());
    assert!(calls.any(|name| name == "copy"), "the mirror filter");
    assert_eq!(connect(tls, "a.example.com"), "passed");
}

/// Rules for clients of several ports, and a cluster that selects hosts by a hash.
const BY_LISTENER: &str = "\
clusterName: 'outbound|{port}|{subset}|{host}'
virtualServices:
- hosts: [a.example.com]
  http:
  - match: [{port: 80}]
    route: [{destination: {host: web}}]
  - route: [{destination: {host: hashed}}]
  tcp:
  - match: [{port: 3306}]
    route: [{destination: {host: database, port: {number: 3306}}}]
destinationRules:
- host: hashed
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
";

#[test]
fn envoy_listens_on_the_ports_of_rules() {
    let (calls, _) = mpsc::channel();
    let upstream = |name| upstream(name, 200, calls.clone());
    let endpoints = [
        ("web", upstream("web")),
        ("hashed", upstream("first")),
        ("hashed", upstream("second")),
        ("database", raw_upstream("database")),
    ];
    let ports = [80, 3306].map(|port| (port, free_port()));
    let [web, database] = ports.map(|(_, own)| SocketAddr::from(([127, 0, 0, 1], own)));
    let [web_map, database_map] = ports.map(|(port, own)| format!("{port}={own}"));
    let more = ["--port-map", &web_map, "--port-map", &database_map];
    let (envoy, [http, _]) = run_with("by-listener", BY_LISTENER, &endpoints, &more);
    let configuration = fs::read_to_string(&envoy.file).unwrap();
    // The filters of the mapped listener know which port its clients call.
    assert!(configuration.contains("- name: \"outbound|80||web\""));
    let host = "a.example.com";
    assert_eq!(body(web, host, "/", ""), "web");
    let mut stream = TcpStream::connect(database).unwrap();
    stream.write_all(b"?").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "database");
    let user = |user: usize| body(http, host, "/", &format!("x-user: {user}\r\n"));
    let hosts: Vec<_> = (0..20).map(user).collect();
    assert!(["first", "second"].iter().all(|name| hosts.iter().any(|own| own == name)));
    assert_eq!((0..20).map(user).collect::<Vec<_>>(), hosts, "a user keeps the host");
}

/// Routes of the Gateway API beside a VirtualService for another port.
const ROUTES: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: prod}
spec:
  hostnames: [shop.example.com]
  rules:
  - backendRefs: [{name: web, port: 80}]
  - matches: [{path: {value: /cart}}]
    filters:
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: copies, port: 80}}}
    backendRefs: [{name: cart, port: 80}]
  - matches: [{path: {value: /nothing}}]
    backendRefs: [{group: example.com, kind: Gizmo, name: gizmo}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: orders, namespace: prod}
spec:
  hostnames: [orders.example.com]
  rules: [{backendRefs: [{name: orders, port: 9000}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old, namespace: prod}
spec:
  hosts: [old.example.com]
  http: [{match: [{port: 80}], route: [{destination: {host: old, port: {number: 80}}}]}]
";

#[test]
fn envoy_runs_routes_of_the_gateway_api() {
    let (calls, received) = mpsc::channel();
    let endpoints = ["web", "cart", "copies", "old", "orders"]
        .map(|name| (name, upstream(name, 200, calls.clone())));
    let old = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let map = format!("80={}", old.port());
    let (envoy, [http, _]) = run_with("routes", ROUTES, &endpoints, &["--port-map", &map]);
    let shop = "shop.example.com";
    assert_eq!(body(http, shop, "/", ""), "web");
    assert_eq!(body(http, shop, "/cart/x", ""), "cart");
    let mut calls = std::iter::from_fn(|| received.recv_timeout(Duration::from_secs(10)).ok());
    assert!(calls.any(|name| name == "copies"), "the mirror");
    let status = |target: &str| get(http, target, &format!("host: {shop}\r\n"));
    assert!(status("/nothing").starts_with("HTTP/1.1 500"), "no Service");
    assert_eq!(body(old, "old.example.com", "/", ""), "old");
    let configuration = fs::read_to_string(&envoy.file).unwrap();
    let (_, orders) = configuration.split_once("- name: \"orders.prod").expect("a cluster");
    let (orders, _) = orders.split_once("\n  - name:").unwrap_or((orders, ""));
    assert!(orders.contains("http2_protocol_options"), "gRPC needs HTTP/2: {orders}");
}

/// Rules that Envoy and the outlier filter enforce.
const FOR_OUTLIERS: &str = "\
clusterName: '{host}'
virtualServices:
- {hosts: [status.example.com], http: [{route: [{destination: {host: status}}]}]}
- {hosts: [codes.example.com], http: [{route: [{destination: {host: codes}}]}]}
- {hosts: [header.example.com], http: [{route: [{destination: {host: header}}]}]}
- {hosts: [filter.example.com], http: [{route: [{destination: {host: filter}}]}]}
destinationRules:
- host: status
  trafficPolicy:
    outlierDetection: &detection
      {consecutive5xxErrors: 1, interval: 1.5s, baseEjectionTime: 1h, maxEjectionPercent: 100}
- host: codes
  trafficPolicy: {outlierDetection: {<<: *detection, outlierDetectionHttpErrorCodes: [404, 503]}}
- host: header
  trafficPolicy:
    outlierDetection:
      <<: *detection
      alwaysEjectOneHost: true
      maxEjectionTimeJitter: 250ms
      splitExternalLocalOriginErrors: true
      successRate: {}
      failurePercentage: {}
      failure: {headers: {x-health: {exact: bad}}}
- host: filter
  trafficPolicy: {outlierDetection: {<<: *detection, halfOpen: {}}}
";

#[test]
fn envoy_runs_each_kind_of_outlier_detection() {
    let (calls, _) = mpsc::channel();
    let hosts = [("status", 500), ("codes", 404), ("header", 200), ("filter", 500)];
    let endpoints: Vec<_> = hosts
        .iter()
        .flat_map(|(host, status)| {
            let upstream = |name, status| upstream(name, status, calls.clone());
            [(*host, upstream("bad", *status)), (*host, upstream("good", 200))]
        })
        .collect();
    let (_envoy, [http, _]) = run("outliers", FOR_OUTLIERS, &endpoints);
    for (host, _) in hosts {
        let headers = format!("host: {host}.example.com\r\n");
        ejects(|| {
            let answer = get(http, "/", &headers);
            assert!(!answer.contains("x-sluice-failure"), "{host}: {answer}");
            answer
        });
    }
}
