//! Every row about server names through the filter, in a mock of Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::rc::Rc;
use std::sync::Arc;

use sluice_conformance::{ConnectionExpectation, SniConnection, sni};
use sluice_host::fake::FakeHost;
use sluice_host::filter::{Action, Filter, HttpStream, NetworkStream};
use sluice_host::network::TCP_PROXY_CLUSTER;
use sluice_policy::sni::{Outcome, SniPolicy};
use sluice_policy::spec::policy::Policy;
use sluice_sni::worker::Worker;

include!(concat!(env!("OUT_DIR"), "/sni.rs"));

const REFUSED: &str = "sluice.sni.refused";

/// Returns the counted outcomes, after a check that the notes contain the same ones.
fn outcomes(host: &FakeHost) -> Vec<String> {
    let notes: Vec<_> = host.notes().into_iter().map(|(_, text)| text).collect();
    for outcome in Outcome::ALL {
        let noted = notes.iter().filter(|note| *note == outcome.name()).count();
        assert_eq!(host.count(outcome.counter()), noted, "{outcome:?}");
    }
    notes
}

fn check(topic: &str, id: &str) {
    let case = sni(topic, id);
    let (policy, _) = SniPolicy::compile(case.config.get().as_bytes(), &case.node)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let worker = Rc::new(Worker::new(Arc::new(policy), 1, &FakeHost::default()));
    // The filter draws its own random numbers, so only the policy can run rows that depend on a
    // draw.
    for row in case.connections.iter().filter(|row| row.draw.is_none()) {
        for size in SniConnection::PIECES {
            let found = observe(&worker, row, size);
            assert_eq!(found, row.expect, "{}, pieces of {size}", row.title());
        }
    }
    for row in &case.requests {
        let host = FakeHost::default()
            .with_property(
                &["connection", "requested_server_name"],
                row.sni.clone().unwrap_or_default(),
            )
            .with_property(&["request", "host"], row.host.clone());
        let action = worker.request(7, host.clone()).on_request_headers();
        assert_eq!(outcomes(&host), std::slice::from_ref(&row.expect), "{row:?}");
        let statuses: Vec<_> = host.replies().iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, Vec::from_iter(row.status), "{row:?}");
        assert_eq!(action == Action::Pause, row.status.is_some());
        assert_eq!(host.count(REFUSED), statuses.len());
    }
}

fn observe(worker: &Rc<Worker>, row: &SniConnection, size: usize) -> ConnectionExpectation {
    let mut host = FakeHost::default()
        .with_property(
            &["connection", "requested_server_name"],
            row.sni.clone().unwrap_or_default(),
        )
        .with_property(
            &["source", "address"],
            format!("{}:1", row.source.clone().unwrap_or_default()),
        );
    if let Some(port) = row.port {
        host = host.with_property(&["destination", "port"], i64::from(port).to_le_bytes());
    }
    if let Some(ip) = row.destination {
        let address = std::net::SocketAddr::new(ip, 443).to_string();
        host = host.with_property(&["destination", "address"], address);
    }
    if row.terminated {
        host = host.with_property(&["connection", "tls_version"], "TLSv1.3");
    }
    let connection = worker.connection(7, host.clone()).unwrap();
    let mut action = connection.on_new_connection();
    let opened = outcomes(&host).len();
    let mut clusters = host.filter_states().into_iter().map(|(key, value)| {
        assert_eq!(key, TCP_PROXY_CLUSTER);
        String::from_utf8(value).unwrap()
    });
    let cluster = clusters.next_back();

    let bytes = row.client.as_ref().map(|client| client.bytes());
    if let Some(bytes) = bytes.filter(|_| action == Action::Continue) {
        let mut sent = 0;
        for piece in bytes.chunks(size.min(bytes.len().max(1))) {
            host.receive(piece);
            sent += piece.len();
            action = connection.on_downstream_data(sent, false);
            if action == Action::Continue || host.closures() > 0 {
                break;
            }
        }
        let is_held = action == Action::Pause && host.closures() == 0;
        if is_held || bytes.is_empty() {
            action = connection.on_downstream_data(sent, true);
        }
    }
    // A decided connection is not queued any more, and a connection is closed only once.
    assert!(worker.delays.is_empty() || row.client.is_none(), "{}", row.title());
    let closed = action == Action::Pause;
    assert_eq!(host.closures(), usize::from(closed));
    assert_eq!(host.count(REFUSED), usize::from(closed));
    let noted = outcomes(&host);
    assert_eq!(opened, 1);
    connection.on_end();
    ConnectionExpectation {
        opens: noted[0].clone(),
        cluster,
        route: row.expect.route.clone(),
        hello: noted.get(1).cloned(),
        closed,
    }
}
