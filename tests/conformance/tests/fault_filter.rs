//! Every row about faults through the fault filter, and through all filters in one, in a mock of
//! Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::rc::Rc;
use std::sync::Arc;

use sluice_bundle::worker::Worker as Bundle;
use sluice_conformance::{FaultCase, FaultExpectation, FaultRequest, fault};
use sluice_fault::stream::MARK;
use sluice_fault::worker::{ACTIVE_FAULTS, Worker};
use sluice_host::counters::CounterSet;
use sluice_host::fake::{FakeHost, FakeReply};
use sluice_host::filter::{Action, Filter, HttpStream};
use sluice_host::http::HttpHost;
use sluice_policy::chain::Chain;
use sluice_policy::fault::Faults;
use sluice_policy::router::Router;
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;
use sluice_router::worker::Event as RouterEvent;

include!(concat!(env!("OUT_DIR"), "/faults.rs"));

const PLUGIN: u32 = 1;
const ID: u32 = 7;

fn check(topic: &str, id: &str) {
    let case = fault(topic, id);
    let (faults, _) = Faults::compile(case.config.get().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let worker = Rc::new(Worker::new(Arc::new(faults), PLUGIN, &FakeHost::default()));
    // The filter draws its own random numbers, so only the policy can run rows that depend on a
    // draw.
    for request in case.requests.iter().filter(|request| request.draws.is_none()) {
        let found = observe(&worker, request);
        assert_eq!(found, request.expect, "{}", request.title());
    }
    check_bundle(&case);
}

/// Sends the requests of a row through the filter that routes them too.
fn check_bundle(case: &FaultCase) {
    let text = case.config.get().as_bytes();
    let chain = Chain::compile(text, &NoMetadata).map(|(chain, _)| chain);
    // The router requires a destination in rules with faults.
    let is_routed = Router::compile(text, &NoMetadata).is_ok();
    assert_eq!(chain.is_ok(), is_routed, "{chain:?}");
    let Ok(chain) = chain else { return };
    let worker = Rc::new(Bundle::new(Arc::new(chain), PLUGIN, &FakeHost::default()));
    for request in case.requests.iter().filter(|request| request.draws.is_none()) {
        let host = host(request);
        let stream = worker.request(ID, host.clone());
        let action = stream.on_request_headers();
        let delay = host.timer();
        if let Some(delay) = delay {
            assert_eq!((action, host.replies().len()), (Action::Pause, 0));
            host.pass(delay);
            worker.on_tick(PLUGIN, &host);
        }
        let replies = host.replies();
        let is_abort = |reply: &&FakeReply| reply.details == "fault_filter_abort";
        let abort = replies.iter().find(is_abort).map(|reply| match reply.grpc_status {
            None => AbortStatus::Http(reply.status),
            Some(status) => AbortStatus::Grpc(status),
        });
        let routed: usize = RouterEvent::NAMES.iter().map(|name| host.count(name)).sum();
        assert_eq!(routed, usize::from(abort.is_none()), "an aborted request is not routed");
        let malformed = host.count("sluice.fault.malformed_headers");
        let found = FaultExpectation::new(delay, abort, u32::try_from(malformed).unwrap());
        assert_eq!(found, request.expect, "sluice.wasm: {}", request.title());
        stream.on_end();
    }
}

fn host(request: &FaultRequest) -> FakeHost {
    let mut host = FakeHost::default();
    host.pass(request.time());
    for (name, value) in request.pairs() {
        host = host.with_request_header(&name, value);
    }
    host
}

/// Sends the request and advances the clock until its delay is over, within the tolerance of a
/// tick.
fn observe(worker: &Rc<Worker>, request: &FaultRequest) -> FaultExpectation {
    let host = host(request);
    let stream = worker.request(ID, host.clone());
    let action = stream.on_request_headers();
    let delay = host.timer();
    if let Some(delay) = delay {
        assert!(!delay.is_zero());
        let progress = (host.replies().len(), host.resumptions(), host.gauge(ACTIVE_FAULTS));
        assert_eq!(progress, (0, 0, 1));
        host.pass(delay);
        worker.on_tick(PLUGIN, &host);
    }
    assert!(worker.delays.is_empty());
    assert_eq!(host.timer(), None, "no other stream waits");

    let replies = host.replies();
    let abort = replies.first().map(|reply| {
        assert_eq!(reply.body, b"fault filter abort");
        assert_eq!(reply.details, "fault_filter_abort");
        assert_eq!(reply.headers, []);
        match reply.grpc_status {
            None => AbortStatus::Http(reply.status),
            Some(status) => {
                assert_eq!(reply.status, 200);
                AbortStatus::Grpc(status)
            }
        }
    });
    assert_eq!(replies.len(), usize::from(abort.is_some()), "one answer at most");
    assert_eq!(action == Action::Pause, abort.is_some() || delay.is_some());
    assert_eq!(host.resumptions(), usize::from(delay.is_some() && abort.is_none()));
    // An abort is active until the stream ends, a delay until it is over.
    assert_eq!(host.gauge(ACTIVE_FAULTS), i64::from(abort.is_some()));

    let [delays, aborts, overflow, over_budget, malformed, resets, slow] = [
        "delays_injected",
        "aborts_injected",
        "faults_overflow",
        "budget_exhausted",
        "malformed_headers",
        "resets_injected",
        "response_rl_injected",
    ]
    .map(|name| host.count(&format!("sluice.fault.{name}")));
    assert_eq!(delays, usize::from(delay.is_some()));
    assert_eq!(aborts, usize::from(abort.is_some()));
    assert_eq!((overflow, over_budget, resets, slow), (0, 0, 0, 0));

    stream.on_response_headers(false);
    let mark = if abort.is_some() { Some("abort") } else { delay.map(|_| "delay") };
    let marked = worker.faults.settings.marks_responses.then_some(mark).flatten();
    let marked = marked.map(|mark| (MARK.to_owned(), mark.as_bytes().to_vec()));
    assert_eq!(host.response_headers(), Vec::from_iter(marked));
    stream.on_end();
    assert_eq!(host.gauge(ACTIVE_FAULTS), 0);
    FaultExpectation::new(delay, abort, u32::try_from(malformed).unwrap())
}
