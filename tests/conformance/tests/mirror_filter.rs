//! Every row about mirrors through the filter, in a mock of Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::rc::Rc;

use sluice_conformance::{MirrorExpectation, MirrorRequest, mirror};
use sluice_host::fake::FakeHost;
use sluice_host::http::{Counter, HttpHost};
use sluice_mirror::stream::{Counters, Shared, Stream};
use sluice_policy::mirror::Mirrors;
use sluice_policy::spec::mirror::HEADER_PREFIX;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

include!(concat!(env!("OUT_DIR"), "/mirrors.rs"));

const NAMES: [&str; 3] =
    ["sluice.mirror.mirrored", "sluice.mirror.not_sampled", "sluice.mirror.not_eligible"];

fn counter(name: &str) -> Counter {
    let known = NAMES.iter().position(|known| *known == name);
    Counter(u32::try_from(known.unwrap_or(NAMES.len())).unwrap())
}

fn check(topic: &str, id: &str) {
    let case = mirror(topic, id);
    let (mirrors, _) = Mirrors::compile(case.config.get().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let shared = Rc::new(Shared::new(1, mirrors, Counters::new(counter)));
    // The filter draws its own random numbers, so only the policy can run rows that depend on a
    // draw.
    for request in case.requests.iter().filter(|request| request.draws.is_none()) {
        let found = observe(&shared, request);
        assert_eq!(found, request.expect, "{}", request.title());
    }
}

fn observe(shared: &Rc<Shared>, request: &MirrorRequest) -> MirrorExpectation {
    let mut host = FakeHost::default();
    for (name, value) in request.pairs() {
        host = host.with_request_header(&name, value);
    }
    let mut stream = Stream::new(host, Rc::clone(shared));
    stream.on_request_headers();
    let host = stream.host();

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
    let [mirrored, not_sampled, not_eligible] = NAMES.map(|name| host.count(counter(name)));
    assert_eq!(mirrored, copies.len());
    assert_eq!(host.count(Counter(u32::try_from(NAMES.len()).unwrap())), 0, "nothing else");
    MirrorExpectation { copies, not_sampled, not_eligible }
}
