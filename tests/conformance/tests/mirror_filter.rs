//! Every row about mirrors through the mirror filter, and through all filters in one, in a mock of
//! Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use sluice_bundle::worker::Worker as Bundle;
use sluice_conformance::{MirrorCase, MirrorExpectation, MirrorRequest, mirror};
use sluice_host::counters::CounterSet;
use sluice_host::fake::FakeHost;
use sluice_host::filter::{Filter, HttpStream};
use sluice_host::http::HttpHost;
use sluice_mirror::event::Event;
use sluice_mirror::worker::Worker;
use sluice_policy::chain::Chain;
use sluice_policy::mirror::Mirrors;
use sluice_policy::router::Router;
use sluice_policy::spec::mirror::HEADER_PREFIX;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

include!(concat!(env!("OUT_DIR"), "/mirrors.rs"));

fn check(topic: &str, id: &str) {
    let case = mirror(topic, id);
    let (mirrors, _) = Mirrors::compile(case.config.get().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let worker = Rc::new(Worker::new(Arc::new(mirrors), 1, &FakeHost::default()));
    // The filter draws its own random numbers, so only the policy can run rows that depend on a
    // draw.
    for request in case.requests.iter().filter(|request| request.draws.is_none()) {
        let found = observe(&worker, request);
        assert_eq!(found, request.expect, "{}", request.title());
    }
    check_bundle(&case);
}

/// Sends the requests of a row through the filter that routes them too.
fn check_bundle(case: &MirrorCase) {
    let text = case.config.get().as_bytes();
    let chain = Chain::compile(text, &NoMetadata).map(|(chain, _)| chain);
    // The router requires a destination in rules with mirrors.
    let is_routed = Router::compile(text, &NoMetadata).is_ok();
    assert_eq!(chain.is_ok(), is_routed, "{chain:?}");
    let Ok(chain) = chain else { return };
    let worker = Rc::new(Bundle::new(Arc::new(chain), 1, &FakeHost::default()));
    for request in case.requests.iter().filter(|request| request.draws.is_none()) {
        let host = host(request);
        worker.request(2, host.clone()).on_request_headers();
        let none = MirrorExpectation { copies: BTreeMap::new(), not_sampled: 0, not_eligible: 0 };
        let is_aborted = host.count("sluice.fault.aborts_injected") > 0;
        let expected = if is_aborted { &none } else { &request.expect };
        assert_eq!(expectation(&host), *expected, "sluice.wasm: {}", request.title());
    }
}

fn observe(worker: &Rc<Worker>, request: &MirrorRequest) -> MirrorExpectation {
    let host = host(request);
    worker.request(2, host.clone()).on_request_headers();

    let headers = host.request_headers();
    let is_for_copies = |name: &str| name.starts_with(HEADER_PREFIX);
    let kept: Vec<_> = headers.iter().filter(|(name, _)| !is_for_copies(name)).cloned().collect();
    let sent = request.pairs().into_iter().filter(|(name, _)| !is_for_copies(name));
    assert_eq!(kept, sent.collect::<Vec<_>>(), "all other headers are as they were");
    assert_eq!(host.notes(), []);
    assert_eq!(host.replies(), []);
    expectation(&host)
}

fn host(request: &MirrorRequest) -> FakeHost {
    let mut host = FakeHost::default();
    for (name, value) in request.pairs() {
        host = host.with_request_header(&name, value);
    }
    if let Some(port) = request.port {
        host = host.with_property(&["destination", "port"], i64::from(port).to_le_bytes());
    }
    host
}

/// Returns what happened to the request of a host.
fn expectation(host: &FakeHost) -> MirrorExpectation {
    let headers = host.request_headers();
    let copies = headers.iter().filter_map(|(name, value)| {
        let place = name.strip_prefix(HEADER_PREFIX)?.to_owned();
        Some((place, String::from_utf8(value.clone()).unwrap()))
    });
    let copies: BTreeMap<_, _> = copies.collect();
    let count = |name: &str| host.count(&format!("sluice.mirror.{name}"));
    let [mirrored, not_sampled, not_eligible] =
        ["mirrored", "not_sampled", "not_eligible"].map(count);
    assert_eq!(mirrored, copies.len());
    let all: usize = Event::NAMES.iter().map(|name| host.count(name)).sum();
    assert_eq!(all, mirrored + not_sampled + not_eligible, "nothing else is counted");
    MirrorExpectation { copies, not_sampled, not_eligible }
}
