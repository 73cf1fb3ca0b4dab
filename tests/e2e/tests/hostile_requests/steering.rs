//! The headers that steer Envoy, in every form, from clients: through each filter that uses one,
//! alone, and through all of them.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Mirroring, Upstream, any_host, exchange};
use tokio::task::JoinSet;

use crate::edge::STEERING;

/// The filters that have such headers, with the beginnings of their names.
const FILTERS: [(&str, &[&str]); 5] = [
    ("router", &["x-sluice-cluster", "x-envoy-upstream-", "x-envoy-retr", "x-envoy-max-"]),
    ("mirror", &["x-sluice-mirror-"]),
    ("outlier", &["x-sluice-host"]),
    ("sluice", &["x-sluice-cluster", "x-sluice-mirror-", "x-envoy-upstream-", "x-envoy-retr"]),
    // Envoy's headers for faults have no effect unless the document allows them.
    ("fault", &[]),
];

fn document() -> Value {
    let mut document = any_host(json!([{ "route": [{ "destination": { "host": "service" } }] }]));
    document["destinationRules"] = json!([{ "host": "service", "trafficPolicy": {
        "outlierDetection": { "consecutive5xxErrors": 1000 },
    } }]);
    document
}

/// The name of the listener with a filter.
fn name(filter: &str, is_native: bool) -> String {
    if is_native { format!("native {filter}") } else { filter.to_owned() }
}

fn listener(filter: &str, is_native: bool) -> Listener {
    let (edge, document) = (Listener::new(&name(filter, is_native)), document());
    // Routes that make copies by the headers, and leave them in the request.
    let edge = edge.mirroring(Mirroring::ByHeader(2)).internal_clients().max_headers(64, 100);
    let edge = match filter {
        "router" => edge.plugin(&document),
        "sluice" => edge.bundle(&document),
        "mirror" => edge.mirror(&document).cluster("service"),
        "outlier" => edge.marker(&document).cluster("service"),
        _ => edge.fault(&document).cluster("service"),
    };
    if is_native { edge.native() } else { edge }
}

/// The lines by which a client sends a header, in HTTP/1.
fn forms(name: &str, value: &str) -> Vec<String> {
    let mixed: String = name
        .char_indices()
        .map(|(place, c)| if place % 2 == 0 { c.to_ascii_uppercase() } else { c })
        .collect();
    vec![
        format!("{name}: {value}\r\n"),
        format!("{}: {value}\r\n", name.to_ascii_uppercase()),
        format!("{mixed}:{value}\r\n"),
        format!("{name}:\t {value} \t\r\n"),
        format!("{name}: {value}\r\n{name}: {value}\r\n"),
        format!("{name}:\r\n{mixed}: {value}\r\n"),
        format!("{name}: {value},{value}\r\n"),
        format!("{name}: {value}\r\nconnection: {name}\r\n"),
        format!("connection: {name}\r\n{mixed}: {value}\r\n"),
    ]
}

/// An Envoy with a listener for each filter, and its services.
struct Services {
    envoy: Envoy,
    service: Upstream,
    secret: Upstream,
}

impl Services {
    /// Asserts that the request with this path has arrived, without the headers of the filter.
    fn assert_arrived(&self, path: &str, filter: &str, own: &[&str]) {
        let received = self.service.received(path);
        assert_eq!(received.len(), 1, "{filter}: {path} arrived {} times", received.len());
        for name in received[0].headers.keys() {
            let is_own = own.iter().any(|own| name.as_str().starts_with(own));
            assert!(!is_own, "{filter}: {path}: {name} of {received:?}");
        }
        assert_eq!(self.secret.received("").len(), 0, "{filter}: {path}");
    }
}

/// Sends all forms of the headers to one listener, and returns the number of requests.
async fn send_all(
    services: Arc<Services>,
    filter: &'static str,
    own: &'static [&'static str],
    is_native: bool,
) -> usize {
    let name = name(filter, is_native);
    let client = services.envoy.listener(&name);
    let mut number = 0;
    let mut next = || {
        number += 1;
        format!("/{}/{number}/", name.replace(' ', "-"))
    };
    for (header, value) in STEERING {
        let is_fault = filter == "fault" && header.starts_with("x-envoy-fault-");
        if !is_fault && !own.iter().any(|own| header.starts_with(own)) {
            continue;
        }
        for lines in forms(header, value) {
            let path = next();
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: example.com\r\n{lines}connection: close\r\n\r\n"
            );
            let answer = exchange(client.address(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {lines:?}: {answer}");
            services.assert_arrived(&path, &name, own);
        }
        for copies in 1..=2 {
            let path = next();
            let mut request = client.clone().http2().get(&path);
            for _ in 0..copies {
                request = request.header(header, value);
            }
            let answer = request.send().await;
            assert_eq!(answer.status, 200, "{name}: {header} in HTTP/2");
            services.assert_arrived(&path, &name, own);
        }
    }
    number
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_a_steering_header_passes_its_filter() {
    let (service, secret) = (Upstream::echo("service"), Upstream::echo("secret"));
    let mut bootstrap = Bootstrap::new()
        .cluster("service", &[service.address()])
        .cluster("secret", &[secret.address()]);
    for (filter, _) in FILTERS {
        for is_native in [false, true] {
            bootstrap = bootstrap.listener(listener(filter, is_native));
        }
    }
    let envoy = Envoy::start(&bootstrap).await;
    let services = Arc::new(Services { envoy, service, secret });
    let mut running = JoinSet::new();
    for (filter, own) in FILTERS {
        for is_native in [false, true] {
            running.spawn(send_all(Arc::clone(&services), filter, own, is_native));
        }
    }
    let requests: usize = running.join_all().await.into_iter().sum();
    assert_eq!(services.service.received("").len(), requests);
    assert_eq!(services.envoy.traps(), [""; 0]);
}
