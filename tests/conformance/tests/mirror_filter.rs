//! Every row about mirrors through the filter, in a mock of Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::rc::Rc;

use sluice_conformance::{MirrorExpectation, MirrorRequest, mirror};
use sluice_host::counters::CounterSet;
use sluice_host::fake::FakeHost;
use sluice_host::filter::{Filter, HttpStream};
use sluice_host::http::HttpHost;
use sluice_mirror::worker::{Event, Worker};
use sluice_policy::mirror::Mirrors;
use sluice_policy::spec::mirror::HEADER_PREFIX;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

include!(concat!(env!("OUT_DIR"), "/mirrors.rs"));

fn check(topic: &str, id: &str) {
    let case = mirror(topic, id);
    let (mirrors, _) = Mirrors::compile(case.config.get().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let worker = Rc::new(Worker::new(Rc::new(mirrors), 1, &FakeHost::default()));
    // The filter draws its own random numbers, so only the policy can run rows that depend on a
    // draw.
    for request in case.requests.iter().filter(|request| request.draws.is_none()) {
        let found = observe(&worker, request);
        assert_eq!(found, request.expect, "{}", request.title());
    }
}

fn observe(worker: &Rc<Worker>, request: &MirrorRequest) -> MirrorExpectation {
    let mut host = FakeHost::default();
    for (name, value) in request.pairs() {
        host = host.with_request_header(&name, value);
    }
    if let Some(port) = request.port {
        host = host.with_property(&["destination", "port"], i64::from(port).to_le_bytes());
    }
    worker.request(2, host.clone()).on_request_headers();

    let headers = host.request_headers();
    let is_for_copies = |name: &str| name.starts_with(HEADER_PREFIX);
    let kept: Vec<_> = headers.iter().filter(|(name, _)| !is_for_copies(name)).cloned().collect();
    let sent = request.pairs().into_iter().filter(|(name, _)| !is_for_copies(name));
    assert_eq!(kept, sent.collect::<Vec<_>>(), "all other headers are as they were");
    let copies = headers.iter().filter_map(|(name, value)| {
        let place = name.strip_prefix(HEADER_PREFIX)?.to_owned();
        Some((place, String::from_utf8(value.clone()).unwrap()))
    });
    let copies: std::collections::BTreeMap<_, _> = copies.collect();

    assert_eq!(host.notes(), []);
    assert_eq!(host.replies(), []);
    let count = |name: &str| host.count(&format!("sluice.mirror.{name}"));
    let [mirrored, not_sampled, not_eligible] =
        ["mirrored", "not_sampled", "not_eligible"].map(count);
    assert_eq!(mirrored, copies.len());
    let all: usize = Event::NAMES.iter().map(|name| host.count(name)).sum();
    assert_eq!(all, mirrored + not_sampled + not_eligible, "nothing else is counted");
    MirrorExpectation { copies, not_sampled, not_eligible }
}
