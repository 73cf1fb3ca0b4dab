//! Every row about faults through the policy crate, natively and as WebAssembly.

fn check(topic: &str, id: &str) {
    sluice_conformance::check_fault_by_policy(&sluice_conformance::fault(topic, id));
}

include!(concat!(env!("OUT_DIR"), "/faults.rs"));
