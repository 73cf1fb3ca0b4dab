//! Every row about egress through the policy crate, natively and as WebAssembly.

fn check(topic: &str, id: &str) {
    sluice_conformance::check_egress_by_policy(&sluice_conformance::egress(topic, id));
}

include!(concat!(env!("OUT_DIR"), "/egress.rs"));
