//! Every row about server names through the policy crate, natively and as WebAssembly.

fn check(topic: &str, id: &str) {
    sluice_conformance::check_sni_by_policy(&sluice_conformance::sni(topic, id));
}

include!(concat!(env!("OUT_DIR"), "/sni.rs"));
