//! Every row about a configuration, natively and as WebAssembly.

fn check(topic: &str, id: &str) {
    sluice_conformance::check_rejection(&sluice_conformance::rejection(topic, id));
}

include!(concat!(env!("OUT_DIR"), "/rejections.rs"));
