//! Every row about requests through the policy crate, natively and as WebAssembly.

fn check(topic: &str, id: &str) {
    sluice_conformance::check_by_policy(&sluice_conformance::case(topic, id));
}

include!(concat!(env!("OUT_DIR"), "/cases.rs"));
