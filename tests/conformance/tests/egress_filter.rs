//! Every row about egress through the egress filter, and every request through all filters in one,
//! in a mock of Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice_bundle::worker::Worker as Bundle;
use sluice_conformance::{EgressCase, egress};
use sluice_egress::worker::{Event, NOTE, Worker};
use sluice_host::counters::CounterSet;
use sluice_host::fake::FakeHost;
use sluice_host::filter::{Action, Filter, HttpStream, NetworkStream};
use sluice_policy::chain::Chain;
use sluice_policy::egress::Egress;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

include!(concat!(env!("OUT_DIR"), "/egress.rs"));

fn check(topic: &str, id: &str) {
    let case = egress(topic, id);
    let (egress, _) = Egress::compile(case.config.get().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let worker = Rc::new(Worker::new(Arc::new(egress), 1, &FakeHost::default()));
    for request in &case.requests {
        let host = host(request.destination)
            .with_request_header(":method", request.method.as_str())
            .with_request_header(":authority", request.host.as_str());
        let passes = worker.request(2, host.clone()).on_request_headers() == Action::Continue;
        assert_eq!(host.replies().len(), usize::from(!passes));
        assert_eq!(host.closures(), 0);
        assert_noted(&host, &request.expect, passes, &format!("{request:?}"));
    }
    for connection in &case.connections {
        let sni = ["connection", "requested_server_name"];
        let host = host(connection.destination).with_property(&sni, connection.sni.as_str());
        let stream = worker.connection(2, host.clone()).unwrap();
        let passes = stream.on_new_connection() == Action::Continue;
        assert_eq!(host.closures(), usize::from(!passes));
        assert_eq!(host.replies(), []);
        assert_noted(&host, &connection.expect, passes, &format!("{connection:?}"));
    }
    check_bundle(&case);
}

/// Sends the requests of a row through the filter that routes them too. Adds a route for all hosts
/// to the document.
fn check_bundle(case: &EgressCase) {
    let mut document: Value = serde_json::from_str(case.config.get()).unwrap();
    let route = json!([{ "destination": { "host": "upstream.example.com" } }]);
    document["virtualServices"] =
        json!([{ "hosts": ["*"], "gateways": ["gateway"], "http": [{ "route": route }] }]);
    let (chain, _) = Chain::compile(document.to_string().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let worker = Rc::new(Bundle::new(Arc::new(chain), 1, &FakeHost::default()));
    for request in &case.requests {
        let host = host(request.destination)
            .with_request_header(":method", request.method.as_str())
            .with_request_header(":authority", request.host.as_str())
            .with_request_header(":path", "/");
        let passes = worker.request(2, host.clone()).on_request_headers() == Action::Continue;
        assert_eq!(host.replies().len(), usize::from(!passes));
        assert_eq!(host.count("sluice.router.forwarded"), usize::from(passes));
        let title = format!("sluice.wasm: {request:?}");
        assert_noted(&host, &request.expect, passes, &title);
    }
}

fn host(destination: Option<SocketAddr>) -> FakeHost {
    let address = destination.map_or_else(String::new, |destination| destination.to_string());
    FakeHost::default().with_property(&["destination", "address"], address)
}

/// Checks that a decision writes one note and one counter, and that known hosts are not refused.
fn assert_noted(host: &FakeHost, expected: &str, passes: bool, title: &str) {
    let own = host.notes().into_iter().filter(|(name, _)| name == NOTE);
    let notes: Vec<_> = own.map(|(_, text)| text).collect();
    assert_eq!(notes, [expected], "{title}");
    let counted = match expected {
        "address" => "known",
        entry if entry.starts_with("serviceEntries[") => "known",
        other => other,
    };
    assert_eq!(passes, matches!(counted, "known" | "passthrough"), "{title}");
    for name in Event::NAMES {
        let is_counted = name.strip_prefix("sluice.egress.") == Some(counted);
        assert_eq!(host.count(name), usize::from(is_counted), "{name}: {title}");
    }
}
