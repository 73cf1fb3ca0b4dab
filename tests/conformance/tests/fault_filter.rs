//! Every row about faults through the filter, in a mock of Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::rc::Rc;

use sluice_conformance::{FaultExpectation, FaultRequest, fault};
use sluice_fault::stream::{Counters, MARK, Next, Shared, Stream};
use sluice_host::delay::Timer;
use sluice_host::fake::FakeHost;
use sluice_host::host::{Counter, Gauge, Host};
use sluice_host::http::HttpHost;
use sluice_policy::fault::Faults;
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

include!(concat!(env!("OUT_DIR"), "/faults.rs"));

const NAMES: [&str; 7] = [
    "sluice.fault.delays_injected",
    "sluice.fault.aborts_injected",
    "sluice.fault.faults_overflow",
    "sluice.fault.budget_exhausted",
    "sluice.fault.malformed_headers",
    "sluice.fault.resets_injected",
    "sluice.fault.response_rl_injected",
];
const ACTIVE: Gauge = Gauge(0);

fn counter(name: &str) -> Counter {
    Counter(u32::try_from(NAMES.iter().position(|known| *known == name).unwrap()).unwrap())
}

fn check(topic: &str, id: &str) {
    let case = fault(topic, id);
    let (faults, _) = Faults::compile(case.config.get().as_bytes(), &NoMetadata)
        .unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    let shared = Rc::new(Shared::new(faults, Counters::new(counter, |_| ACTIVE)));
    // The filter draws its own random numbers, so only the policy can run rows that depend on a
    // draw.
    for request in case.requests.iter().filter(|request| request.draws.is_none()) {
        let found = observe(&shared, request);
        assert_eq!(found, request.expect, "{}", request.title());
    }
}

/// Sends the request and advances the clock until its delay is over, within the tolerance of a
/// tick.
fn observe(shared: &Rc<Shared>, request: &FaultRequest) -> FaultExpectation {
    const ID: u32 = 7;
    let mut host = FakeHost::default();
    host.pass(request.time());
    for (name, value) in request.pairs() {
        host = host.with_request_header(&name, value);
    }
    let mut stream = Stream::new(ID, host, Rc::clone(shared));
    let next = stream.on_request_headers();
    let delay = match next {
        Next::Wait(Timer::Arm(delay)) => Some(delay),
        Next::Wait(timer) => panic!("{timer:?}, but it is the only one that waits"),
        Next::Continue | Next::Replied => None,
    };
    let host = stream.host();
    if let Some(delay) = delay {
        let due = || shared.queue.borrow_mut().pop_due(host.now());
        assert!(!delay.is_zero());
        assert_eq!((host.replies().len(), host.resumptions(), host.value(ACTIVE)), (0, 0, 1));
        host.pass(delay);
        let (id, waiting) = due().expect("its time has come");
        assert_eq!(id, ID);
        waiting.on_time_over(shared, host);
    }
    // The tick does this at its end.
    assert_eq!(shared.queue.borrow_mut().arm(host.now()), Timer::Off, "nothing else waits");

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
    assert_eq!(next == Next::Replied, abort.is_some() && delay.is_none());
    assert_eq!(host.resumptions(), usize::from(delay.is_some() && abort.is_none()));
    // A fault is active until its response, a delay until it is over.
    assert_eq!(host.value(ACTIVE), u64::from(abort.is_some()));

    let [delays, aborts, overflow, over_budget, malformed, resets, slow] =
        NAMES.map(|name| host.count(counter(name)));
    assert_eq!(delays, usize::from(delay.is_some()));
    assert_eq!(aborts, usize::from(abort.is_some()));
    assert_eq!((overflow, over_budget, resets, slow), (0, 0, 0, 0));

    stream.on_response_headers();
    let mark = if abort.is_some() { Some("abort") } else { delay.map(|_| "delay") };
    let marked = shared.faults.settings.marks_responses.then_some(mark).flatten();
    let marked = marked.map(|mark| (MARK.to_owned(), mark.as_bytes().to_vec()));
    assert_eq!(stream.host().response_headers(), Vec::from_iter(marked));
    FaultExpectation::new(delay, abort, u32::try_from(malformed).unwrap())
}
