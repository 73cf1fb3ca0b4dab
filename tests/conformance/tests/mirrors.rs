//! Every row about mirrors through the policy crate, natively and as WebAssembly.

fn check(topic: &str, id: &str) {
    sluice_conformance::check_mirror_by_policy(&sluice_conformance::mirror(topic, id));
}

include!(concat!(env!("OUT_DIR"), "/mirrors.rs"));
