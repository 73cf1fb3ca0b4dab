//! Every row about egress through the filter, in a mock of Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::net::SocketAddr;
use std::rc::Rc;

use sluice_conformance::egress;
use sluice_egress::worker::{Event, Worker};
use sluice_host::counters::CounterSet;
use sluice_host::fake::FakeHost;
use sluice_host::filter::{Action, Filter, HttpStream, NetworkStream};
use sluice_policy::egress::Egress;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

include!(concat!(env!("OUT_DIR"), "/egress.rs"));

fn check(topic: &str, id: &str) {
    let case = egress(topic, id);
    let (egress, _) = Egress::compile(case.config.get().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let worker = Rc::new(Worker::new(Rc::new(egress), 1, &FakeHost::default()));
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
}

fn host(destination: Option<SocketAddr>) -> FakeHost {
    let address = destination.map_or_else(String::new, |destination| destination.to_string());
    FakeHost::default().with_property(&["destination", "address"], address)
}

/// Checks that a decision writes one note and one counter, and that known hosts are not refused.
fn assert_noted(host: &FakeHost, expected: &str, passes: bool, title: &str) {
    let notes: Vec<_> = host.notes().into_iter().map(|(_, text)| text).collect();
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
